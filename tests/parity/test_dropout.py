"""Dropout in the training phase: its numbers are random, so its statistics are tested."""

import os

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from torchcaffe import random_state
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2

NET = """
force_backward: true
state {{ phase: TRAIN }}
layer {{ name: "x"  type: "Input"  top: "x"  input_param {{ shape {{ dim: 100 dim: 1000 }} }} }}
layer {{ name: "front"  type: "Power"  bottom: "x"  top: "top"  power_param {{ shift: 0 }} }}
layer {{ name: "drop"  type: "Dropout"  bottom: "top"  top: "top"
  dropout_param {{ dropout_ratio: {ratio} }} }}
"""


@pytest.fixture
def seed():
    value = int(os.environ["TEST_SEED"])
    print("seed", value)
    random_state.seed(value)
    return value


def dropped(ratio):
    """A net of one Dropout layer after a pass over ones, and the values."""
    net = Net(text_format.Parse(NET.format(ratio=ratio), caffe_pb2.NetParameter()))
    net.blobs["x"].set_data(torch.ones(100, 1000))
    net.forward()
    return net, net.blobs["top"].data.numpy().copy()


@pytest.mark.parametrize("ratio", [0.1, 0.5])
def test_share_and_scale(seed, ratio):
    _, values = dropped(ratio)
    assert np.allclose(np.unique(values), [0, 1 / (1 - ratio)])
    share = (values == 0).mean()
    deviation = (ratio * (1 - ratio) / values.size) ** 0.5
    assert abs(share - ratio) < 6 * deviation
    # Each value by itself, not whole rows or columns.
    assert (values == 0).mean(1).max() < ratio + 0.1
    assert (values == 0).mean(0).max() < ratio + 0.4


def test_backward_uses_the_mask_of_the_last_forward(seed):
    net, first = dropped(0.4)
    net.forward()
    values = net.blobs["top"].data.numpy().copy()
    assert not np.array_equal(first, values)
    diff = torch.randn(100, 1000, generator=torch.Generator().manual_seed(seed))
    net.blobs["top"].set_diff(diff)
    net.backward()
    assert np.allclose(net.blobs["x"].diff.numpy(), diff.numpy() * values)


def test_random_seed_repeats_the_mask(seed):
    _, first = dropped(0.5)
    random_state.seed(seed)
    _, again = dropped(0.5)
    assert np.array_equal(first, again)


def test_backward_of_a_pass_that_was_not_kept_uses_its_mask(seed):
    net, first = dropped(0.4)
    net.blobs["x"].set_data(torch.ones(100, 1000))
    net.forward(keep=False)
    values = net.blobs["top"].data.numpy().copy()
    assert not np.array_equal(first, values)
    net.blobs["top"].set_diff(torch.ones(100, 1000))
    net.backward()
    assert np.array_equal(net.blobs["top"].data.numpy(), values)
    assert np.array_equal(net.blobs["x"].diff.numpy(), values)
    net.forward()
    assert not np.array_equal(net.blobs["top"].data.numpy(), values)
