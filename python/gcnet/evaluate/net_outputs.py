"""What the net of a fold makes of faces: any of its blobs, computed by the run's engine."""

import tempfile
from pathlib import Path

import numpy as np

from data_prep import FACE_SIZE
from gcnet import engine as engines
from gcnet import prototxt
from gcnet_base.paths import portable

NET_SIZE = 64
"""Height and width of a net's input (Section IV-A)."""
WHITE = 256
"""The pixel value that the nets see as 1: their inputs are pixels times 1/256."""


def central_crop(images):
    """uint8 ... x 66 x 66 -> uint8 ... x 64 x 64, what the nets see of a test image."""
    offset = (FACE_SIZE - NET_SIZE) // 2
    return images[..., offset : offset + NET_SIZE, offset : offset + NET_SIZE]


def forward(run, fold, images, blobs, references=None, threads=None):
    """{blob: float32 N x ...} that a fold's net makes of `images`, uint8 N x 64 x 64.

    A model that is shown the reference needs `references`, too. `threads` as of Engine.run_module.
    Raises InputError if the run's engine is not installed, the caffemodel is truncated or of
    another net.
    """
    deploy = run.fold_folder(fold) / "deploy.prototxt"
    tops = {top for layer in prototxt.net(deploy).layer for top in layer.top}
    names = {
        blob: blob if blob in tops else run.model.former_blobs.get(blob, blob) for blob in blobs
    }
    inputs = {"image": images}
    if run.model.shown_reference:
        inputs["reference"] = references
    inputs = {name: faces[:, None].astype(np.float32) / WHITE for name, faces in inputs.items()}
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "inputs.npz", Path(scratch) / "outputs.npz"
        np.savez(given, **inputs)
        engines.find(run.settings.engine).run_module(
            "gcnet.in_caffe.forward",
            "--net", portable(deploy),
            "--stages", ",".join(run.stages(fold)),
            "--weights", portable(run.final_caffemodel(fold)),
            "--inputs", given, "--blobs", ",".join(names.values()), "--output", made,
            threads=threads,
        )  # fmt: skip
        with np.load(made) as outputs:
            return {blob: outputs[name] for blob, name in names.items()}
