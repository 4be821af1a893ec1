"""Fused steps against the same layers one by one."""

import os
import threading

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from torchcaffe import fusion
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2
from torchcaffe.step import LayerStep

SEED = int(os.environ["TEST_SEED"])

NET = """
force_backward: true
layer {{ name: "x"  type: "Input"  top: "x"  input_param {{ shape {{ {shape} }} }} }}
layer {{ name: "conv"  type: "Convolution"  bottom: "x"  top: "y"
         convolution_param {{ num_output: 5  kernel_size: 3  pad: 1  bias_term: false  weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "bn"  type: "BatchNorm"  bottom: "y"  top: "y" }}
{layers}
"""
SCALE = """layer { name: "scale"  type: "Scale"  bottom: "y"  top: "y"
  scale_param { bias_term: true } }"""
RELU = 'layer { name: "relu"  type: "ReLU"  bottom: "y"  top: "y" }'
POOL = """layer { name: "pool"  type: "Pooling"  bottom: "y"  top: "pool"  top: "mask"
  pooling_param { pool: MAX  kernel_size: 2  stride: 2 } }"""
UNPOOL = """
layer { name: "between"  type: "Power"  bottom: "pool"  top: "between"  power_param { shift: 1 } }
layer { name: "unpool"  type: "Python"  bottom: "between"  bottom: "mask"  top: "unpool"
        python_param { module: "gcnet_layers"  layer: "MaxUnpool"  param_str: '{"name": "unpool"}' } }
"""


def net_of(layers, phase, shape=(3, 1, 8, 6)):
    dims = " ".join(f"dim: {size}" for size in shape)
    parameter = text_format.Parse(
        NET.format(layers="\n".join(layers), shape=dims), caffe_pb2.NetParameter()
    )
    parameter.state.phase = phase
    return Net(parameter)


def one_by_one(net):
    """The net without fused steps and with float masks."""
    net.steps = [LayerStep(node) for node in net.nodes]
    for layer in net.layers:
        if layer.parameter.type == "Pooling":
            layer.mask_as_index = False
    return net


def fill(net, scales):
    generator = torch.Generator().manual_seed(SEED)
    for learnable in net.learnable:
        blob = learnable.blob
        blob.data.copy_(torch.randn(blob.shape, generator=generator))
    for layer in net.layers:
        if layer.parameter.type == "BatchNorm":
            for blob in layer.params:
                blob.data.abs_()
        if layer.parameter.type == "Scale":
            layer.params[0].data.copy_(torch.tensor(scales))
    net.blobs["x"].data.copy_(torch.randn(net.blobs["x"].shape, generator=generator))


def parameters(net):
    return [blob for layer in net.layers for blob in layer.params]


def place_of(net, name):
    return next(node.place for node in net.nodes if node.layer.name == name)


def run(net):
    net.forward(keep=True)
    generator = torch.Generator().manual_seed(SEED + 1)
    for name in net.outputs:
        net.blobs[name].set_diff(torch.randn(net.blobs[name].shape, generator=generator))
    net.clear_diffs()
    net.backward()


def everything(net):
    values = {}
    for name, blob in net.blobs.items():
        values[name], values[f"{name} diff"] = blob.data.float(), blob.diff.float()
    for place, blob in enumerate(parameters(net)):
        values[f"param {place}"], values[f"param {place} diff"] = blob.data, blob.diff
    return values


def assert_equal(ours, theirs):
    """Within 1e-5 of the largest magnitude, or of 1, which the outputs' gradients are about."""
    print("seed", SEED)
    for name, expected in theirs.items():
        largest = max(expected.abs().max().item(), 1)
        difference = (ours[name] - expected).abs().max().item()
        assert difference <= 1e-5 * largest, f"seed {SEED}: {name} differs by {difference}"


CHAINS = {
    "norm": [],
    "norm relu": [RELU],
    "norm scale": [SCALE],
    "norm scale relu": [SCALE, RELU],
    "norm scale pool": [SCALE, POOL],
    "norm relu pool": [RELU, POOL],
    "norm scale relu pool": [SCALE, RELU, POOL],
    "norm scale relu pool unpool": [SCALE, RELU, POOL, UNPOOL],
}
SCALES = {
    "positive": [0.5, 1.0, 2.0, 0.1, 3.0],
    "negative": [0.5, -1.0, 2.0, -0.1, 3.0],
    "zero": [0.5, 0.0, -2.0, 0.1, 3.0],
}


@pytest.mark.parametrize("phase", [caffe_pb2.TRAIN, caffe_pb2.TEST])
@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("chain", CHAINS)
def test_a_fused_step_equals_its_layers(chain, scales, phase):
    fused = net_of(CHAINS[chain], phase)
    plain = one_by_one(net_of(CHAINS[chain], phase))
    length = 2 + len(CHAINS[chain]) - ("unpool" in chain.split())
    assert max(len(step.nodes) for step in fused.steps) == length
    for net in (fused, plain):
        fill(net, SCALES[scales])
        run(net)
    assert_equal(everything(fused), everything(plain))


@pytest.mark.parametrize("bias", ["", "bias_term: false"])
@pytest.mark.parametrize("layer_type", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("chain", CHAINS)
def test_weights_with_the_normalisation_in_them(chain, scales, layer_type, bias):
    pair = []
    for _ in range(2):
        net = net_of(CHAINS[chain], caffe_pb2.TEST)
        text = text_format.MessageToString(net.parameter).replace(
            '"Convolution"', f'"{layer_type}"'
        )
        parameter = text_format.Parse(text, caffe_pb2.NetParameter())
        parameter.layer[1].convolution_param.bias_term = not bias
        parameter.state.phase = caffe_pb2.TEST
        pair.append(Net(parameter))
    one_by_one(pair[1])
    for change in range(3):
        for net in pair:
            if change == 0:
                fill(net, SCALES[scales])
            elif change == 1:
                parameters(net)[0].data.mul_(2)  # as a solver changes weights
            else:
                parameters(net)[0].pin_data().numpy()[...] += 1  # as pycaffe's users do
            net.forward(keep=False)
        for name in pair[1].blobs:
            expected = pair[1].blobs[name].data.float()
            difference = (pair[0].blobs[name].data.float() - expected).abs().max()
            assert difference <= 2e-5 * expected.abs().max(), (SEED, change, name, difference)


def test_masks_for_unpoolings_alone_are_indices():
    net = net_of(CHAINS["norm scale relu pool unpool"], caffe_pb2.TRAIN)
    net.forward()
    assert net.blobs["mask"].data.dtype == torch.int64
    net = net_of(CHAINS["norm scale relu pool"], caffe_pb2.TRAIN)
    net.forward()
    assert net.blobs["mask"].data.dtype == torch.float32


def test_a_batch_of_another_size_goes_through():
    fused = net_of(CHAINS["norm scale relu pool unpool"], caffe_pb2.TRAIN)
    plain = one_by_one(net_of(CHAINS["norm scale relu pool unpool"], caffe_pb2.TRAIN))
    for net in (fused, plain):
        run(net)
        net.blobs["x"].reshape((2, 1, 4, 10))
        fill(net, SCALES["positive"])
        run(net)
    assert_equal(everything(fused), everything(plain))


@pytest.mark.parametrize("pinned", [False, True])
def test_a_batch_of_another_size_where_normalisation_is_in_the_weights(pinned):
    """What the step leaves out has the new batch's shape, too, without a call of reshape."""
    fused = net_of(CHAINS["norm scale relu pool"], caffe_pb2.TEST)
    plain = one_by_one(net_of(CHAINS["norm scale relu pool"], caffe_pb2.TEST))
    for net in (fused, plain):
        net.forward(keep=False)
        for blob in net.blobs.values() if pinned else ():
            blob.pin_data()
        net.blobs["x"].reshape((2, 1, 4, 10))
        fill(net, SCALES["positive"])
        net.forward(keep=False)
    assert_equal(
        *({name: blob.data.float() for name, blob in net.blobs.items()} for net in (fused, plain))
    )


@pytest.mark.parametrize("part", ["forward", "backward"])
def test_a_run_that_ends_inside_a_step_takes_it_apart(part):
    fused = net_of(CHAINS["norm scale relu pool"], caffe_pb2.TRAIN)
    plain = one_by_one(net_of(CHAINS["norm scale relu pool"], caffe_pb2.TRAIN))
    relu = place_of(fused, "relu")
    for net in (fused, plain):
        fill(net, SCALES["negative"])
        if part == "forward":
            net.forward(end=relu, keep=True)
        else:
            net.forward(keep=True)
            net.blobs["y"].set_diff(torch.ones(net.blobs["y"].shape))
            net.clear_diffs()
            net.backward(start=relu)
    ours, theirs = everything(fused), everything(plain)
    if part == "forward":
        ours, theirs = (
            {name: values[name] for name in ("y", "param 1", "param 2")}
            for values in (ours, theirs)
        )
    assert_equal(ours, theirs)


def test_numpy_views_stay_valid_over_fused_steps():
    from torchcaffe.pycaffe import Blob

    net = net_of(CHAINS["norm scale relu pool unpool"], caffe_pb2.TRAIN)
    fill(net, SCALES["positive"])
    net.forward()
    views = {name: Blob(blob).data for name, blob in net.blobs.items()}
    before = {name: view.copy() for name, view in views.items()}
    views["x"] += 1
    net.forward()
    for name in ("y", "pool", "unpool"):
        assert not np.array_equal(views[name], before[name])
    assert views["mask"].dtype == np.float32
    expected = everything(net)
    for name, view in views.items():
        np.testing.assert_array_equal(view, expected[name].numpy())


@pytest.mark.parametrize("chain", CHAINS)
def test_gradients_are_the_same_when_somebody_has_looked(chain):
    """A blob that is looked at gets memory of its own, which each pass writes into."""
    pair = [net_of(CHAINS[chain], caffe_pb2.TRAIN) for _ in range(2)]
    for net in pair:
        fill(net, SCALES["negative"])
    for blob in pair[0].blobs.values():
        blob.pin_data(), blob.pin_diff()
    for net in pair:
        run(net)
    assert_equal(everything(pair[0]), everything(pair[1]))


@pytest.mark.parametrize("shape", [(2, 1, 7, 7), (1, 1, 5, 8)])
def test_windows_that_reach_over_the_edge_after_a_reshape(shape):
    fused = net_of(CHAINS["norm scale relu pool"], caffe_pb2.TRAIN)
    plain = one_by_one(net_of(CHAINS["norm scale relu pool"], caffe_pb2.TRAIN))
    for net in (fused, plain):
        net.blobs["x"].reshape(shape)
        net.reshape()
        fill(net, SCALES["negative"])
        run(net)
    assert_equal(everything(fused), everything(plain))


def test_a_backward_pass_after_one_that_kept_nothing():
    """As after a solver's last display: the statistics count the batch once."""
    fused = net_of(CHAINS["norm scale relu pool unpool"], caffe_pb2.TRAIN)
    plain = net_of(CHAINS["norm scale relu pool unpool"], caffe_pb2.TRAIN)
    for net, keep in ((fused, False), (plain, True)):
        fill(net, SCALES["positive"])
        net.forward(keep=keep)
        for name in net.outputs:
            net.blobs[name].set_diff(torch.ones(net.blobs[name].shape))
        net.clear_diffs()
        net.backward()
    assert_equal(everything(fused), everything(plain))


@pytest.mark.parametrize("phase", [caffe_pb2.TRAIN, caffe_pb2.TEST])
def test_backward_from_the_middle_of_a_step_again_and_again(phase):
    fused = net_of(CHAINS["norm scale relu pool"], phase)
    plain = one_by_one(net_of(CHAINS["norm scale relu pool"], phase))
    for net in (fused, plain):
        fill(net, SCALES["positive"])
        run(net)
        run(net)
        net.blobs["y"].set_diff(torch.ones(net.blobs["y"].shape))
        net.clear_diffs()
        net.backward(start=place_of(net, "scale"))
    assert_equal(everything(fused), everything(plain))


def test_nets_in_two_threads_do_not_meet():
    def passes(net, found):
        for _ in range(60):
            net.forward(keep=False)
            found.append(net.blobs["y"].data.clone())

    nets, found = [], []
    for number in range(2):
        net = net_of(CHAINS["norm"], caffe_pb2.TEST, shape=(4, 1, 40, 40))
        fill(net, SCALES["positive"])
        net.blobs["x"].data.mul_(number + 1)
        nets.append(net)
        found.append([])
    threads = [threading.Thread(target=passes, args=pair) for pair in zip(nets, found)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for net, results in zip(nets, found):
        net.forward(keep=False)
        assert len(results) == 60
        for result in results:
            torch.testing.assert_close(result, net.blobs["y"].data)


def test_values_far_from_zero():
    fused = net_of(CHAINS["norm scale relu pool"], caffe_pb2.TRAIN)
    plain = one_by_one(net_of(CHAINS["norm scale relu pool"], caffe_pb2.TRAIN))
    for net in (fused, plain):
        fill(net, SCALES["positive"])
        parameters(net)[0].data.abs_()
        net.blobs["x"].data.add_(30)
        run(net)
    ours, theirs = everything(fused), everything(plain)
    for name in ("pool", "param 0 diff", "param 4 diff", "param 5 diff"):
        difference = (ours[name] - theirs[name]).abs().max()
        assert difference <= 1e-4 * theirs[name].abs().max(), (SEED, name, difference)


def test_the_nets_of_the_paper_are_fused():
    from conftest import REPOSITORY

    from torchcaffe.schema import read

    parameter = read.net(REPOSITORY / "prototxt" / "deploy_gcnet.prototxt")
    parameter.state.phase = caffe_pb2.TEST
    fused = [step for step in Net(parameter).steps if isinstance(step, fusion.NormStep)]
    assert [len(step.nodes) for step in fused] == [5, 5, 5, 4, 4, 4, 5, 5, 5]
