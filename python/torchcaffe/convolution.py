"""Convolutions and their gradients, by whatever is fast on the device.

PyTorch's are used but for one case: on the CPU, images of one channel (the first convolution on
gray faces, the last deconvolution back to them). There oneDNN reaches a twentieth of the
processor's rate, and a matrix product over the k*k shifted images is two to eight times faster
(two cores, 64 images of 64 x 64, 32 channels, 5 x 5).
"""

import threading
from typing import NamedTuple

import torch

from torchcaffe.memory import Buffers

_of_thread = threading.local()


def _scratch(shape, like):
    """Memory that is used up within a call, for the shifted images; each thread has its own."""
    if not hasattr(_of_thread, "buffers"):
        _of_thread.buffers = Buffers()
    return _of_thread.buffers.get("shifted", shape, like)


class Geometry(NamedTuple):
    """How a kernel moves over the image: lists of a size for each axis, and `transposed` for a
    deconvolution."""

    stride: list
    padding: list
    dilation: list
    groups: int
    transposed: bool


def forward(x, weight, bias, geometry, buffers=None):
    """Convolution of x (N x C x ...) or deconvolution, as torch.ops.aten.convolution.

    `weight` is out x in/groups x kernel, and in x out/groups x kernel if transposed. `buffers` may
    hold the result, which the next call with the same Buffers overwrites.
    """
    stride, padding, dilation, groups, transposed = geometry
    if _is_of_one_channel(x, weight, geometry):
        y = (_contract if transposed else _expand)(x, weight, padding, buffers or Buffers())
        return y if bias is None else y.add_(bias.view(1, -1, 1, 1))
    return torch.ops.aten.convolution(
        x, _in_order(weight), bias, stride, padding, dilation, transposed, [0] * len(stride), groups
    )


def backward(dy, x, weight, wanted, geometry, buffers=None):
    """(gradient of x, of weight, of bias), each None where the three flags `wanted` say so."""
    stride, padding, dilation, groups, transposed = geometry
    if _is_of_one_channel(x, weight, geometry):
        dx = dw = None
        if wanted[0]:
            dx = (_expand if transposed else _contract)(dy, weight, padding, buffers or Buffers())
        if wanted[1]:
            image, features = (dy, x) if transposed else (x, dy)
            dw = _weight_gradient(image, features, weight, padding)
        return dx, dw, dy.sum((0, 2, 3)) if wanted[2] else None
    dx, dw, db = torch.ops.aten.convolution_backward(
        dy, x, _in_order(weight), None, stride, padding, dilation, transposed, [0] * len(stride),
        groups, [wanted[0], wanted[1], False],
    )  # fmt: skip
    if wanted[2]:
        db = dy.sum([0, *range(2, dy.dim())])
    return dx, dw, db


def _in_order(weight):
    """Weights in channels_last order on the CPU, which makes the convolution run in that order."""
    if weight.dim() == 4 and weight.device.type == "cpu":
        return weight.contiguous(memory_format=torch.channels_last)
    return weight


def _is_of_one_channel(x, weight, geometry):
    return (
        weight.shape[1] == 1
        and weight.dim() == 4
        and geometry.groups == 1
        and x.device.type == "cpu"
        and all(size == 1 for size in (*geometry.stride, *geometry.dilation))
    )


def _shifted(image, kernel, padding):
    """k*k x (N H W): the image (N x 1 x ...) moved to each place of the kernel; and N, H, W."""
    (height, width), (top, left) = kernel, padding
    padded = torch.nn.functional.pad(image, (left, left, top, top)).contiguous()
    count, _, rows, columns = padded.shape
    shape = height, width, count, rows - height + 1, columns - width + 1
    moved = _scratch(shape, image)
    moved.copy_(padded.as_strided(shape, (columns, 1, rows * columns, columns, 1)))
    return moved.view(height * width, -1), shape[2:]


def _expand(image, weight, padding, buffers):
    """N x 1 x H x W -> N x C x H' x W': the convolution, or the transpose of _contract."""
    moved, (count, rows, columns) = _shifted(image, weight.shape[2:], padding)
    channels = weight.shape[0]
    features = buffers.get("features", (count, rows, columns, channels), image)
    torch.mm(moved.t(), weight.reshape(channels, -1).t(), out=features.view(-1, channels))
    return features.permute(0, 3, 1, 2)


def _contract(features, weight, padding, buffers):
    """N x C x H' x W' -> N x 1 x H x W: the deconvolution, or the transpose of _expand."""
    channels, _, height, width = weight.shape
    count, _, rows, columns = features.shape
    parts = _scratch((height, width, count, rows, columns), features)
    torch.mm(
        weight.reshape(channels, -1).t(), _rows(features).t(), out=parts.view(height * width, -1)
    )
    lines = features.new_zeros(height, count, rows, columns + width - 1)
    for j in range(width):
        lines[..., j : j + columns] += parts[:, j]
    image = features.new_zeros(count, rows + height - 1, columns + width - 1)
    for i in range(height):
        image[:, i : i + rows] += lines[i]
    top, left = padding
    return image[:, None, top : image.shape[1] - top, left : image.shape[2] - left].contiguous()


def _weight_gradient(image, features, weight, padding):
    moved, _ = _shifted(image, weight.shape[2:], padding)
    return (moved @ _rows(features)).t().reshape(weight.shape)


def _rows(features):
    """(N H W) x C; free for tensors in channels_last order."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
