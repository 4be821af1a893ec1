"""`import caffe` gives torchcaffe, for scripts and Python layers written for BVLC Caffe.

pycaffe stands on the engine, and the engine's Python layers are written for pycaffe: they come to
it by this file, which imports it only when the first of them is built.
"""

import importlib
import sys

from torchcaffe.errors import CaffeError

MODULES = (
    "classifier", "coord_map", "detector", "draw", "io", "net_spec", "proto", "pycaffe",
)  # fmt: skip


def install():
    """Let `import caffe` and its submodules resolve to torchcaffe.pycaffe in this process.

    Raises CaffeError if another `caffe` has been imported before.
    """
    pycaffe = importlib.import_module("torchcaffe.pycaffe")
    found = sys.modules.get("caffe")
    if found is pycaffe:
        return
    if found is not None:
        raise CaffeError(
            f"another caffe ({getattr(found, '__file__', found)}) is imported already; torchcaffe "
            "cannot take its place in this process"
        )
    sys.modules["caffe"] = pycaffe
    for name in MODULES:
        sys.modules[f"caffe.{name}"] = importlib.import_module(f"torchcaffe.pycaffe.{name}")
    sys.modules["caffe._caffe"] = sys.modules["caffe.pycaffe"]
    sys.modules["caffe.proto.caffe_pb2"] = importlib.import_module("torchcaffe.schema.caffe_pb2")
    pycaffe._caffe = sys.modules["caffe._caffe"]
