"""The rules of whole nets, in torchcaffe and in BVLC Caffe: splits, which gradients there are,
shared parameters, rules of state, work in place, other shapes after building, and all names.

The seed of the numbers is printed with a failure; TEST_SEED=n repeats it.
"""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from google.protobuf import text_format

from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2

SEED = int(os.environ["TEST_SEED"]) % 2**31
TOLERANCE = 1e-4
"""Of the largest magnitude of the blob."""

RUNNER = REPOSITORY / "tests" / "parity" / "run_nets.py"


@dataclasses.dataclass
class Whole:
    """A net and how it is run."""

    net: str
    phase: str = "TRAIN"
    level: int = 0
    stages: tuple = ()
    passes: tuple = ({}, {})


def input_(name, *shape):
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}"  type: "Input"  top: "{name}"'
        f"  input_param {{ shape {{ {dims} }} }} }}\n"
    )


def layer(layer_type, name, bottoms, tops, more=""):
    bottom_text = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    top_text = " ".join(f'top: "{top}"' for top in tops.split())
    head = f'name: "{name}"  type: "{layer_type}"  {bottom_text}  {top_text}'
    return f"layer {{ {head}\n  {more} }}\n"


def inner(name, bottom, top, outputs, more=""):
    return layer(
        "InnerProduct", name, bottom, top, f"inner_product_param {{ num_output: {outputs} }} {more}"
    )


def loss(name, bottom, more="loss_weight: 1"):
    return layer("Reduction", name, bottom, name, f"reduction_param {{ operation: SUMSQ }} {more}")


X = input_("x", 4, 3)
LABEL = input_("label", 4)
PAIRS = "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }"
WITHOUT_BIAS = "inner_product_param { num_output: 4  bias_term: false }"
BIASED = 'param { name: "w" lr_mult: 1 } param { name: "b" lr_mult: 2 }'

NETS = {
    "splits of an input, of a blob, and of a blob after work in place": Whole(
        "force_backward: true\n"
        + X
        + inner("one", "x", "one", 4)
        + layer("ReLU", "relu", "one", "one")
        + inner("two", "one", "two", 4)
        + layer("Eltwise", "sum", "one two", "sum")
        + inner("three", "x", "three", 4)
        + layer("Concat", "both", "sum three one", "both")
        + loss("loss", "both")
    ),
    "a split of the second top of a layer": Whole(
        "force_backward: true\n"
        + input_("x", 4, 6)
        + layer("Slice", "cut", "x", "a b")
        + layer("Eltwise", "sum", "b a", "sum")
        + layer("Eltwise", "product", "b sum", "product", "eltwise_param { operation: PROD }")
        + loss("loss", "product")
    ),
    "a layer that reads a blob twice": Whole(
        "force_backward: true\n"
        + X
        + layer("Eltwise", "square", "x x", "square", "eltwise_param { operation: PROD }")
        + loss("loss", "square")
    ),
    "a weighted loss that another layer reads": Whole(
        X
        + inner("one", "x", "one", 2)
        + loss("first", "one", "loss_weight: 0.3")
        + layer("Power", "square", "first", "second", "power_param { power: 2 } loss_weight: 0.1")
    ),
    "a loss with a weight by default that no loss reads": Whole(
        X
        + LABEL
        + inner("one", "x", "one", 2)
        + layer("SoftmaxWithLoss", "loss", "one label", "loss")
        + layer("Power", "scaled", "loss", "scaled", "power_param { scale: 3 }")
    ),
    "a loss with a weight by default that a loss reads": Whole(
        X
        + LABEL
        + inner("one", "x", "one", 2)
        + layer("SoftmaxWithLoss", "loss", "one label", "loss")
        + layer("Power", "scaled", "loss", "scaled", "power_param { scale: 3 } loss_weight: 1")
    ),
    "a weight other than 1 for a loss layer that another layer reads": Whole(
        X
        + LABEL
        + inner("one", "x", "one", 2)
        + layer("SoftmaxWithLoss", "loss", "one label", "loss", "loss_weight: 2")
        + layer("Power", "scaled", "loss", "scaled", "power_param { scale: 3 } loss_weight: 1")
    ),
    "loss_weight on layers that are no losses": Whole(
        X
        + inner("one", "x", "one", 3, "loss_weight: 0.5")
        + layer("Slice", "cut", "x", "a b c", "loss_weight: 0 loss_weight: 2 loss_weight: -1")
        + inner("two", "a", "two", 3)
        + loss("loss", "two", "loss_weight: 0.25")
    ),
    "losses that nobody named": Whole(
        X
        + LABEL
        + inner("one", "x", "one", 2)
        + layer("SoftmaxWithLoss", "loss", "one label", "")
        + layer("HingeLoss", "loss", "one label", "", "loss_weight: 0.5")
    ),
    "layers of one name, of which one has parameters": Whole(
        X
        + LABEL
        + layer("TanH", "one", "x", "tanh")
        + inner("one", "tanh", "one", 2)
        + layer("SoftmaxWithLoss", "loss", "one label", "softmax")
        + layer("HingeLoss", "loss", "one label", "hinge", "loss_weight: 0.5")
        + layer("ReLU", "one", "one", "relu")
        + loss("loss", "relu")
    ),
    "no loss: no gradient": Whole(X + inner("one", "x", "one", 2) + inner("two", "one", "two", 2)),
    "a branch that no loss depends on": Whole(
        X
        + inner("one", "x", "one", 2)
        + inner("aside", "one", "aside", 2)
        + layer("Silence", "silence", "aside", "")
        + inner("two", "one", "two", 2)
        + loss("loss", "two")
    ),
    "frozen parameters": Whole(
        X
        + inner("one", "x", "one", 3, "param { lr_mult: 0 } param { lr_mult: 0 }")
        + inner("two", "one", "two", 3, "param { lr_mult: 0 } param { lr_mult: 1 }")
        + inner("three", "two", "three", 3, "param { lr_mult: 0 } param { lr_mult: 0 }")
        + loss("loss", "three")
    ),
    "frozen parameters with force_backward": Whole(
        "force_backward: true\n"
        + X
        + LABEL
        + inner("one", "x", "one", 3, "param { lr_mult: 0 } param { lr_mult: 0 }")
        + inner("two", "one", "two", 3, "param { lr_mult: 0 } param { lr_mult: 1 }")
        + inner("aside", "one", "aside", 3)
        + layer("SoftmaxWithLoss", "loss", "two label", "loss")
    ),
    "propagate_down: false cuts": Whole(
        X
        + inner("one", "x", "one", 3)
        + inner("two", "one", "two", 3, "propagate_down: false")
        + layer("Eltwise", "sum", "one two", "sum", "propagate_down: false propagate_down: true")
        + loss("loss", "sum")
    ),
    "propagate_down: false below everything": Whole(
        X
        + inner("one", "x", "one", 3)
        + layer("TanH", "tanh", "one", "tanh", "propagate_down: false")
        + inner("two", "tanh", "two", 3)
        + loss("loss", "two")
    ),
    "propagate_down: true forces": Whole(
        X
        + layer("Power", "power", "x", "power", "power_param { scale: 2 } propagate_down: true")
        + inner("one", "power", "one", 3, "propagate_down: true")
        + loss("loss", "one")
    ),
    "propagate_down with force_backward": Whole(
        "force_backward: true\n"
        + X
        + inner("one", "x", "one", 3, "propagate_down: false")
        + inner("two", "one", "two", 3, "propagate_down: false")
        + loss("loss", "two")
    ),
    "shared parameters": Whole(
        X
        + inner("one", "x", "one", 3, BIASED)
        + layer("TanH", "tanh", "one", "one")
        + inner("two", "one", "two", 3, BIASED)
        + inner("three", "two", "three", 3, 'param { name: "other" } param { name: "b" }')
        + inner("four", "three", "four", 3, 'param { name: "other" } param { lr_mult: 0 }')
        + loss("loss", "four")
    ),
    "shared parameters, frozen in one layer": Whole(
        X
        + inner("one", "x", "one", 3, 'param { name: "w" }')
        + inner("two", "one", "two", 3, 'param { name: "w" } param { lr_mult: 0 }')
        + inner("three", "two", "three", 3, 'param { name: "v" lr_mult: 0 }')
        + inner("four", "three", "four", 3, 'param { name: "v" }')
        + loss("loss", "four")
    ),
    "shared parameters of different shapes": Whole(
        input_("x", 2, 6)
        + input_("y", 2, 4)
        + inner("one", "x", "one", 2, 'param { name: "w" }')
        + inner("two", "y", "two", 3, 'param { name: "w" share_mode: PERMISSIVE }')
        + layer("Concat", "both", "one two", "both")
        + loss("loss", "both")
    ),
    # Only chains of which BVLC Caffe computes the gradient: it overwrites what a TanH or ReLU in
    # the middle of a chain would still need, and the gradient of a Power of power 1 in place.
    "chains in place": Whole(
        "force_backward: true\n"
        + input_("x", 12, 3)
        + layer("Scale", "size", "x", "x")
        + layer("InnerProduct", "one", "x", "one", WITHOUT_BIAS)
        + layer("BatchNorm", "norm", "one", "one", "batch_norm_param { use_global_stats: false }")
        + layer("Scale", "scale", "one", "one", "scale_param { bias_term: true }")
        + layer("ReLU", "relu", "one", "one", "relu_param { negative_slope: 0.1 }")
        + inner("two", "one", "two", 4)
        + layer("Bias", "bias", "two", "two")
        + layer("Sigmoid", "sigmoid", "two", "two")
        + inner("three", "two", "three", 4)
        + layer("ReLU", "relu 3", "three", "three")
        + loss("loss", "three"),
        passes=({}, {}, {}),
    ),
    "a batch that changes between passes": Whole(
        "force_backward: true\n"
        + X
        + LABEL
        + inner("one", "x", "one", 4)
        + layer("ReLU", "relu", "one", "one")
        + layer("Slice", "cut", "one", "a b")
        + layer("Eltwise", "sum", "a b", "sum")
        + layer("Concat", "all", "sum one", "all")
        + layer("Reshape", "pairs", "all", "pairs", PAIRS)
        + layer("Tile", "tile", "pairs", "tile", "tile_param { tiles: 2 }")
        + layer("Flatten", "flat", "tile", "flat")
        + inner("two", "flat", "two", 3)
        + layer("SoftmaxWithLoss", "loss", "two label", "loss"),
        passes=(
            {},
            {"shapes": {"x": [2, 3], "label": [2]}, "reshape": True},
            {"shapes": {"x": [7, 3], "label": [7]}},
            {"shapes": {"x": [1, 3], "label": [1]}, "reshape": True},
            {},
        ),
    ),
    "a batch that changes under ArgMax": Whole(
        X + layer("ArgMax", "best", "x", "best", "argmax_param { top_k: 2  out_max_val: true }"),
        passes=({}, {"shapes": {"x": [2, 3]}}, {"shapes": {"x": [7, 3]}}),
    ),
}

RULES = Whole(
    input_("x", 2, 3)
    + inner("train", "x", "train", 1, "include { phase: TRAIN }")
    + inner("test", "x", "test", 1, "include { phase: TEST }")
    + inner("not train", "x", "not_train", 1, "exclude { phase: TRAIN }")
    + inner("high", "x", "high", 1, "include { min_level: 1 }")
    + inner("low", "x", "low", 1, "include { max_level: 0 }")
    + inner("middle", "x", "middle", 1, "include { min_level: 0 max_level: 2 }")
    + inner("a", "x", "a", 1, 'include { stage: "a" }')
    + inner("a and b", "x", "ab", 1, 'include { stage: "a" stage: "b" }')
    + inner("a or b", "x", "a_or_b", 1, 'include { stage: "a" } include { stage: "b" }')
    + inner("not a", "x", "not_a", 1, 'include { not_stage: "a" }')
    + inner("without b", "x", "without_b", 1, 'exclude { stage: "b" } exclude { min_level: 3 }')
    + inner("all", "x", "all", 1, 'include { phase: TEST min_level: 1 stage: "a" not_stage: "b" }')
)
for _phase in ("TRAIN", "TEST"):
    for _level, _stages in ((0, ()), (1, ("a",)), (3, ("a", "b")), (-1, ("b", "c"))):
        NETS[f"rules: {_phase} {_level} {' '.join(_stages)}"] = dataclasses.replace(
            RULES, phase=_phase, level=_level, stages=_stages
        )
for _name in ("shared parameters", "chains in place", "a batch that changes between passes"):
    NETS[f"{_name}, phase TEST"] = dataclasses.replace(NETS[_name], phase="TEST")


@pytest.fixture(scope="module")
def outcomes(bvlc, tmp_path_factory):
    """{name of net: {engine: (its names, its arrays)}}"""
    print("seed", SEED)
    folder = tmp_path_factory.mktemp("nets")
    described = []
    for number, net in enumerate(NETS.values()):
        path = folder / f"{number}.prototxt"
        path.write_text(net.net)
        described.append(
            {
                "net": str(path),
                "phase": net.phase,
                "level": net.level,
                "stages": list(net.stages),
                "passes": list(net.passes),
                "seed": SEED,
            }  # fmt: skip
        )
    (folder / "nets.json").write_text(json.dumps(described))
    engines = {
        "BVLC Caffe": [bvlc / "bin" / "python3"],
        "torchcaffe": [sys.executable, "-m", "torchcaffe"],
    }
    found = {}
    for engine, command in engines.items():
        output = folder / engine.replace(" ", "_")
        output.mkdir()
        done = subprocess.run(
            [*map(str, command), RUNNER, folder, output],
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY / "python"),
                "GLOG_minloglevel": "2",
                "OPENBLAS_NUM_THREADS": "1",
            },
            capture_output=True,
            text=True,
        )
        for number, name in enumerate(NETS):
            if not (output / f"{number}.json").exists():
                found.setdefault(name, {})[engine] = done.stderr[-2000:]
                continue
            with np.load(output / f"{number}.npz") as arrays:
                seen = json.loads((output / f"{number}.json").read_text())
                found.setdefault(name, {})[engine] = seen, dict(arrays)
    return found


@pytest.mark.parametrize("name", NETS)
def test_net_is_the_same_in_both_engines(outcomes, name):
    for engine, result in outcomes[name].items():
        assert isinstance(result, tuple), f"{engine} ended before this net: {result}"
    (seen, ours), (expected, theirs) = outcomes[name]["torchcaffe"], outcomes[name]["BVLC Caffe"]
    for key in seen:
        assert seen[key] == expected[key], key
    assert ours.keys() == theirs.keys()
    for array, values in theirs.items():
        got = ours[array]
        assert got.shape == values.shape, array
        difference = np.abs(got - values).max(initial=0)
        largest = np.abs(values).max(initial=0)
        assert difference <= TOLERANCE * largest, (
            f"seed {SEED}, {array}: differs by {difference:g} of {largest:g}\n{got}\n{values}"
        )


def built(text, phase):
    parameter = caffe_pb2.NetParameter()
    text_format.Parse(text, parameter)
    parameter.state.phase = phase
    return Net(parameter)


PARTIAL = (
    "force_backward: true\n"
    + X
    + layer("Scale", "size", "x", "x", "scale_param { filler { value: 2 } }")
    + inner("one", "x", "one", 4)
    + layer("TanH", "tanh", "one", "one")
    + inner("two", "one", "two", 4)
)


@pytest.mark.parametrize("phase", (caffe_pb2.TRAIN, caffe_pb2.TEST))
@pytest.mark.parametrize("pinned", (False, True))
def test_backward_from_the_middle(phase, pinned):
    """As scripts do that follow one layer's gradient into the image: forward to it, then back."""
    net = built(PARTIAL, phase)
    net.blobs["two"].set_data(torch.full((4, 4), 7.0))
    weights = torch.randn(4, 3, generator=torch.Generator().manual_seed(SEED))
    net.layers[2].params[0].data.copy_(weights)
    for blob in net.blobs.values() if pinned else ():
        blob.pin_data(), blob.pin_diff()
    for x in (0.3, -0.7):
        net.blobs["x"].set_data(torch.full((4, 3), x))
        net.forward(0, 3)
        net.blobs["one"].set_diff(torch.ones(4, 4))
        net.backward(3, 0)
        one = torch.tanh(weights.sum(1) * 2 * x)
        assert torch.allclose(net.blobs["one"].data, one.expand(4, 4), atol=1e-6)
        expected = ((1 - one**2) @ weights * 2).expand(4, 3)
        assert torch.allclose(net.blobs["x"].diff, expected, atol=1e-5), f"seed {SEED}"
    assert (net.blobs["two"].data == 7).all()


def test_shared_parameters_take_the_lr_mult_that_is_given():
    net = built(NETS["shared parameters"].net, caffe_pb2.TRAIN)
    assert sum(len(layer.params) for layer in net.layers) == 8
    assert [one.lr_mult for one in net.learnable] == [1, 2, 1, 0]
    net = built(
        X
        + inner("one", "x", "one", 3, 'param { name: "w" }')
        + inner("two", "one", "two", 3, 'param { name: "w" lr_mult: 3 decay_mult: 0 }'),
        caffe_pb2.TRAIN,
    )
    assert [(one.lr_mult, one.decay_mult) for one in net.learnable] == [(3, 0), (1, 1), (1, 1)]
