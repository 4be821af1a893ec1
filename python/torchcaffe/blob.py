"""Blob: the values of a net's edge or parameter, and their gradient."""

import math

import torch

from torchcaffe.errors import CaffeError

MOST_VALUES = 2**31 - 1
MOST_AXES = 32
"""BVLC Caffe's limits for a blob."""


def checked(shape):
    """The shape as a tuple of int. Raises CaffeError if BVLC Caffe has no blob of this shape."""
    shape = tuple(int(size) for size in shape)
    text = " x ".join(map(str, shape))
    if min(shape, default=0) < 0:
        raise CaffeError(f"a blob of {text}; a size cannot be negative")
    if len(shape) > MOST_AXES:
        raise CaffeError(f"a blob of {len(shape)} axes; {MOST_AXES} are the most")
    if math.prod(shape) > MOST_VALUES:
        raise CaffeError(f"a blob of {text}, {math.prod(shape)} values; {MOST_VALUES} are the most")
    return shape


def by(sizes):
    """`3x5`, for messages."""
    return "x".join(map(str, sizes))


def shape_text(shape):
    """`64 3 5 5 (4800)`, as BVLC Caffe writes shapes."""
    return " ".join([*map(str, shape), f"({math.prod(shape)})"])


class Blob:
    """An array `data` and its gradient `diff`, float32 tensors of one shape on one device.

    A net gives a blob a new tensor whenever a layer has computed it (`set_data`, `set_diff`), in
    whatever memory order is fast. Who needs memory that stays, as numpy views of pycaffe do, pins
    it (`pin_data`, `pin_diff`); from then on results are copied into that memory, which is
    contiguous and the blob's own.
    """

    def __init__(self, shape, device="cpu"):
        self.device = torch.device(device)
        self.shape = checked(shape)
        self._data = None
        self._diff = None
        self._pinned = [False, False]

    @property
    def count(self):
        return math.prod(self.shape)

    @property
    def data(self):
        """The values; zeros where nothing was computed yet."""
        if self._data is None:
            self._data = torch.zeros(self.shape, device=self.device)
        elif not isinstance(self._data, torch.Tensor):
            self._data = self._data().reshape(self.shape)
        return self._data

    @property
    def diff(self):
        """The gradient of the loss by the values; zeros where nothing was computed yet."""
        if self._diff is None:
            self._diff = torch.zeros(self.shape, device=self.device)
        elif not isinstance(self._diff, torch.Tensor):
            self._diff = self._diff().reshape(self.shape)
        return self._diff

    @property
    def has_no_diff(self):
        """Whether nobody has computed, written or looked at the gradient yet."""
        return self._diff is None

    def set_data(self, values):
        """Take a tensor as data; or a function that makes it, called when somebody looks."""
        if self._pinned[0]:
            self.reshape(values.shape if isinstance(values, torch.Tensor) else self.shape)
            self.data.copy_(values if isinstance(values, torch.Tensor) else values())
        else:
            self._data = values
            if isinstance(values, torch.Tensor) and values.shape != self.shape:
                self._diff = None
                self.shape = tuple(values.shape)

    def set_diff(self, values):
        """As `set_data`, for the gradient."""
        if self._pinned[1]:
            self.diff.copy_(values if isinstance(values, torch.Tensor) else values())
        else:
            self._diff = values

    def add_diff(self, values):
        """Add to the gradient, as parameters collect it over the layers that share them."""
        if self._diff is None:
            self._diff = values.reshape(self.shape).clone()
        else:
            self.diff.add_(values.reshape(self.shape))

    def clear_diff(self):
        """Set the gradient to zero, in place if its memory is pinned."""
        if self._pinned[1]:
            self.diff.zero_()
        else:
            self._diff = None

    def reshape(self, shape):
        """Give the blob a shape. Values stay if their count does, else they are zeros."""
        shape = checked(shape)
        if shape == self.shape:
            return
        same_count = math.prod(shape) == self.count
        for name in ("_data", "_diff"):
            values = getattr(self, name)
            if same_count and isinstance(values, torch.Tensor):
                setattr(self, name, values.reshape(shape))
            else:
                setattr(self, name, None)
        self.shape = shape

    @property
    def pinned_data(self):
        return self._pinned[0]

    def pin_data(self):
        """The data in contiguous memory that stays the blob's until it is reshaped."""
        if not self._pinned[0]:
            self._data = self.data.to(
                torch.float32, copy=True, memory_format=torch.contiguous_format
            )
            self._pinned[0] = True
        return self.data

    def pin_diff(self):
        """As `pin_data`, for the gradient."""
        if not self._pinned[1]:
            self._diff = self.diff.clone(memory_format=torch.contiguous_format)
            self._pinned[1] = True
        return self.diff

    def share(self, other, shape=None):
        """Use the memory of `other`, of the same count, in this blob's own shape (or `shape`)."""
        self.shape = tuple(shape or self.shape)
        self._data = other.pin_data().view(self.shape)
        self._diff = other.pin_diff().view(self.shape)
        self._pinned = [True, True]

    def share_data(self, other):
        """Use the memory of the data of `other`, of the same shape; gradients stay apart."""
        self._data = other.pin_data()
        self._pinned[0] = True
