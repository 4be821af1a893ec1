"""Look-ups and edits of nets and solvers as messages, and the files that come out."""

import subprocess

import numpy as np
import pytest
from conftest import REPOSITORY
from google.protobuf import text_format

from gcnet import prototxt
from gcnet_base.errors import InputError
from torchcaffe.schema.caffe_pb2 import NetParameter

NET = """# a net
name: "tiny"  # its name
layer {
  name: "data"  type: "Data"  top: "pair"  include { phase: TRAIN }
  data_param { source: "data/train"  batch_size: 64 }
}
layer {
  name: "data"  type: "Data"  top: "pair"  include { phase: TEST }
  data_param { source: "data/test"  batch_size: 64 }
}
layer { name: "fc"  bottom: "pair"  top: "fc"
  inner_product_param { num_output: 7  weight_filler { type: "xavier" } } }
layer { name: "relu"  bottom: "fc"  top: "fc" }
layer { name: "loss"  bottom: "fc"  top: "loss"  loss_weight: 0.5  # lambda, } is no end
}
"""


def a_net(text=NET):
    return text_format.Parse(text, NetParameter())


@pytest.fixture
def net():
    return a_net()


def test_set_value_changes_one_phase_and_keeps_all_else(net):
    prototxt.set_value(net, "data_param.source", "x/y", "data", "TEST")
    assert net == a_net(NET.replace('"data/test"', '"x/y"'))
    assert prototxt.values(net, "data_param.source", "data") == ["data/train", "x/y"]


@pytest.mark.parametrize(
    "path, value, layer, old, new",
    [
        ("data_param.batch_size", 2, "data", "64", "2"),
        ("inner_product_param.weight_filler.type", "msra", "fc", "xavier", "msra"),
        ("loss_weight", 3, "loss", "0.5", "3"),
        ("name", "other", None, "tiny", "other"),
    ],
)
def test_set_value_reaches_nested_and_repeated_fields_all_layers_of_a_name_and_the_top(
    net, path, value, layer, old, new
):
    prototxt.set_value(net, path, value, layer)
    assert net == a_net(NET.replace(old, new))


@pytest.mark.parametrize(
    "path, value, layer, message",
    [
        ("loss_wieght", 1, "loss", "layer loss has 0 fields loss_wieght"),
        ("loss_weight", 1, "fc", "layer fc has 0 fields loss_weight"),
        ("loss_weight", 1, "lost", "no layer lost"),
        ("max_iter", 1, None, "the text has 0 fields max_iter"),
        ("data_param", 1, "data", "expected one value"),
        ("data_param.batch_size", -1, "data", "batch_size cannot be -1"),
        ("data_param.source", 1, "data", "source cannot be 1"),
    ],
)
def test_an_edit_that_finds_nothing_or_does_not_fit_is_an_error(net, path, value, layer, message):
    with pytest.raises(InputError, match=message):
        prototxt.set_value(net, path, value, layer)
    assert net == a_net()


def test_remove_layer_takes_in_place_layers_and_losses_only(net):
    prototxt.remove_layer(net, "relu")
    assert net == a_net(NET.replace('layer { name: "relu"  bottom: "fc"  top: "fc" }\n', ""))
    prototxt.remove_layer(net, "loss")
    assert [layer.name for layer in net.layer] == ["data", "data", "fc"]
    prototxt.remove_layer(net, "fc")
    with pytest.raises(InputError, match="layer fc makes fc, which layer relu reads"):
        prototxt.remove_layer(a_net(), "fc")


@pytest.mark.parametrize(
    "text, told",
    [
        ('name: "a"\nlayer { name: "b"\n', r":2:\d+: layer b \(no type\): Expected"),
        ("name = 3", r":1:\d+: "),
        ('name: "a"\nlayre { }', r":2:1: .*'layre'.* 'layer'"),
        (
            'layer { name: "a"\n name: "b" }',
            r":2:\d+: layer a \(no type\): 'name' is given twice in LayerParameter",
        ),
    ],
)
def test_a_file_that_is_no_net_is_told_with_its_line(tmp_path, text, told):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{path}{told}") as raised:
        prototxt.net(path)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="solver.prototxt: cannot be read"):
        prototxt.solver(tmp_path / "solver.prototxt")


def test_the_digest_is_of_what_caffe_reads():
    same = a_net("# other layout and order\n" + NET.replace('  type: "Data"  top: "pair"',
                 '\n top: "pair", type: \'Data\'').replace("0.5", "5e-1"))  # fmt: skip
    assert prototxt.digest([same]) == prototxt.digest([a_net()])
    other = a_net(NET.replace("0.5", "0.25"))
    assert prototxt.digest([other]) != prototxt.digest([a_net()])
    assert prototxt.digest([a_net(), other]) != prototxt.digest([other, a_net()])


def test_rendered_files_say_what_they_are_of_and_bvlc_caffe_reads_the_same_numbers(
    bvlc, tmp_path, net
):
    """Every float32 that has a short or long decimal form; quotes and letters beyond ASCII."""
    random = np.random.default_rng(1).integers(0, 2**32, 200, dtype=np.uint32).view(np.float32)
    numbers = [0.1, 1 / 3, 78.3836718, 1e-45, 3.4028235e38, 1e30, 16777216, 0, -0.0, 1]
    numbers += random[np.isfinite(random)].tolist()
    net.name = 'Gesichter: "Zoë"\\\n'
    (loss,) = prototxt.layers(net, "loss")
    loss.loss_weight[:] = numbers
    path = tmp_path / "net.prototxt"
    source = REPOSITORY / "prototxt" / "gcnet.prototxt"
    path.write_text(prototxt.text(net, source), encoding="utf-8")
    assert path.read_text(encoding="utf-8").startswith("# Rendered from prototxt/gcnet.prototxt.\n")
    reader = REPOSITORY / "tests" / "parity" / "read_by_bvlc.py"
    subprocess.run([bvlc / "bin" / "python3", reader, path], check=True)
    by_bvlc = NetParameter.FromString(path.with_name("net.prototxt.read").read_bytes())
    assert by_bvlc == net
    assert prototxt.net(path) == net
