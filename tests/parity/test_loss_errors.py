"""What parity cases cannot show of losses and classification: messages, and where BVLC aborts."""

import pytest
import torch
from google.protobuf import text_format

from torchcaffe.errors import CaffeError
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2


def net_of(layers, more="", **shapes):
    inputs = ""
    for name, shape in shapes.items():
        dims = " ".join(f"dim: {size}" for size in shape)
        inputs += f"""layer {{ name: "{name}"  type: "Input"  top: "{name}"
            input_param {{ shape {{ {dims} }} }} }}\n"""
    text = f"{more} state {{ phase: TRAIN }} {inputs} {layers}"
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()))


def one(layer_type, parameters="", bottoms=("x", "label"), tops=("top",)):
    names = "  ".join(
        [*(f'bottom: "{name}"' for name in bottoms), *(f'top: "{name}"' for name in tops)]
    )
    return f'layer {{ name: "n"  type: "{layer_type}"  {names}  {parameters} }}'


TAKE_LABELS = [
    "SoftmaxWithLoss",
    "MultinomialLogisticLoss",
    "HingeLoss",
    "InfogainLoss",
    "Accuracy",
]


@pytest.mark.parametrize("layer_type", TAKE_LABELS)
@pytest.mark.parametrize("label", [3, -1, 255, float("nan")])
def test_label_out_of_range(layer_type, label):
    shapes = {"x": (4, 3), "label": (4,)}
    bottoms = ["x", "label"]
    if layer_type == "InfogainLoss":
        shapes["matrix"] = (3, 3)
        bottoms.append("matrix")
    net = net_of(one(layer_type, bottoms=bottoms), **shapes)
    net.blobs["label"].set_data(torch.tensor([0.0, 2, label, 1]))
    with pytest.raises(CaffeError) as raised:
        net.forward()
    assert str(raised.value) == (
        f"layer n ({layer_type}): a label is {label:g}, expected a whole number from 0 to 2, "
        "since there are 3 classes; correct the labels or the number of classes"
    )


@pytest.mark.parametrize("layer_type", ["SoftmaxWithLoss", "Accuracy"])
def test_ignored_label_may_be_out_of_range(layer_type):
    parameter = "accuracy_param" if layer_type == "Accuracy" else "loss_param"
    net = net_of(one(layer_type, f"{parameter} {{ ignore_label: 255 }}"), x=(2, 3), label=(2,))
    net.blobs["label"].set_data(torch.tensor([255.0, 1]))
    net.forward()
    net.blobs["label"].set_data(torch.tensor([254.0, 1]))
    with pytest.raises(CaffeError, match="a label is 254"):
        net.forward()


@pytest.mark.parametrize(
    "layer_type, parameters, x, label, message",
    [
        ("SoftmaxWithLoss", "", (4, 3), (5,), "expected the same first axis"),
        ("SoftmaxWithLoss", "", (4, 3, 2, 2), (4,), "has 4 labels, expected 16: one for each"),
        ("SoftmaxWithLoss", "softmax_param { axis: 2 }", (4, 3), (4,), "axis 2 is out of range"),
        ("SoftmaxWithLoss", "loss_weight: 1 loss_weight: 1", (4, 3), (4,), "2 loss_weight for 1"),
        ("HingeLoss", "", (4, 3), (4, 3), "has 12 labels for 4 samples, expected one for each"),
        ("SigmoidCrossEntropyLoss", "", (4, 3), (4,), "has 12 scores and 4 targets"),
        ("EuclideanLoss", "", (4, 3), (4, 2), "have 3 and 2 values a sample"),
        ("InfogainLoss", "", (4, 3), (4,), "has no matrix; give infogain_loss_param"),
        ("InfogainLoss", "loss_param { normalize: true }", (4, 3), (4,), "give normalization"),
        ("InfogainLoss", 'infogain_loss_param { source: "none" }', (4, 3), (4,), "none: "),
        ("ContrastiveLoss", "", (4, 3), (4,), "has 2 bottoms, expected 3"),
        ("Accuracy", "accuracy_param { top_k: 4 }", (4, 3), (4,), "top_k is 4, but its bottom"),
    ],
)
def test_message(layer_type, parameters, x, label, message):
    with pytest.raises(CaffeError) as raised:
        net_of(one(layer_type, parameters), x=x, label=label)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_matrix_of_other_size():
    with pytest.raises(CaffeError, match="its matrix has 4 values, expected 9 for 3 classes"):
        net_of(one("InfogainLoss", bottoms=("x", "label", "h")), x=(4, 3), label=(4,), h=(2, 2))


@pytest.mark.parametrize("top_k", [0, 4])
def test_argmax_top_k(top_k):
    with pytest.raises(CaffeError, match=f"top_k is {top_k}, expected a number from 1 to 3"):
        net_of(one("ArgMax", f"argmax_param {{ top_k: {top_k} }}", bottoms=["x"]), x=(4, 3))


LEARNER = """layer { name: "ip"  type: "InnerProduct"  bottom: "x"  top: "y"
  inner_product_param { num_output: 3  weight_filler { type: "xavier" } } }"""


@pytest.mark.parametrize("bottoms", [("y", "y"), ("x", "y")])
def test_gradient_for_labels(bottoms):
    net = net_of(LEARNER + one("SigmoidCrossEntropyLoss", bottoms=bottoms), x=(4, 3))
    net.forward()
    with pytest.raises(CaffeError, match="cannot make a gradient for its targets"):
        net.backward()


def test_second_top_is_the_softmax():
    """BVLC Caffe 1.0 refuses a second top of SoftmaxWithLoss, so that there is no parity case."""
    both = one("SoftmaxWithLoss", "loss_weight: 1 loss_weight: 0", tops=("top", "probabilities"))
    net = net_of(both, "force_backward: true", x=(4, 3), label=(4,))
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    net.blobs["x"].set_data(x)
    loss = net.forward()
    assert torch.allclose(net.blobs["probabilities"].data, x.softmax(1))
    assert torch.allclose(loss, -x.log_softmax(1)[:, 0].mean())
    net.backward()
    assert torch.allclose(net.blobs["x"].diff, (x.softmax(1) - torch.eye(3)[0]) / 4, atol=1e-7)


@pytest.mark.parametrize("layer_type", ["Accuracy", "ArgMax"])
def test_beside_a_loss_with_force_backward(layer_type):
    """BVLC Caffe aborts here; the gradient of the loss alone goes back."""
    bottoms = ("x", "label") if layer_type == "Accuracy" else ("x",)
    beside = one(layer_type, bottoms=bottoms)
    diffs = []
    for layers in ("", beside):
        loss = one("SoftmaxWithLoss", tops=["loss"]).replace('"n"', '"loss"')
        net = net_of(layers + loss, "force_backward: true", x=(4, 3), label=(4,))
        net.forward()
        net.backward()
        diffs.append(net.blobs["x"].diff)
    assert diffs[0].any()
    assert torch.equal(*diffs)
