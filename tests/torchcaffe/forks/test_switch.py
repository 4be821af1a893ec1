"""Forks' layers are there only when asked for; their files, and what is refused of them."""

import json
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from torchcaffe.forks import messages
from torchcaffe.schema import caffe_pb2, circulating

FORKS = REPOSITORY / "python" / "torchcaffe" / "forks"


def run(code, *arguments, forks=True, cwd=None):
    """Python code in which `import caffe` is torchcaffe; its standard output."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "python"), "GLOG_minloglevel": "2"}
    environment["TORCHCAFFE_FORKS"] = "1" if forks else "0"
    done = subprocess.run(
        [sys.executable, "-m", "torchcaffe", "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


ASK = """
from caffe.proto import caffe_pb2
import caffe.proto.caffe_pb2 as again
import caffe
fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name
print(again is caffe_pb2, len(fields), "permute_param" in fields, len(caffe.layer_type_list()))
if "permute_param" in fields:
    print(caffe.to_proto(caffe.layers.Permute(caffe.layers.Input(), order=[0, 2])).layer[1].type)
"""


def test_off_unless_asked_for():
    bvlc = len(caffe_pb2.LayerParameter.DESCRIPTOR.fields)
    assert run(ASK, forks=False).split() == ["True", str(bvlc), "False", "61"]
    assert run(ASK).split() == ["True", str(bvlc + 12), "True", "76", "Permute"]


NAMES = """
from caffe.proto import caffe_pb2
import caffe
print(*caffe.layer_type_list())
print(*caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name)
print(*caffe_pb2.PoolingParameter.DESCRIPTOR.fields_by_name)
"""


def test_who_meets_what_the_extension_has_is_told_of_the_switch():
    on, off = (
        [set(line.split()) for line in run(NAMES, forks=forks).splitlines()]
        for forks in (True, False)
    )
    types, *fields = (more - less for more, less in zip(on, off))
    assert types == set(circulating.HERE[0].split())
    assert set.union(*fields) == set(circulating.HERE[1].split())
    assert "set TORCHCAFFE_FORKS=1" in circulating.about_type("Permute")
    assert "set TORCHCAFFE_FORKS=1" in circulating.about_field("bn_param")
    assert "TORCHCAFFE_FORKS" not in circulating.about_type("MultiBoxLoss")
    assert 'write it as `layer { type: "Interp" }`' in circulating.about_type("INTERP", old=True)
    assert "write it as" not in circulating.about_type("UNPOOLING", old=True)
    again = "from torchcaffe.schema import circulating; print(circulating.about_field('bn_param'))"
    assert "TORCHCAFFE_FORKS" not in run(again)


def test_descriptors_are_of_the_files(tmp_path):
    schema = REPOSITORY / "python" / "torchcaffe" / "schema"
    made = tmp_path / "forks.desc"
    paths = [f"-I{FORKS}", f"-I{schema}", "--include_imports", f"--descriptor_set_out={made}"]
    assert protoc.main(["protoc", *paths, "forks.proto"]) == 0
    new, committed = (
        descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
        for path in (made, FORKS / "forks.desc")
    )
    assert committed == new


# ---- Files of forks


def fork_classes():
    """NetParameter of a fork whose numbers BVLC Caffe gives to other fields: SegNet's Upsample (137,
    here embed_param), SphereFace's (147, swish_param), PSPNet's BN (137)."""
    file = messages.joined()
    layer = next(each for each in file.message_type if each.name == "LayerParameter")
    numbers = {
        "upsample_param": 137,
        "embed_param": 5137,
        "margin_inner_product_param": 147,
        "swish_param": 5147,
        "interp_param": 143,
        "input_param": 5143,
    }
    for field in layer.field:
        field.number = numbers.get(field.name, field.number)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


NET = """
layer { name: "x"  type: "Input"  top: "x"  input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "bn"  type: "BN"  bottom: "x"  top: "bn" }
layer { name: "norm"  type: "Normalize"  bottom: "bn"  top: "norm"  norm_param { channel_shared: false } }
layer { name: "up"  type: "Upsample"  bottom: "norm"  top: "up"  upsample_param { scale: 3 } }
layer { name: "interp"  type: "Interp"  bottom: "up"  top: "interp"  interp_param { height: 5 width: 5 } }
"""

LOAD = """
import sys, caffe
from caffe.proto import caffe_pb2
net = caffe.Net("net.prototxt", caffe.TEST, weights="fork.caffemodel")
print(net.params["norm"][0].data.tolist(), net.params["bn"][1].data.ravel().tolist())
read = caffe_pb2.NetParameter.FromString(open("fork.caffemodel", "rb").read())
print([layer.norm_param.channel_shared for layer in read.layer], net.forward()["interp"].shape)
net.save("ours.caffemodel")
again = caffe.Net("net.prototxt", caffe.TEST, weights="ours.caffemodel")
print(again.params["norm"][0].data.tolist())
"""


def test_a_forks_caffemodel_loads(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    stored = fork_classes()()
    margin = stored.layer.add(name="fc", type="MarginInnerProduct").margin_inner_product_param
    margin.num_output, margin.base, margin.lambda_min = 5, 1000, 5
    margin.weight_filler.type = "xavier"
    upsample = stored.layer.add(name="up", type="Upsample").upsample_param
    upsample.scale, upsample.upsample_h, upsample.upsample_w = 3, 12, 12
    interp = stored.layer.add(name="interp", type="Interp").interp_param
    interp.height, interp.zoom_factor = 5, 1
    for name, layer_type, blobs in (
        ("bn", "BN", ((1, 3, 1, 1),) * 2),
        ("norm", "Normalize", ((3,),)),
    ):
        layer = stored.layer.add(name=name, type=layer_type)
        layer.norm_param.channel_shared = False
        for number, shape in enumerate(blobs):
            blob = layer.blobs.add(data=[number + 1, 2, 3])
            blob.shape.dim.extend(shape)
    (tmp_path / "fork.caffemodel").write_bytes(stored.SerializeToString())
    assert run(LOAD, cwd=tmp_path).splitlines() == [
        "[1.0, 2.0, 3.0] [2.0, 2.0, 3.0]",
        "[True, True, True, False, False] (2, 3, 5, 5)",
        "[1.0, 2.0, 3.0]",
    ]


OLD = """
name: "deconvnet"  input: "x"  input_dim: 1 input_dim: 2 input_dim: 4 input_dim: 4
layers { name: "bn"  type: BN  bottom: "x"  top: "bn"  bn_param { scale_filler { type: "constant" value: 1 }
  shift_filler { type: "constant" value: 0.001 }  bn_mode: INFERENCE } }
layers { name: "pool"  type: POOLING  bottom: "bn"  top: "pool"  top: "mask"
  pooling_param { pool: MAX  kernel_size: 3  stride: 2  ceil_mode: false } }
layers { name: "unpool"  type: UNPOOLING  bottom: "pool"  bottom: "mask"  top: "unpool"
  unpooling_param { unpool: MAX  kernel_size: 2  stride: 2  unpool_size: 4 } }
"""

UPGRADE = """
import caffe
net = caffe.Net("old.prototxt", caffe.TEST)
print([kind.type for kind in net.layers], net.forward()["unpool"].shape, net.blobs["pool"].data.shape)
net.save("new.caffemodel")
from caffe.proto import caffe_pb2
read = caffe_pb2.NetParameter.FromString(open("new.caffemodel", "rb").read())
print(read.layer[2].pooling_param.round_mode == caffe_pb2.PoolingParameter.FLOOR)
"""


def test_layers_of_the_old_form(tmp_path):
    (tmp_path / "old.prototxt").write_text(OLD)
    types, floor = run(UPGRADE, cwd=tmp_path).splitlines()
    assert types == "['Input', 'BN', 'Pooling', 'Unpooling'] (1, 2, 4, 4) (1, 2, 1, 1)"
    assert floor == "True"


STATISTICS = """
import caffe, numpy as np
net = caffe.Net("net.prototxt", caffe.TRAIN)
x = np.random.RandomState(1).standard_normal((2, 3, 4, 4)) + 5
for passes in range(3):
    net.blobs["x"].data[...] = x
    net.forward()
    net.backward()
kept = 1 - 0.5**3
mean, variance = (blob.data.ravel() for blob in net.params["bn"][2:])
print(np.abs(mean - kept * x.mean((0, 2, 3))).max() < 1e-5)
print(np.abs(variance - kept * x.var((0, 2, 3))).max() < 1e-5)
"""


def test_bn_of_pspnet_gathers_statistics(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        NET.split("\n")[1]
        + '\nlayer { name: "bn"  type: "BN"  bottom: "x"  top: "bn"  bn_param { momentum: 0.5 } }'
    )
    assert run(STATISTICS, cwd=tmp_path).split() == ["True", "True"]


LEARNS = """
layer { name: "x"  type: "DummyData"  top: "x"  top: "label"  dummy_data_param {
  data_filler { type: "gaussian" std: 1 }  data_filler { type: "constant" value: 1 }
  shape { dim: 2 dim: 3 dim: 6 dim: 8 }  shape { dim: 2 dim: 1 dim: 6 dim: 8 } } }
layer { name: "c1"  type: "Convolution"  bottom: "x"  top: "c1"
  convolution_param { num_output: 4  kernel_size: 3  pad: 1  weight_filler { type: "msra" } } }
layer { name: "bn"  type: "BN"  bottom: "c1"  top: "c1"  bn_param { momentum: 0.9
  slope_filler { type: "constant" value: 1 } } }
layer { name: "relu"  type: "ReLU6"  bottom: "c1"  top: "c1" }
layer { name: "pool"  type: "Pooling"  bottom: "c1"  top: "pool"  top: "mask"
  pooling_param { kernel_size: 2  stride: 2 } }
layer { name: "up"  type: "Upsample"  bottom: "pool"  bottom: "mask"  top: "up" }
layer { name: "c2"  type: "Convolution"  bottom: "up"  top: "c2"
  convolution_param { num_output: 2  kernel_size: 3  pad: 1  weight_filler { type: "msra" } } }
layer { name: "loss"  type: "SoftmaxWithLoss"  bottom: "c2"  bottom: "label"  top: "loss" }
layer { name: "rois"  type: "Parameter"  top: "rois"  parameter_param { shape { dim: 2 dim: 5 } } }
layer { name: "roi"  type: "ROIPooling"  bottom: "c1"  bottom: "rois"  top: "roi"
  roi_pooling_param { pooled_h: 1  pooled_w: 1 } }
layer { name: "prior"  type: "PriorBox"  bottom: "c1"  bottom: "x"  top: "prior"
  prior_box_param { min_size: 2 } }
layer { name: "smaller"  type: "Slice"  bottom: "prior"  top: "box"  top: "rest"
  slice_param { axis: 2  slice_point: 8 } }
layer { name: "gone"  type: "Silence"  bottom: "rest" }
layer { name: "shaped"  type: "Reshape"  bottom: "box"  top: "shaped"
  reshape_param { shape { dim: 2 dim: 4 dim: 1 dim: 2 } } }
layer { name: "halved"  type: "Slice"  bottom: "shaped"  top: "target"  top: "weight"
  slice_param { axis: 3 } }
layer { name: "l1"  type: "SmoothL1Loss"  bottom: "roi"  bottom: "target"  bottom: "weight"
  top: "l1" }
"""

TRAIN = """
import caffe, numpy as np
solver = caffe.get_solver("solver.prototxt")
losses = []
for step in range(20):
    solver.step(1)
    losses.append(float(solver.net.blobs["loss"].data))
net = solver.net
print(losses[-1] < losses[0] / 2)
print([float(np.abs(net.blobs[name].diff).max()) for name in ("mask", "rois", "weight")])
print(np.abs(net.params["bn"][3].data).max() > 0.1, np.abs(net.params["bn"][3].diff).max())
"""


def test_a_net_learns_through_them(tmp_path):
    """What comes from below learned layers and has no influence (masks, regions) is no error."""
    (tmp_path / "net.prototxt").write_text(LEARNS)
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt"  base_lr: 0.1  lr_policy: "fixed"  random_seed: 1  solver_mode: CPU'
    )
    assert run(TRAIN, cwd=tmp_path).splitlines() == ["True", "[0.0, 0.0, 0.0]", "True 0.0"]


EDGES = """
layer { name: "data"  type: "Input"  top: "offsets"  top: "scores"  top: "boxes"  top: "label"
  input_param { shape { dim: 1 dim: 4 }  shape { dim: 1 dim: 2 }  shape { dim: 1 dim: 2 dim: 4 }
    shape { dim: 1 } } }
layer { name: "found"  type: "DetectionOutput"  bottom: "offsets"  bottom: "scores"  bottom: "boxes"
  top: "found"  detection_output_param { num_classes: 2  confidence_threshold: 0.5 } }
layer { name: "angles"  type: "MarginInnerProduct"  bottom: "offsets"  bottom: "label"  top: "angles"
  margin_inner_product_param { num_output: 3  axis: 1  weight_filler { type: "xavier" } } }
layer { name: "whole"  type: "MarginInnerProduct"  bottom: "offsets"  bottom: "label"  top: "whole"
  margin_inner_product_param { num_output: 3  axis: 0  weight_filler { type: "xavier" } } }
"""

AT_THE_EDGES = """
import caffe
net = caffe.Net("net.prototxt", caffe.TEST)
net.blobs["offsets"].data[...] = 1
net.forward()
found = net.blobs["found"].data
print(found.dtype, found.ravel().tolist() == [0] + [-1] * 6)
print(net.blobs["angles"].data.shape, net.blobs["whole"].data.shape)
"""


def test_no_detections_and_one_sample_of_all_axes(tmp_path):
    (tmp_path / "net.prototxt").write_text(EDGES)
    assert run(AT_THE_EDGES, cwd=tmp_path).splitlines() == ["float32 True", "(1, 3) (3,)"]


# ---- Refused

REFUSED = [
    (
        "DepthwiseConvolution convolution_param { kernel_size: 1 group: 2 }",
        "group 2 for 3 channels",
    ),
    (
        "ConvolutionDepthwise convolution_param { kernel_size: 1 num_output: 6 }",
        "num_output 6 for 3",
    ),
    ("Interp", "or height and width"),
    ("Interp interp_param { height: 3 }", "height 3 and width 0"),
    ("Interp interp_param { height: 3 width: 3 zoom_factor: 2 }", "or height and width"),
    ("Interp interp_param { zoom_factor: 2 pad_beg: 1 }", "at most 0"),
    ("Interp interp_param { zoom_factor: 2 pad_beg: -4 }", "leave nothing of an image of 4x4"),
    ("Interp interp_param { zoom_factor: 0 }", "give at least 1"),
    ("Upsample upsample_param { upsample_h: 3 }", "both upsample_h and upsample_w"),
    ("Upsample upsample_param { scale: 2 scale_h: 2 scale_w: 2 }", "or scale"),
    ("Upsample upsample_param { pad_out_h: true }", "one bottom"),
    ("Upsample upsample_param { scale: 0 }", "0x0 large"),
    ("Unpooling", "neither unpool_size nor"),
    ("Unpooling unpooling_param { unpool_size: 4 unpool_h: 3 }", "either unpool_size or both"),
    ("Unpooling unpooling_param { kernel_size: 2 pad: 1 }", "has a pad"),
    ("Unpooling unpooling_param { kernel_size: 2 stride: 0 }", "has stride 0"),
    ("Unpooling unpooling_param { unpool_size: 8 stride_h: 0 stride_w: 0 }", "has stride 0"),
    ("SmoothL1Loss bottom: 'x' smooth_l1_loss_param { sigma: 0 }", "has sigma 0"),
    ("BN bn_param { momentum: 0.9 bn_mode: LEARN }", "fields of one"),
    ("BN bn_param { eps: 1e-3 } top: 'a' top: 'b'", "only bn_mode: LEARN"),
    ("Permute permute_param { order: 0 order: 0 }", "order 0 twice"),
    ("Permute permute_param { order: 4 }", "order 4 for a bottom of 4 axes"),
    ("CenterLoss bottom: 'x'", "num_output is 0"),
    ("CenterLoss bottom: 'x' center_loss_param { num_output: 2 }", "96 labels for 2 samples"),
    (
        "MarginInnerProduct bottom: 'x' margin_inner_product_param { num_output: 2 }",
        "96 labels for 2",
    ),
    ("ROIPooling bottom: 'x' roi_pooling_param { pooled_h: 1 }", "pooled_w 1x0"),
    ("ROIPooling bottom: 'x' roi_pooling_param { pooled_h: 1 pooled_w: 1 }", "image, x1, y1"),
    ("SmoothL1Loss bottom: 'label'", "bottom 1 is 2, expected as many"),
    ("PriorBox bottom: 'x'", "no min_size"),
    ("PriorBox bottom: 'x' prior_box_param { min_size: 3 max_size: 2 }", "above its min_size"),
    ("PriorBox bottom: 'x' prior_box_param { min_size: 3 variance: 1 variance: 1 }", "one or four"),
    ("PriorBox bottom: 'x' prior_box_param { min_size: 3 step_h: 1 }", "either step or both"),
    ("DetectionOutput bottom: 'x' bottom: 'x'", "no num_classes"),
    (
        "DetectionOutput bottom: 'x' bottom: 'x' detection_output_param { num_classes: 2 }",
        "PriorBox's",
    ),
    (
        "DetectionOutput bottom: 'x' bottom: 'x' detection_output_param { num_classes: 2"
        " save_output_param { output_directory: 'd' } }",
        "writes no files",
    ),
]

TRY = """
import json, sys, caffe
for number in range(int(sys.argv[1])):
    try:
        caffe.Net("%d.prototxt" % number, caffe.TRAIN)
        print(json.dumps(""))
    except caffe.CaffeError as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refused")
    inputs = (
        NET.split("\n")[1]
        + 'layer { name: "label"  type: "Input"  top: "label"  input_param { shape { dim: 2 } } }\n'
    )
    for number, (layer, _) in enumerate(REFUSED):
        layer_type, _, fields = layer.partition(" ")
        top = "" if "top:" in fields else 'top: "top"'
        text = f'layer {{ name: "it"  type: "{layer_type}"  bottom: "x"  {fields}  {top} }}'
        (folder / f"{number}.prototxt").write_text(inputs + text)
    return [json.loads(line) for line in run(TRY, len(REFUSED), cwd=folder).splitlines()]


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[layer for layer, _ in REFUSED])
def test_refused(answers, number):
    layer, message = REFUSED[number]
    assert f"layer it ({layer.split()[0]}): " in answers[number]
    assert message in answers[number] and "\n" not in answers[number]


RUN = """
import caffe, numpy as np
net = caffe.Net("net.prototxt", caffe.TEST)
net.blobs["second"].data[...] = [VALUE]
try:
    net.forward()
except caffe.CaffeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("layer", "shape", "value", "message"),
    [
        (
            "ROIPooling roi_pooling_param { pooled_h: 1 pooled_w: 1 }",
            5,
            "2, 0, 0, 1, 1",
            "of image 2",
        ),
        (
            "ROIPooling roi_pooling_param { pooled_h: 1 pooled_w: 1 }",
            5,
            "0, 0, 0, np.inf, 1",
            "must be finite",
        ),
        (
            "Unpooling unpooling_param { unpool_size: 2 }",
            "2 dim: 3 dim: 4 dim: 4",
            7,
            "places from 7 to 7",
        ),
    ],
)
def test_bad_values(tmp_path, layer, shape, value, message):
    layer_type, _, fields = layer.partition(" ")
    dims = f"dim: 1 dim: {shape}" if shape == 5 else f"dim: {shape}"
    (tmp_path / "net.prototxt").write_text(
        NET.split("\n")[1]
        + f'layer {{ name: "second" type: "Input" top: "second" input_param {{ shape {{ {dims} }} }} }}'
        f'layer {{ name: "it" type: "{layer_type}" bottom: "x" bottom: "second" top: "top" {fields} }}'
    )
    assert message in run(RUN.replace("VALUE", str(value)), cwd=tmp_path)
