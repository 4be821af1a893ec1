"""What parity cases cannot show of neuron layers: starting values and messages."""

import pytest
from google.protobuf import text_format

from torchcaffe.errors import CaffeError
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2


def net_of(layers, shape=(2, 3), more=""):
    dims = " ".join(f"dim: {size}" for size in shape)
    text = f"""{more} state {{ phase: TRAIN }}
layer {{ name: "x"  type: "Input"  top: "x"  input_param {{ shape {{ {dims} }} }} }} {layers}"""
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()))


def one(layer_type, parameters="", top="y"):
    return f'layer {{ name: "n"  type: "{layer_type}"  bottom: "x"  top: "{top}"  {parameters} }}'


@pytest.mark.parametrize(
    "parameters, expected",
    [
        ("", [0.25, 0.25, 0.25]),
        ("prelu_param { channel_shared: true }", 0.25),
        ("prelu_param { filler { type: 'constant'  value: 0.5 } }", [0.5, 0.5, 0.5]),
        ("prelu_param { filler { type: 'constant' } }", [0, 0, 0]),
    ],
)
def test_prelu_starts_at_a_quarter(parameters, expected):
    net = net_of(one("PReLU", parameters))
    assert net.layers[-1].params[0].data.tolist() == expected


@pytest.mark.parametrize(
    "layers, message",
    [
        (one("PReLU"), r"layer n \(PReLU\): its bottom has 1 axes, expected at least 2"),
        (
            one("Dropout", "dropout_param { dropout_ratio: 1 }"),
            r"layer n \(Dropout\): dropout_ratio is 1, expected a number from 0 to below 1",
        ),
        (one("Dropout", "dropout_param { dropout_ratio: -0.1 }"), "dropout_ratio is -0.1"),
        (one("AbsVal", top="x"), "cannot work in place; give its top another name"),
        (one("Clip"), "has no limits; give clip_param"),
        (one("Exp", "exp_param { base: 0 }"), "base is 0, expected a number above 0"),
        (one("Log", "log_param { base: -2 }"), "base is -2, expected a number above 0"),
        (one("Log", "log_param { base: 1 }"), "base is 1, to which there is no logarithm"),
    ],
)
def test_message(layers, message):
    with pytest.raises(CaffeError, match=message) as raised:
        net_of(layers, shape=(4,))
    assert "\n" not in str(raised.value)


LEARNER = """layer { name: "ip"  type: "InnerProduct"  bottom: "x"  top: "y"
  inner_product_param { num_output: 2 } }
layer { name: "n"  type: "Threshold"  bottom: "y"  top: "z" %s }
layer { name: "sum"  type: "Power"  bottom: "z"  top: "loss"  loss_weight: 1 }"""


def test_threshold_says_that_it_has_no_gradient():
    net = net_of(LEARNER % "")
    net.forward()
    with pytest.raises(CaffeError, match=r"layer n \(Threshold\): has no gradient"):
        net.backward()


@pytest.mark.parametrize("layers", [LEARNER % "propagate_down: false", one("Threshold")])
def test_threshold_below_which_nothing_learns(layers):
    net = net_of(layers, more="force_backward: true" if "ip" not in layers else "")
    net.forward()
    net.backward()
    assert not net.blobs["x"].diff.any()


def test_what_changes_a_parameters_gradient_leaves_other_blobs_alone():
    """Solvers scale the gradients of parameters in place."""
    net = net_of(
        'layer { name: "p"  type: "Parameter"  top: "p"'
        "  parameter_param { shape { dim: 2 dim: 3 } } }"
        'layer { name: "sum"  type: "Eltwise"  bottom: "x"  bottom: "p"  top: "sum" }'
        'layer { name: "loss"  type: "Reduction"  bottom: "sum"  top: "loss"  loss_weight: 1 }',
        more="force_backward: true",
    )
    net.forward()
    net.backward()
    net.learnable[0].blob.diff.mul_(0)
    for name in ("p", "sum", "x"):
        assert net.blobs[name].diff.eq(1).all(), name


def filled(sizes, filler):
    dims = " ".join(f"dim: {size}" for size in sizes)
    return net_of(
        'layer { name: "p"  type: "DummyData"  top: "p"  dummy_data_param {'
        f" shape {{ {dims} }}  data_filler {{ {filler} }} }} }}"
    )


@pytest.mark.parametrize(
    "sizes, filler, message",
    [
        ((0, 3), 'type: "gaussian"  sparse: 1', "filler gaussian: a blob of 0x3 has no values"),
        ((0, 3), 'type: "xavier"', "filler xavier: a blob of 0x3 has no values"),
        ((3, 0), 'type: "msra"', "filler msra: a blob of 3x0 has no values"),
        ((), 'type: "xavier"', "filler xavier: a blob of no axes"),
        ((), 'type: "positive_unitball"', "filler positive_unitball: a blob of no axes"),
        ((), 'type: "gaussian"  sparse: 1', "filler a sparse gaussian: a blob of no axes"),
        ((2,), 'type: "uniform"  min: 2  max: 1', "filler uniform: min is 2 and max 1;"),
        ((2,), 'type: "uniform"  max: nan', "filler uniform: min is 0 and max nan;"),
        ((2,), 'type: "uniform"  max: inf', "filler uniform: min is 0 and max inf;"),
        ((2,), 'type: "gaussian"  std: -1', "filler gaussian: std is -1;"),
    ],
)
def test_what_fillers_cannot_fill_is_told(sizes, filler, message):
    with pytest.raises(CaffeError, match=message) as raised:
        filled(sizes, filler).forward()
    assert "layer p (DummyData)" in str(raised.value)


def test_fillers_of_shapes_of_few_axes():
    assert filled((), 'type: "uniform"  min: 2  max: 2').forward() == 0
    layers = one("Scale", 'scale_param { axis: 0  num_axes: 0  filler { type: "xavier" } }')
    with pytest.raises(CaffeError, match=r"layer n \(Scale\): filler xavier: a blob of no axes"):
        net_of(layers)
