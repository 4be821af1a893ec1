"""Images and normalisation: nets that are refused, and what parity with BVLC Caffe cannot show."""

import pytest
import torch
from google.protobuf import text_format

from torchcaffe.errors import CaffeError
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2


def net(layer, *shapes, phase=caffe_pb2.TRAIN):
    """A net of one layer, `type  parameters`, on inputs of these shapes."""
    layer_type, _, parameters = layer.partition(" ")
    names = [f"x{i}" for i in range(len(shapes))]
    text = "force_backward: true\n"
    for name, shape in zip(names, shapes):
        dims = " ".join(f"dim: {size}" for size in shape)
        text += (
            f'layer {{ name: "{name}"  type: "Input"  top: "{name}"'
            f"  input_param {{ shape {{ {dims} }} }} }}\n"
        )
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    text += f'layer {{ name: "it"  type: "{layer_type}"  {bottoms}  {parameters} }}'
    if "top:" not in parameters:
        text = text[:-1] + ' top: "top" }'
    parameter = text_format.Parse(text, caffe_pb2.NetParameter())
    parameter.state.phase = phase
    return Net(parameter)


CONVOLUTION = "Convolution convolution_param { num_output: 4 "
POOLING = "Pooling pooling_param { "


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (CONVOLUTION + "kernel_size: 2 stride: 0 }", "stride 0x0"),
        (CONVOLUTION + "kernel_size: 0 }", "kernel 0x0"),
        (CONVOLUTION + "kernel_h: 2 }", "kernel 2x0"),
        (CONVOLUTION + "kernel_size: 2 dilation: 0 }", "dilation 0x0"),
        (CONVOLUTION + "}", "has 0 kernel_size, expected 1 or 2"),
        (CONVOLUTION + "kernel_size: 2 pad: 1 pad_h: 1 }", "one of the two spellings"),
        (CONVOLUTION + "kernel_size: 2 axis: 2 pad_h: 1 }", "need 2 spatial axes, got 1"),
        (CONVOLUTION + "kernel_size: 6 }", "window 6x6 is larger than the image 5x5"),
        (CONVOLUTION + "kernel_size: 6 stride: 2 }", "window 6x6 is larger than the image 5x5"),
        (CONVOLUTION + "kernel_size: 2 group: 4 }", "group 4, expected a divisor of its"),
        (CONVOLUTION + "kernel_size: 2 group: 3 }", "and of num_output 4"),
        (CONVOLUTION + "kernel_size: 2 group: 0 }", "group 0"),
        (CONVOLUTION + "kernel_size: 2 axis: 4 }", "axis 4 is out of range"),
        (CONVOLUTION + 'kernel_size: 2 } top: "a" top: "b"', "1 bottoms and 2 tops"),
        ("Convolution convolution_param { kernel_size: 2 }", "num_output 0"),
        (CONVOLUTION + "kernel_size: 4294967295 }", "2147483647 are the most"),
        ("Deconvolution convolution_param { num_output: 3 kernel_size: 2 pad: 3 }", "0x0 large"),
        ("Im2col convolution_param { kernel_size: 2 axis: 3 }", "leaves no spatial axes"),
        (POOLING + "kernel_size: 2 stride: 0 }", "stride 0x0"),
        (POOLING + "kernel_size: 0 }", "kernel 0x0"),
        (POOLING + "}", "has no kernel_size"),
        (POOLING + "kernel_h: 2 }", "both kernel_h and kernel_w"),
        (POOLING + "kernel_size: 2 pad: 2 }", "pad 2x2 for kernel 2x2"),
        (POOLING + "kernel_size: 7 }", "kernel 7x7 is larger than the image 5x5"),
        (POOLING + "kernel_size: 1 stride: 3 }", "outside the image"),
        (POOLING + "global_pooling: true kernel_size: 2 }", "global_pooling and a kernel"),
        (POOLING + "global_pooling: true pad: 1 }", "global_pooling with pad 1x1"),
        (POOLING + "kernel_size: 2 pool: STOCHASTIC }", "STOCHASTIC is not implemented"),
        (POOLING + 'kernel_size: 2 pool: AVE } top: "a" top: "b"', "only for pool: MAX"),
        ("SPP spp_param { pyramid_height: 3 }", "too much for an image of 5x5"),
        ("SPP spp_param { pyramid_height: 4294967295 }", "too much for an image of 5x5"),
        ("SPP", "pyramid_height 0"),
        ("LRN lrn_param { local_size: 4 }", "expected an odd number"),
        ("BatchNorm param { }", "param 0 with lr_mult 1"),
        ("Scale scale_param { num_axes: -2 }", "num_axes -2"),
        ("Scale scale_param { num_axes: 4 }", "too many for a bottom of 4 axes"),
        ("Bias bias_param { axis: 4 }", "axis 4 is out of range"),
    ],
)
def test_refused(layer, message):
    with pytest.raises(CaffeError, match=f"layer it .*{message}"):
        net(layer, (2, 3, 5, 5))


@pytest.mark.parametrize(
    ("layer", "shapes", "message"),
    [
        ("Pooling pooling_param { kernel_size: 2 }", [(3, 5, 5)], "3 axes, expected 4"),
        ("LRN", [(3, 5, 5)], "3 axes, expected 4"),
        ("MVN", [(1, 2, 3, 4, 5)], "5 axes, expected at most 4"),
        ("BatchNorm", [(5,)], "1 axes, expected at least 2"),
        ("Crop", [(1, 1, 5, 5), (1, 1, 4)], "second bottom has 3 axes"),
        ("Crop crop_param { offset: 2 }", [(1, 1, 5, 5), (1, 1, 4, 4)], "4 values at offset 2"),
        ("Crop crop_param { offset: 1 offset: 1 offset: 1 }", [(1, 1, 5, 5)] * 2, "has 3 offsets"),
        ("Scale", [(2, 3, 4), (2, 4)], "second bottom is 2x4, .* has 3x4 from axis 1"),
        ("Bias", [(2, 3, 4), (4,)], "second bottom is 4, .* has 3 from axis 1"),
        (
            CONVOLUTION + 'kernel_size: 2 } top: "a" top: "b"',
            [(2, 3, 5, 5), (2, 3, 5, 4)],
            "2x3x5x5 and 2x3x5x4",
        ),
    ],
)
def test_shapes_refused(layer, shapes, message):
    with pytest.raises(CaffeError, match=f"layer it .*{message}"):
        net(layer, *shapes)


def test_new_shape_refused():
    made = net(CONVOLUTION + "kernel_size: 2 }", (2, 3, 5, 5))
    made.blobs["x0"].reshape((2, 2, 5, 5))
    with pytest.raises(CaffeError, match="layer it .*2 channels, expected 3"):
        made.reshape()


PLANES = [
    CONVOLUTION + "kernel_size: 3 pad: 1 }",
    "Deconvolution convolution_param { num_output: 4 kernel_size: 3 stride: 2 }",
    "Im2col convolution_param { kernel_size: 2 }",
    POOLING + 'kernel_size: 3 stride: 2 } top: "a" top: "b"',
    POOLING + 'kernel_size: 3 stride: 2 pad: 2 } top: "a" top: "b"',
    POOLING + "kernel_size: 3 stride: 2 pool: AVE }",
    POOLING + "kernel_size: 3 stride: 2 pad: 2 pool: AVE }",
    "SPP spp_param { pyramid_height: 2 }",
    "LRN",
    "LRN lrn_param { norm_region: WITHIN_CHANNEL }",
    "BatchNorm",
    "BatchNorm batch_norm_param { use_global_stats: true }",
    "MVN",
    "Scale scale_param { bias_term: true }",
    "Scale scale_param { axis: 2 num_axes: 1 }",
    "Bias",
]


@pytest.mark.parametrize("text", PLANES)
def test_memory_order(text):
    """Channels last gives what channels first gives, twice backward as once; bottoms stay."""
    layer = net(text, (2, 3, 7, 6)).layers[-1]
    generator = torch.Generator().manual_seed(0)
    for blob in layer.params:
        blob.data.uniform_(0.5, 1.5, generator=generator)
    x = torch.randn((2, 3, 7, 6), generator=generator)
    diffs = None
    outcomes = []
    for order in (torch.contiguous_format, torch.channels_last):
        before = [blob.data.clone() for blob in layer.params]
        bottom = x.clone().contiguous(memory_format=order)
        tops = layer.forward([bottom], True)
        diffs = diffs or [torch.randn(top.shape, generator=generator) for top in tops]
        ordered = [
            diff.contiguous(memory_format=order) if diff.dim() == 4 else diff for diff in diffs
        ]
        gradients = []
        for _ in range(2):
            for blob in layer.params:
                blob.clear_diff()
            (gradient,) = layer.backward(ordered, [True])
            gradients.append([gradient.clone(), *(blob.diff.clone() for blob in layer.params)])
        assert all(torch.equal(*pair) for pair in zip(*gradients))
        assert torch.equal(bottom, x)
        outcomes.append([*tops, *gradients[0], *(blob.data.clone() for blob in layer.params)])
        for blob, values in zip(layer.params, before):
            blob.data.copy_(values)
    for first, last in zip(*outcomes):
        torch.testing.assert_close(last, first, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("text", [PLANES[0], PLANES[1], PLANES[3], PLANES[10], PLANES[13]])
def test_channels_last_stays(text):
    layer = net(text, (2, 3, 7, 6)).layers[-1]
    bottom = torch.randn(2, 3, 7, 6).contiguous(memory_format=torch.channels_last)
    tops = layer.forward([bottom], True)
    gradients = layer.backward([torch.ones_like(top) for top in tops], [True])
    for values in (*tops, *gradients):
        assert values.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("text", [PLANES[0], PLANES[1], PLANES[13]])
def test_unwanted_gradients(text):
    """What propagate_down and lr_mult 0 switch off is neither returned nor added."""
    layer = net(text, (2, 3, 7, 6)).layers[-1]
    (top,) = layer.forward([torch.randn(2, 3, 7, 6)], True)
    layer.param_propagate_down = [False, True]
    assert layer.backward([torch.ones_like(top)], [False]) == [None]
    assert layer.params[0].has_no_diff
    torch.testing.assert_close(layer.params[1].diff, torch.ones_like(top).sum((0, 2, 3)))


def test_batch_norm_backward_in_test_phase():
    """A backward pass that has to repeat the forward pass counts its statistics once."""
    text = "BatchNorm batch_norm_param { use_global_stats: false }"
    made = net(text, (4, 3, 5, 5), phase=caffe_pb2.TEST)
    made.blobs["x0"].set_data(torch.randn(4, 3, 5, 5))
    made.forward()
    made.backward()
    assert made.layers[-1].params[2].data.item() == 1
