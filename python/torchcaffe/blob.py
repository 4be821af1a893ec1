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


class _Values:
    """The data or the diff of a blob: a tensor, a function that makes it, or None for zeros.

    pinned     whether the tensor is in contiguous memory that stays
    capacity   how many values there is memory for: those of the largest shape so far
    memory     all of it, flat, while the shape is smaller; None for zeros beyond the tensor. It is
               written to only where it is pinned, and the tensor is its beginning then
    """

    def __init__(self, capacity):
        self.values, self.pinned = None, False
        self.capacity, self.memory = capacity, None

    def tensor(self, shape, device):
        if self.values is None:
            self.values = torch.zeros(shape, device=device)
        elif not isinstance(self.values, torch.Tensor):
            self.values = self.values().reshape(shape)
        return self.values

    def resize(self, old, shape, device):
        """Go from the shape `old` to `shape`."""
        count = math.prod(shape)
        if count > self.capacity:
            self.values = self.memory = None
            self.capacity, self.pinned = count, False
        elif self.values is not None or self.memory is not None:
            if not self.pinned or self.memory is None:
                self.memory = self._whole(self.tensor(old, device).reshape(-1))
            self.values = self.memory[:count].view(shape)
            if count == self.capacity:
                self.memory = None

    def pin(self, shape, device):
        if not self.pinned:
            own = self.tensor(shape, device).to(
                torch.float32, copy=True, memory_format=torch.contiguous_format
            )
            if own.numel() < self.capacity:
                self.memory = self._whole(own.view(-1))
                own = self.memory[: own.numel()].view(shape)
            self.values, self.pinned = own, True
        return self.tensor(shape, device)

    def _whole(self, values):
        """The flat `values` with what the memory holds beyond them."""
        count = len(values)
        if count == self.capacity:
            return values
        if self.memory is None:
            return torch.cat((values, values.new_zeros(self.capacity - count)))
        return torch.cat((values, self.memory[count:]))

    def borrow(self, other, shape, device):
        """Use the pinned memory of other _Values, of as many values as `shape`."""
        self.values = other.tensor(shape, device).view(shape)
        self.capacity, self.memory, self.pinned = other.capacity, other.memory, True


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
        self._data, self._diff = _Values(self.count), _Values(self.count)

    @property
    def count(self):
        return math.prod(self.shape)

    @property
    def data(self):
        """The values; zeros where nothing was computed yet."""
        return self._data.tensor(self.shape, self.device)

    @property
    def diff(self):
        """The gradient of the loss by the values; zeros where nothing was computed yet."""
        return self._diff.tensor(self.shape, self.device)

    @property
    def has_no_diff(self):
        """Whether nobody has computed, written or looked at the gradient yet."""
        return self._diff.values is None

    def set_data(self, values):
        """Take a tensor as data; or a function that makes it, called when somebody looks."""
        if isinstance(values, torch.Tensor):
            self.reshape(values.shape)
        if self._data.pinned:
            self.data.copy_(values if isinstance(values, torch.Tensor) else values())
        else:
            self._data.values = values

    def set_diff(self, values):
        """As `set_data`, for the gradient."""
        if self._diff.pinned:
            self.diff.copy_(values if isinstance(values, torch.Tensor) else values())
        else:
            self._diff.values = values

    def add_diff(self, values):
        """Add to the gradient, as parameters collect it over the layers that share them."""
        if self.has_no_diff:
            self._diff.values = values.reshape(self.shape).clone()
        else:
            self.diff.add_(values.reshape(self.shape))

    def clear_diff(self):
        """Set the gradient to zero, in place if its memory is pinned."""
        if self._diff.pinned:
            self.diff.zero_()
        else:
            self._diff.values = None

    def reshape(self, shape):
        """Give the blob a shape, which takes the beginning of its memory.

        As in BVLC Caffe the memory has room for the largest shape so far, and what stands beyond a
        smaller one is there again when the blob grows; beyond the largest one, all are zeros.
        """
        shape = checked(shape)
        if shape == self.shape:
            return
        for values in (self._data, self._diff):
            values.resize(self.shape, shape, self.device)
        self.shape = shape

    @property
    def pinned_data(self):
        return self._data.pinned

    def pin_data(self):
        """The data in contiguous memory that stays the blob's until it grows beyond it."""
        return self._data.pin(self.shape, self.device)

    def pin_diff(self):
        """As `pin_data`, for the gradient."""
        return self._diff.pin(self.shape, self.device)

    def share(self, other):
        """Use the memory of `other`, of the same count, in this blob's own shape."""
        other.pin_data(), other.pin_diff()
        self._data.borrow(other._data, self.shape, self.device)
        self._diff.borrow(other._diff, self.shape, self.device)

    def share_data(self, other):
        """Use the memory of the data of `other`, of the same shape; gradients stay apart."""
        other.pin_data()
        self._data.borrow(other._data, self.shape, self.device)
