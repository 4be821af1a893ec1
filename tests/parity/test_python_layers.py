"""Python layers in torchcaffe, programs run by it, and parts of pycaffe that BVLC's build lacks."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import REPOSITORY

from torchcaffe import as_caffe
from torchcaffe.errors import CaffeError

as_caffe.install()

import caffe  # noqa: E402

import gcnet_layers  # noqa: E402

SEED = int(os.environ["TEST_SEED"])


def layer_net(tmp_path, layer, inputs, param_str=""):
    text = "force_backward: true\n"
    for name, shape in inputs.items():
        dims = " ".join(f"dim: {size}" for size in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    bottoms = " ".join(f'bottom: "{name}"' for name in inputs)
    module, name = layer.split(".")
    text += (
        f'layer {{ name: "some/layer"  type: "Python"  {bottoms}  top: "top"\n  python_param '
        f"{{ module: '{module}'  layer: '{name}'  param_str: '{param_str}' }} }}\n"
    )
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), caffe.TRAIN)


def passes(net, values, diff, memory_format):
    """(top, gradients of the bottoms) of one pass, with values in the memory order given."""
    for name, value in values.items():
        tensor = torch.from_numpy(value)
        if value.ndim == 4:
            tensor = tensor.contiguous(memory_format=memory_format)
        net._net.blobs[name].set_data(tensor)
    net._net.forward()
    top = net._net.blobs["top"].data.numpy().copy()
    net._net.blobs["top"].set_diff(torch.from_numpy(diff))
    net._net.backward()
    gradients = [net._net.blobs[name].diff.numpy().copy() for name in values]
    return top, gradients


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", ["pooled", "pooled_partly", "scattered", "sized", "distance"])
def test_numpy_and_tensor_forms_are_equal(tmp_path, monkeypatch, kind, memory_format):
    rng = np.random.default_rng(SEED)
    shape, param_str = (2, 3, 4, 5), ""
    if kind == "distance":
        values = {name: rng.standard_normal((4, 30)).astype(np.float32) for name in "fr"}
        values["f"][1] = 0
        layer = "gcnet_layers.NormalizedDistance"
    else:
        layer = "gcnet_layers.MaxUnpool"
        plane = 80
        if kind == "sized":
            param_str, plane = '{"height": 9, "width": 7}', 63
        mask = rng.integers(0, plane, shape)
        if kind.startswith("pooled"):
            rows, columns = np.arange(4)[:, None] * 2, np.arange(5) * 2
            mask = (rows + rng.integers(0, 2, shape)) * 10 + columns + rng.integers(0, 2, shape)
        if kind == "pooled_partly":
            mask[1, 2, 3, 4] = mask[1, 2, 0, 0]
        values = {
            "values": rng.standard_normal(shape).astype(np.float32),
            "mask": mask.astype(np.float32),
        }
    diff = None
    found = []
    for numpy_only in (False, True):
        if numpy_only:
            cls = getattr(gcnet_layers, layer.split(".")[1])
            monkeypatch.delattr(cls, "forward_tensors")
        net = layer_net(tmp_path, layer, {n: v.shape for n, v in values.items()}, param_str)
        if diff is None:
            diff = rng.standard_normal(net.blobs["top"].shape).astype(np.float32)
        found.append(passes(net, values, diff, memory_format))
    (top, gradients), (numpy_top, numpy_gradients) = found
    np.testing.assert_allclose(top, numpy_top, atol=1e-6, err_msg=f"seed {SEED}")
    for gradient, expected in zip(gradients, numpy_gradients):
        np.testing.assert_allclose(gradient, expected, atol=1e-6, err_msg=f"seed {SEED}")


def test_an_index_mask_keeps_channels_last(tmp_path):
    rng = np.random.default_rng(SEED)
    x = torch.from_numpy(rng.standard_normal((2, 3, 8, 6)).astype(np.float32))
    values, index = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
    net = layer_net(
        tmp_path, "gcnet_layers.MaxUnpool", {"values": (2, 3, 4, 3), "mask": (2, 3, 4, 3)}
    )
    layer = net.layers[-1]
    assert layer.takes_index_mask
    inputs = [each.contiguous(memory_format=torch.channels_last) for each in (values, index)]
    (top,) = layer.forward_tensors(inputs)
    assert top.is_contiguous(memory_format=torch.channels_last)
    (expected,) = layer.forward_tensors([values, index.float()])
    assert torch.equal(top, expected)
    gradient, _ = layer.backward_tensors([top], [True, False])
    assert torch.equal(gradient, values)


BROKEN = """
import caffe

class Raises(caffe.Layer):
    def setup(self, bottom, top):
        raise ValueError("no luck\\ntoday")

class Mute(caffe.Layer):
    pass

class WrongShape(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(2, 3)
    def forward_tensors(self, bottoms):
        return bottoms[0].new_zeros(3, 2)
    def backward_tensors(self, top_diffs, propagate_down):
        return [None]

NoLayer = 5
"""


@pytest.mark.parametrize(
    "layer, parts",
    [
        ("broken_layers.Raises", ["Raises.setup: ValueError: no luck today"]),
        ("broken_layers.Mute", ["Mute.reshape: NotImplementedError", "must have reshape"]),
        ("broken_layers.WrongShape", ["top 0 of forward_tensors is (3, 2)", "(2, 3)"]),
        ("broken_layers.Nothing", ["no class 'Nothing'", "it has Mute, Raises, WrongShape"]),
        ("broken_layers.NoLayer", ["no subclass of caffe.Layer called 'NoLayer'"]),
        ("no_such_module.Layer", ["cannot import its module 'no_such_module'", "PYTHONPATH"]),
        ("cannot_be_imported.Layer", ["ZeroDivisionError: division by zero"]),
    ],
)
def test_a_broken_layer_is_told(tmp_path, monkeypatch, capfd, layer, parts):
    (tmp_path / "broken_layers.py").write_text(BROKEN)
    (tmp_path / "cannot_be_imported.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CaffeError) as error:
        layer_net(tmp_path, layer, {"x": (2, 3)}).forward()
    message = str(error.value)
    assert "\n" not in message
    for part in ("layer some/layer (Python)", *parts):
        assert part in message, message
    if "Raises" in layer:
        assert 'raise ValueError("no luck' in capfd.readouterr().err


def test_the_objects_of_python_layers_are_the_nets_layers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "tests" / "parity")
    net = layer_net(tmp_path, "python_layers.Double", {"x": (2, 3)})
    assert type(net.layers[-1]).__name__ == "Double" and net.layers[-1].type == "Python"
    net.blobs["x"].data[...] = 2
    assert net.forward()["top"].tolist() == [[4.0] * 3] * 2


def test_an_empty_python_layer_is_an_object_too(tmp_path, monkeypatch):
    (tmp_path / "empty_layers.py").write_text("""import caffe
class Empty(caffe.Layer):
    def __len__(self):
        return 0
    def setup(self, bottom, top):
        pass
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top):
        pass
""")
    monkeypatch.syspath_prepend(tmp_path)
    net = layer_net(tmp_path, "empty_layers.Empty", {"x": (2, 3)})
    assert type(net.layers[-1]).__name__ == "Empty"


# ---- Running programs


def run(arguments, folder):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "python")}
    return subprocess.run(
        [sys.executable, "-m", "torchcaffe", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip


def test_programs_run_as_by_python(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "beside.py").write_text("value = 7\n")
    (folder / "script.py").write_text(
        "import sys, beside, caffe, caffe.io, caffe.draw\n"
        "from caffe.proto import caffe_pb2\nfrom caffe import layers as L, params as P\n"
        "from caffe.coord_map import crop\nimport caffe.proto.caffe_pb2 as again\n"
        "assert __name__ == '__main__' and __file__.endswith('script.py')\n"
        "assert caffe_pb2 is again and P.Pooling.AVE == 1 and caffe.draw.draw_net_to_file\n"
        "print(sys.argv, sys.path[0], beside.value)\nsys.exit(3)\n"
    )
    ended = run(["scripts/script.py", "a", "--help"], tmp_path)
    assert ended.stdout == f"['scripts/script.py', 'a', '--help'] {folder} 7\n", ended.stderr
    assert ended.returncode == 3
    ended = run(
        ["-c", "import sys, caffe; print(sys.argv, sys.path[0] == '', caffe.TEST)", "x"], tmp_path
    )
    assert ended.stdout == "['-c', 'x'] True 1\n", ended.stderr
    ended = run(["-m", "beside_module", "x"], tmp_path)
    assert "No module named beside_module" in ended.stderr
    (tmp_path / "beside_module.py").write_text("import sys, caffe; print(sys.argv[1:], __name__)")
    ended = run(["-m", "beside_module", "x"], tmp_path)
    assert ended.stdout == "['x'] __main__\n", ended.stderr


def test_wrong_calls_are_told(tmp_path):
    for arguments, part in (
        ([], "usage:"),
        (["nothing.py"], "cannot read nothing.py"),
        (["-c"], "needs an argument"),
        (["-x"], "no option -x"),
    ):
        ended = run(arguments, tmp_path)
        assert ended.returncode == 2 and part in ended.stderr, ended.stderr
    ended = run(["--help"], tmp_path)
    assert ended.returncode == 0 and "example:" in ended.stdout


# ---- What BVLC Caffe's Debian build cannot do itself


def test_load_image(tmp_path):
    import cv2

    rng = np.random.default_rng(SEED)
    pixels = rng.integers(0, 256, (4, 5, 4), np.uint8)
    rgb = pixels[:, :, 2::-1].astype(np.float32) / 255
    for channels, color, expected in (
        (3, True, rgb),
        (4, True, rgb),
        (3, False, (rgb @ [0.2125, 0.7154, 0.0721])[:, :, None]),
        (1, True, np.repeat(pixels[:, :, :1], 3, 2) / 255),
        (1, False, pixels[:, :, :1] / 255),
    ):
        path = str(tmp_path / "image.png")
        cv2.imwrite(path, pixels[:, :, :channels])
        loaded = caffe.io.load_image(path, color)
        assert loaded.dtype == np.float32 and loaded.shape == expected.shape
        np.testing.assert_allclose(loaded, expected, atol=1e-6)
    cv2.imwrite(path, rng.integers(0, 2**16, (4, 5, 3), np.uint16))
    assert 0 <= caffe.io.load_image(path).min() < caffe.io.load_image(path).max() <= 1
    (tmp_path / "text.png").write_text("no image")
    for wrong in ("text.png", "missing.png"):
        with pytest.raises(CaffeError, match=wrong):
            caffe.io.load_image(str(tmp_path / wrong))


def test_draw(tmp_path, monkeypatch):
    import caffe.draw

    from torchcaffe.schema import caffe_pb2, read

    net = read.net(REPOSITORY / "prototxt" / "gcnet.prototxt")
    path = tmp_path / "net.dot"
    caffe.draw.draw_net_to_file(net, str(path), "TB", phase=caffe.TRAIN, display_lrm=True)
    text = path.read_text()
    assert text.startswith("digraph") and text.endswith("}\n")
    assert '"layer encoder1/conv1 Convolution"' in text and "accuracy" not in text
    assert caffe.draw.draw_net(net, "LR", "raw").count(b"->") > text.count("->")
    crops = "".join(f"layer {{ name: 'crop' type: 'Crop' top: '{top}' }}" for top in "ab")
    two = caffe.draw.draw_net(read.parse(crops, caffe_pb2.NetParameter(), "two"), "LR", "dot")
    assert two.count(b"shape=box") == 2
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CaffeError, match="apt-get install graphviz"):
        caffe.draw.draw_net_to_file(net, str(tmp_path / "net.png"))


def test_detector_crops_windows_with_context(tmp_path):
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "x"  type: "Input"  top: "x"  input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'
        'layer { name: "ip"  type: "InnerProduct"  bottom: "x"  top: "ip"  inner_product_param {\n'
        '  num_output: 2  weight_filler { type: "xavier" } } }\n'
    )
    caffe.Net(str(net), caffe.TEST).save(str(tmp_path / "net.caffemodel"))
    import cv2

    image = str(tmp_path / "image.png")
    cv2.imwrite(image, np.random.default_rng(SEED).integers(0, 256, (20, 30, 3), np.uint8))
    windows = np.array([[0, 0, 10, 10], [5, 6, 18, 28]])
    for context_pad in (0, 2):
        detector = caffe.Detector(
            str(net), str(tmp_path / "net.caffemodel"), mean=np.array([0.1, 0.2, 0.3]),
            raw_scale=2, channel_swap=(2, 1, 0), context_pad=context_pad,
        )  # fmt: skip
        found = detector.detect_windows([(image, windows)])
        assert [detection["prediction"].shape for detection in found] == [(2,), (2,)]
        assert found[0]["filename"] == image
    crop = detector.crop(caffe.io.load_image(image), windows[0])
    assert crop.shape == (8, 8, 3)
    # What is above and left of the image is the mean, in the image's own scale and order.
    np.testing.assert_allclose(crop[0, 0], np.array([0.3, 0.2, 0.1]) / 2, rtol=1e-5)


class OtherDevice:
    """Lets blobs be copied to arrays and back as on an accelerator."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.device = torch.device("cuda")

    def __getattr__(self, name):
        return getattr(self.tensor, name)


def test_arrays_of_another_device_are_copied_back():
    from torchcaffe import arrays
    from torchcaffe.blob import Blob

    engine_blob = Blob((2, 3))
    memory = OtherDevice(engine_blob.pin_data())
    view = arrays.Blob(engine_blob)
    engine_blob.pin_data = lambda: memory
    view.data[0, 1] = 5
    assert memory.tensor[0, 1] == 0
    view.data[1, 1] = 6
    arrays.upload()
    assert memory.tensor.tolist() == [[0, 5, 0], [0, 6, 0]]
    memory.tensor[...] = 1
    assert (view.data == 1).all()
    arrays.upload()
