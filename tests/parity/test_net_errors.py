"""Nets that are wrong: each is refused by one line that names the layer and says what to do."""

import pytest
import torch
from google.protobuf import text_format

from torchcaffe import layers
from torchcaffe.errors import CaffeError
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2

X = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 } } }\n'


def net(text, phase=caffe_pb2.TRAIN):
    parameter = caffe_pb2.NetParameter()
    text_format.Parse(text, parameter)
    parameter.state.phase = phase
    return Net(parameter)


def layer(layer_type, name, bottoms="x", tops="top", more=""):
    bottom_text = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    top_text = " ".join(f'top: "{top}"' for top in tops.split())
    return f'layer {{ name: "{name}" type: "{layer_type}" {bottom_text} {top_text} {more} }}\n'


def inner(name, bottom="x", top=None, more="", outputs=3):
    given = f"inner_product_param {{ num_output: {outputs} }} {more}"
    return layer("InnerProduct", name, bottom, top or name, given)


def shape(*dims):
    return " ".join(f"dim: {size}" for size in dims)


WRONG = {
    "a bottom that no layer makes": (
        X + inner("conv1") + layer("ReLU", "relu", "conv2"),
        ["layer relu (ReLU)", "no layer makes its bottom 'conv2'", "did you mean 'conv1'"],
    ),
    "a bottom that no layer makes, without any near name": (
        X + layer("ReLU", "relu", "elephant"),
        ["layer relu (ReLU)", "no layer makes its bottom 'elephant'"],
    ),
    "a bottom that only the other phase makes": (
        X + inner("only", more="include { phase: TEST }") + layer("ReLU", "relu", "only"),
        ["layer relu (ReLU)", "layer only", "include or exclude rules"],
    ),
    "a layer before the one that it reads": (
        X + layer("ReLU", "relu", "one") + inner("one"),
        ["layer relu (ReLU)", "'one' is made only later, by layer one"],
    ),
    "a loop": (
        X + layer("Eltwise", "sum", "x back", "sum") + inner("back", "sum"),
        ["layer sum (Eltwise)", "made only later, by layer back", "no loops"],
    ),
    "a layer that reads only what it makes": (
        X + layer("ReLU", "relu", "loop", "loop"),
        ["layer relu (ReLU)", "no layer makes its bottom 'loop'"],
    ),
    "two layers with parameters of one name": (
        X + inner("one") + layer("ReLU", "one", "one", "rest") + inner("one", "rest", "two"),
        ["layer one", "another layer of this name", "rename"],
    ),
    "an unknown type": (
        X + layer("Convolutoin", "conv"),
        ["layer conv", "'Convolutoin'", "did you mean Convolution"],
    ),
    "an unknown type that is near to none": (
        X + layer("Q", "conv"),
        ["layer conv", "'Q'", "InnerProduct"],
    ),
    "a type of a fork": (
        X + layer("Normalize", "norm"),
        ["layer norm (Normalize)", "not of BVLC Caffe 1.0", "a fork: SSD"],
    ),
    "a type of a fork that BVLC Caffe has otherwise": (
        X + layer("ReLU6", "relu"),
        ["layer relu (ReLU6)", "MobileNet", "Clip with min: 0 and max: 6"],
    ),
    "a layer without a name": (
        X + layer("ReLU", "other", more="include { phase: TEST }") + layer("ReLU", "", "gone"),
        ["layer #3 (ReLU): no layer makes its bottom 'gone'"],
    ),
    "a layer without a name after a split": (
        X + layer("Eltwise", "sum", "x x") + layer("Softmax", "", more="softmax_param { axis: 4 }"),
        ["layer #3 (Softmax)"],
    ),
    "a top that a layer without a name makes": (
        X + inner("", "x", "one") + inner("two", "x", "one"),
        ["layer two (InnerProduct)", "'one' is already made by layer #2 (InnerProduct)"],
    ),
    "an unknown type without a name": (X + layer("Q", ""), ["layer #2 (Q): no layer type 'Q'"]),
    "a top that another layer makes": (
        X + inner("one") + inner("two", "x", "one"),
        ["layer two (InnerProduct)", "'one' is already made by layer one", "another name"],
    ),
    "a top that its layer makes twice": (
        X + layer("Slice", "cut", "x", "a a"),
        ["layer cut (Slice)", "two of its tops are named 'a'"],
    ),
    "work in place on what another layer reads": (
        X + inner("one") + inner("two", "one") + layer("ReLU", "relu", "one", "one"),
        ["layer relu (ReLU)", "'one' is already made by layer one", "in place"],
    ),
    "work in place on the second bottom": (
        X + inner("a") + inner("b") + layer("Eltwise", "sum", "a b", "b"),
        ["layer sum (Eltwise)", "'b' is already made by layer b", "in place"],
    ),
    "too few bottoms": (
        X + layer("Eltwise", "sum"),
        ["layer sum (Eltwise)", "has 1 bottoms, expected at least 2"],
    ),
    "too many bottoms": (
        X + inner("one") + layer("ReLU", "relu", "x one"),
        ["layer relu (ReLU)", "has 2 bottoms, expected 1"],
    ),
    "too many tops": (
        X + layer("ReLU", "relu", "x", "a b"),
        ["layer relu (ReLU)", "has 2 tops, expected 1"],
    ),
    "no top": (X + layer("ReLU", "relu", "x", ""), ["layer relu (ReLU)", "has 0 tops, expected 1"]),
    "a top of Silence": (
        X + layer("Silence", "silence"),
        ["layer silence (Silence)", "has 1 tops, expected 0"],
    ),
    "too many loss_weight": (
        X + inner("one", more="loss_weight: 1 loss_weight: 1"),
        ["layer one (InnerProduct)", "2 loss_weight for 1 tops"],
    ),
    "too few loss_weight": (
        X + layer("Slice", "cut", "x", "a b", "loss_weight: 1"),
        ["layer cut (Slice)", "1 loss_weight for 2 tops"],
    ),
    "too many propagate_down": (
        X + inner("one", more="propagate_down: true propagate_down: true"),
        ["layer one (InnerProduct)", "2 propagate_down for 1 bottoms"],
    ),
    "too many param": (
        X + inner("one", more="param { } param { } param { }"),
        ["layer one (InnerProduct)", "3 param", "2 blobs"],
    ),
    "parameters shared by different shapes": (
        X
        + inner("one", more='param { name: "w" }')
        + inner("two", more='param { name: "w" }', outputs=4),
        ["layer two (InnerProduct)", "'w'", "layer one", "3 6 (18)", "4 6 (24)", "PERMISSIVE"],
    ),
    "parameters shared by different counts": (
        X
        + inner("one", more='param { name: "w" }')
        + inner("two", more='param { name: "w" share_mode: PERMISSIVE }', outputs=4),
        ["layer two (InnerProduct)", "'w'", "layer one", "3 6 (18)", "4 6 (24)"],
    ),
    "shared parameters with two lr_mult": (
        X
        + inner("one", more='param { name: "w" lr_mult: 1 }')
        + inner("two", more='param { name: "w" lr_mult: 2 }'),
        ["layer two (InnerProduct)", "'w' has lr_mult 2 and 1 in layer one"],
    ),
    "shared parameters with two decay_mult": (
        X
        + inner("one", more='param { name: "w" decay_mult: 0 }')
        + inner("two", more='param { name: "w" decay_mult: 1 }'),
        ["layer two (InnerProduct)", "'w' has decay_mult 1 and 0 in layer one"],
    ),
    "include and exclude rules": (
        X + inner("one", more="include { phase: TRAIN } exclude { phase: TEST }"),
        ["layer one", "include and exclude"],
    ),
    "a negative size": (
        layer("Input", "in", "", "in", f"input_param {{ shape {{ {shape(2, -3)} }} }}"),
        ["layer in (Input)", "2 x -3", "negative"],
    ),
    "a blob above INT_MAX": (
        layer("Input", "in", "", "in", f"input_param {{ shape {{ {shape(65536, 32768)} }} }}"),
        ["layer in (Input)", "65536 x 32768", "2147483647"],
    ),
    "a size that no int holds": (
        layer("Input", "in", "", "in", f"input_param {{ shape {{ {shape(2**62, 4)} }} }}"),
        ["layer in (Input)", "2147483647"],
    ),
    "too many axes": (
        layer("Input", "in", "", "in", f"input_param {{ shape {{ {shape(*[1] * 33)} }} }}"),
        ["layer in (Input)", "33 axes"],
    ),
    "a parameter above INT_MAX": (
        X + inner("one", outputs=2**30),
        ["layer one (InnerProduct)", "parameter 0", "1073741824 x 6"],
    ),
    "a top above INT_MAX": (
        X + layer("Tile", "tile", "x", "top", "tile_param { tiles: 400000000 }"),
        ["layer tile (Tile)", "2 x 2400000000"],
    ),
    "a wrong count of Input shapes": (
        layer("Input", "in", "", "a b c", "input_param { shape { dim: 1 } shape { dim: 2 } }"),
        ["layer in (Input)", "2 shapes for 3 tops"],
    ),
    "an axis out of range": (
        X + layer("Concat", "concat", "x x", "top", "concat_param { axis: 2 }"),
        ["layer concat (Concat)", "axis 2", "2 axes"],
    ),
    "shapes that do not fit Concat": (
        X
        + inner("one", outputs=2)
        + layer("Concat", "concat", "x one", "top", "concat_param { axis: 0 }"),
        ["layer concat (Concat)", "bottom 1", "2 2", "2 6"],
    ),
    "Slice points that do not rise": (
        X + layer("Slice", "cut", "x", "a b c", "slice_param { slice_point: 4 slice_point: 2 }"),
        ["layer cut (Slice)", "[4, 2]", "do not rise"],
    ),
    "a Slice point at the end": (
        X + layer("Slice", "cut", "x", "a b", "slice_param { slice_point: 6 }"),
        ["layer cut (Slice)", "[6]", "between 0 and 6"],
    ),
    "Slice into unequal parts": (
        X + layer("Slice", "cut", "x", "a b c d"),
        ["layer cut (Slice)", "4 tops do not divide axis 1 of size 6"],
    ),
    "Reshape to another count": (
        X + layer("Reshape", "reshape", more=f"reshape_param {{ shape {{ {shape(5, 2)} }} }}"),
        ["layer reshape (Reshape)", "12 values", "5 2 10"],
    ),
    "Reshape with two unknown sizes": (
        X + layer("Reshape", "reshape", more=f"reshape_param {{ shape {{ {shape(-1, -1)} }} }}"),
        ["layer reshape (Reshape)", "more than one dim of -1"],
    ),
    "Reshape in place": (
        X + layer("Reshape", "reshape", "x", "x", f"reshape_param {{ shape {{ {shape(3, 4)} }} }}"),
        ["layer reshape (Reshape)", "in place"],
    ),
    "shapes that do not fit Eltwise": (
        X + inner("one") + layer("Eltwise", "sum", "x one"),
        ["layer sum (Eltwise)", "(2, 3)", "(2, 6)"],
    ),
    "a coeff for some bottoms": (
        X + layer("Eltwise", "sum", "x x", "top", "eltwise_param { coeff: 1 }"),
        ["layer sum (Eltwise)", "1 coeff for 2 bottoms"],
    ),
    "a coeff for a product": (
        X
        + layer(
            "Eltwise", "sum", "x x", more="eltwise_param { operation: PROD coeff: 1 coeff: 2 }"
        ),
        ["layer sum (Eltwise)", "operation: SUM", "PROD"],
    ),
    "no tiles": (X + layer("Tile", "tile"), ["layer tile (Tile)", "tiles is 0"]),
    "an Embed without rows": (
        X + layer("Embed", "embed", "x", "top", "embed_param { num_output: 2 }"),
        ["layer embed (Embed)", "input_dim is 0"],
    ),
    "an LSTM without cont": (
        X + layer("LSTM", "lstm", "x", "top", "recurrent_param { num_output: 2 }"),
        ["layer lstm (LSTM)", "has 1 bottoms, expected 2 to 3"],
    ),
    "an LSTM of other streams than its cont": (
        layer("Input", "in", "", "x", f"input_param {{ shape {{ {shape(2, 3, 4)} }} }}")
        + layer("Input", "c", "", "cont", f"input_param {{ shape {{ {shape(3, 2)} }} }}")
        + layer("LSTM", "lstm", "x cont", "top", "recurrent_param { num_output: 2 }"),
        ["layer lstm (LSTM)", "cont", "(3, 2)", "(2, 3)"],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_net_is_one_line_that_names_the_layer(name):
    text, parts = WRONG[name]
    with pytest.raises(CaffeError) as caught:
        net(text)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1200
    for part in parts:
        assert part in message


NUMBERS = 'layer { name: "n" type: "Input" top: "n" input_param { shape { dim: 2 } } }\n'


@pytest.mark.parametrize(
    "text, values, parts",
    [
        (
            layer("Embed", "embed", "n", "top", "embed_param { num_output: 2 input_dim: 4 }"),
            [1, 4],
            ["layer embed (Embed)", "from 1 to 4", "0 to 3"],
        ),
        (
            layer("Embed", "embed", "n", "top", "embed_param { num_output: 2 input_dim: 4 }"),
            [-1, 0],
            ["layer embed (Embed)", "from -1 to 0"],
        ),
        (
            layer("BatchReindex", "pick", "x n"),
            [0, 2],
            ["layer pick (BatchReindex)", "from 0 to 2", "0 to 1"],
        ),
        (
            layer("BatchReindex", "pick", "x n"),
            [-0.5, 1],
            ["layer pick (BatchReindex)", "from -0.5 to 1"],
        ),
    ],
)
def test_wrong_numbers_are_found_when_they_come(text, values, parts):
    built = net(X + NUMBERS + text)
    built.blobs["n"].set_data(torch.tensor(values, dtype=torch.float32))
    with pytest.raises(CaffeError) as caught:
        built.forward()
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_a_layer_type_of_a_name_that_is_taken_is_refused():
    before = dict(layers.LAYERS)
    with pytest.raises(
        CaffeError, match=r"'ReLU' is registered by torchcaffe\.layers\.neuron\.ReLU"
    ):
        layers.layer("ReLU")(type("Other", (layers.Layer,), {}))
    assert before == layers.LAYERS


def test_a_shape_that_no_longer_fits_is_found_when_it_comes():
    built = net(X + inner("one"))
    built.blobs["x"].reshape((2, 5))
    with pytest.raises(CaffeError, match=r"layer one .*5 values a sample, expected 6"):
        built.forward()
    with pytest.raises(CaffeError, match="negative"):
        built.blobs["x"].reshape((2, -5))


def test_layers_of_one_name_in_different_phases_are_fine():
    text = (
        X
        + inner("one", more="include { phase: TRAIN }")
        + inner("one", top="other", more="include { phase: TEST }")
    )
    assert net(text).outputs == ["one"]
    assert net(text, caffe_pb2.TEST).outputs == ["other"]
