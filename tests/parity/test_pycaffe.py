"""pycaffe's interface: the same script in BVLC Caffe and in torchcaffe."""

import ast
import json
import math
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from torchcaffe import pycaffe as caffe
from torchcaffe.schema import caffe_pb2, read

SCRIPT = REPOSITORY / "tests" / "parity" / "pycaffe_script.py"
HELPERS = ("rng", "filled", "net_of", "list_of", "plain")
TOLERANCE = 1e-4

FEATURES = """
layer { name: "x"  type: "Input"  top: "x"  input_param { shape { dim: 4 dim: 3 dim: 6 dim: 6 } } }
layer { name: "conv"  type: "Convolution"  bottom: "x"  top: "conv"
  convolution_param { num_output: 2  kernel_size: 3  weight_filler { type: "xavier" } } }
layer { name: "relu"  type: "ReLU"  bottom: "conv"  top: "relu" }
layer { name: "ip"  type: "InnerProduct"  bottom: "relu"  top: "ip"
  inner_product_param { num_output: 5  weight_filler { type: "xavier" } } }
"""
LABEL = 'layer { name: "label"  type: "Input"  top: "label"  input_param { shape { dim: 4 } } }\n'
FILES = {
    "features.prototxt": "force_backward: true\n" + FEATURES,
    "full_convolution.prototxt": FEATURES.replace('"ip"', '"ip-conv"')
    .replace("InnerProduct", "Convolution")
    .replace("inner_product_param {", "convolution_param { kernel_size: 4"),
    "net.prototxt": "force_backward: true\n"
    + LABEL
    + FEATURES
    + """
layer { name: "loss"  type: "SoftmaxWithLoss"  bottom: "ip"  bottom: "label"  top: "loss"
  loss_weight: 2 }
layer { name: "prob"  type: "Softmax"  bottom: "ip"  top: "prob" }
""",
    "solver.prototxt": """
net: "net.prototxt"  type: "Nesterov"  base_lr: 0.01  lr_policy: "fixed"  momentum: 0.5
max_iter: 6  weight_decay: 0.001  snapshot_prefix: "snap"  test_iter: 1  test_interval: 1000
test_initialization: false  solver_mode: CPU  random_seed: 1
""",
    "unnamed.prototxt": """
layer { name: "x"  type: "Input"  top: "x"  input_param { shape { dim: 4 dim: 5 } } }
layer { name: "y"  type: "Input"  top: "y"  input_param { shape { dim: 4 dim: 5 } } }
layer { name: "first"  type: "EuclideanLoss"  bottom: "x"  bottom: "y" }
layer { name: "sum"  type: "Eltwise"  bottom: "x"  bottom: "y"  top: "sum" }
layer { name: "second"  type: "EuclideanLoss"  bottom: "x"  bottom: "sum"  loss_weight: 3 }
""",
    "one_name.prototxt": """
layer { name: "x"  type: "Input"  top: "x"  input_param { shape { dim: 2 dim: 3 } } }
layer { name: "same"  type: "InnerProduct"  bottom: "x"  top: "ip"
  inner_product_param { num_output: 2 } }
layer { name: "crop"  type: "Power"  bottom: "ip"  top: "one"  power_param { scale: 2 } }
layer { name: "crop"  type: "Power"  bottom: "ip"  top: "two"  power_param { scale: 3 } }
layer { name: "crop"  type: "ReLU"  bottom: "two"  top: "two" }
""",
    "written_once.prototxt": """
force_backward: true
layer { name: "x"  type: "Input"  top: "x"  top: "mask"  input_param { shape { dim: 4 dim: 3 } } }
layer { name: "two"  type: "DummyData"  top: "two"
  dummy_data_param { shape { dim: 4 dim: 3 }  data_filler { type: "constant"  value: 2 } } }
layer { name: "y"  type: "Eltwise"  bottom: "x"  bottom: "mask"  bottom: "two"  top: "y"
  eltwise_param { operation: PROD } }
layer { name: "z"  type: "TanH"  bottom: "y"  top: "z" }
layer { name: "loss"  type: "Reduction"  bottom: "z"  top: "loss"  reduction_param { axis: 1 }
  loss_weight: 0.5 }
""",
    "stages.prototxt": """
layer { name: "x"  type: "Input"  top: "x"  input_param { shape { dim: 2 } } }
layer { name: "a"  type: "ReLU"  bottom: "x"  top: "a"  include { stage: "a" } }
layer { name: "b"  type: "ReLU"  bottom: "x"  top: "b"  include { stage: "b"  min_level: 1 } }
layer { name: "not_a"  type: "ReLU"  bottom: "x"  top: "c"  exclude { stage: "a" } }
layer { name: "train"  type: "ReLU"  bottom: "x"  top: "d"  include { phase: TRAIN } }
""",
    "unlucky.prototxt": """
layer { name: "x"  type: "Input"  top: "x"  input_param { shape { dim: 2 } } }
layer { name: "unlucky"  type: "Python"  bottom: "x"  top: "y"
  python_param { module: "python_layers"  layer: "Unlucky" } }
""",
}


def functions():
    body = ast.parse(SCRIPT.read_text()).body
    names = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    return [name for name in names if name not in HELPERS]


@pytest.fixture(scope="module")
def outcomes(bvlc, tmp_path_factory):
    """[(results, messages)] of BVLC Caffe and of torchcaffe."""
    found = []
    for engine in ([bvlc / "bin" / "python3"], [sys.executable, "-m", "torchcaffe"]):
        folder = tmp_path_factory.mktemp("pycaffe")
        for name, text in FILES.items():
            (folder / name).write_text(text)
        environment = {**os.environ, "GLOG_minloglevel": "2"}
        environment["PYTHONPATH"] = str(REPOSITORY / "python")
        ended = subprocess.run(
            [*engine, SCRIPT, folder, ",".join(functions())],
            env=environment, cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        results = folder / "results.json"
        found.append((json.loads(results.read_text()) if results.exists() else {}, ended.stderr))
    return found


@pytest.mark.parametrize("more", [[], ["net.caffemodel"]])
def test_a_net_without_a_phase_says_so(tmp_path, more):
    """A TypeError, as in BVLC Caffe."""
    (tmp_path / "net.prototxt").write_text(FILES["features.prototxt"])
    with pytest.raises(TypeError, match=r"phase is missing; write caffe\.Net\(.*caffe\.TEST"):
        caffe.Net(str(tmp_path / "net.prototxt"), *more)


@pytest.mark.parametrize("function", functions())
def test_script(outcomes, function):
    for engine, (results, messages) in zip(("BVLC Caffe", "torchcaffe"), outcomes):
        assert function in results, f"{engine} ended in or before {function}:\n{messages[-3000:]}"
    (theirs, _), (ours, _) = outcomes
    assert_same(ours[function], theirs[function], function)


def assert_same(got, expected, where):
    if isinstance(expected, dict) and "values" in expected and "dtype" in expected:
        assert got["shape"] == expected["shape"], where
        assert got["dtype"] == expected["dtype"], where
        largest = max(map(abs, expected["values"]), default=0)
        for a, b in zip(got["values"], expected["values"]):
            assert abs(a - b) <= TOLERANCE * largest, (where, got, expected)
    elif isinstance(expected, dict) and expected.keys() == {"net"}:
        # As messages: protocol buffers of different ages write the number 1.0 as 1 or 1.0.
        a, b = (
            read.parse(text["net"], caffe_pb2.NetParameter(), where) for text in (got, expected)
        )
        assert a == b, where
    elif isinstance(expected, dict):
        assert got.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_same(got[key], value, f"{where}: {key}")
    elif isinstance(expected, list):
        assert len(got) == len(expected), (where, got, expected)
        for place, value in enumerate(expected):
            assert_same(got[place], value, f"{where}: {place}")
    elif isinstance(expected, float):
        assert math.isclose(got, expected, rel_tol=TOLERANCE, abs_tol=1e-7), (where, got, expected)
    else:
        assert got == expected, (where, got, expected)
