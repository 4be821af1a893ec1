"""How parameters start (`weight_filler`, `filler`, ...), of BVLC Caffe's distributions."""

import math

import torch

from torchcaffe.blob import by
from torchcaffe.errors import CaffeError
from torchcaffe.random_state import generator
from torchcaffe.schema import caffe_pb2


def fill(blob, filler):
    """Fill a Blob's data as a FillerParameter says.

    Raises CaffeError for a type that Caffe does not have, a shape that the type cannot fill, or
    limits that make no distribution. As in BVLC Caffe a blob without values cannot be filled, and
    one of no axes only by types that do not look at axes.
    """
    if filler.type not in FILLERS:
        raise CaffeError(f"no filler {filler.type!r}; choose one of {', '.join(sorted(FILLERS))}")
    if 0 in blob.shape:
        raise CaffeError(f"filler {filler.type}: a blob of {by(blob.shape)} has no values to fill")
    needs_axis = ("positive_unitball", "xavier", "msra")
    sparse = filler.type == "gaussian" and filler.sparse >= 0
    if not blob.shape and (sparse or filler.type in needs_axis):
        what = "a sparse gaussian" if sparse else filler.type
        raise CaffeError(f"filler {what}: a blob of no axes cannot be filled; give another type")
    values = torch.empty(blob.shape)
    FILLERS[filler.type](values, filler)
    blob.data.copy_(values)


def _constant(values, filler):
    values.fill_(filler.value)


def _uniform(values, filler):
    # NaN is neither.
    if not 0 <= filler.max - filler.min <= torch.finfo(torch.float32).max:
        raise CaffeError(
            f"filler uniform: min is {filler.min:g} and max {filler.max:g}; "
            "give a max that is not less than min"
        )
    values.uniform_(filler.min, filler.max, generator=generator())


def _gaussian(values, filler):
    """`sparse` >= 0 keeps a value with probability sparse / (size of the first axis)."""
    if not filler.std >= 0:
        raise CaffeError(f"filler gaussian: std is {filler.std:g}; give 0 or more")
    values.normal_(filler.mean, filler.std, generator=generator())
    if filler.sparse >= 0:
        kept = torch.empty_like(values)
        values *= kept.bernoulli_(min(1.0, filler.sparse / values.shape[0]), generator=generator())


def _positive_unitball(values, filler):
    values.uniform_(0, 1, generator=generator())
    rows = values.view(values.shape[0], -1)
    rows /= rows.sum(1, keepdim=True)


def _fan(values, filler):
    fan_in = values.numel() / values.shape[0]
    fan_out = values.numel() / values.shape[1] if values.dim() > 1 else values.numel()
    return {
        caffe_pb2.FillerParameter.FAN_IN: fan_in,
        caffe_pb2.FillerParameter.FAN_OUT: fan_out,
        caffe_pb2.FillerParameter.AVERAGE: (fan_in + fan_out) / 2,
    }[filler.variance_norm]


def _xavier(values, filler):
    limit = math.sqrt(3 / _fan(values, filler))
    values.uniform_(-limit, limit, generator=generator())


def _msra(values, filler):
    values.normal_(0, math.sqrt(2 / _fan(values, filler)), generator=generator())


def _bilinear(values, filler):
    """The kernel of a Deconvolution that enlarges by interpolation, in every channel."""
    if values.dim() != 4 or values.shape[2] != values.shape[3]:
        raise CaffeError(f"filler bilinear: got {tuple(values.shape)}, expected 4 axes, square")
    size = values.shape[3]
    factor = (size + 1) // 2
    center = (size - 1) / (2 * factor)
    ramp = 1 - (torch.arange(size, dtype=torch.float32) / factor - center).abs()
    values.copy_(ramp[:, None] * ramp[None, :])


FILLERS = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
