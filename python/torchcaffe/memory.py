"""Memory that is fast to get: blobs of tens of megabytes come and go with every iteration.

The system hands out such blocks page by page, each zeroed on first touch, and takes them back when
they are freed; twenty tensors of 32 MB, made and filled, took seven times as long as in memory that
was kept. Two remedies: `keep_freed_blocks` for all of PyTorch, and for the
largest tensors of a step, whose shapes rarely change, a Buffers that gives the same memory again.
"""

import ctypes

import torch

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_blocks():
    """Let the C library keep freed blocks for the next allocation (glibc only; else nothing)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


class Buffers:
    """Tensors that are made once and given again for the same name and shape."""

    def __init__(self):
        self._tensors = {}

    def get(self, name, shape, like, channels_last=False):
        """A tensor of the dtype and device of `like`, with whatever was in it."""
        shape = tuple(shape)
        found = self._tensors.get(name)
        if found is None or found.shape != shape or found.device != like.device:
            order = torch.channels_last if channels_last else torch.contiguous_format
            found = like.new_empty(shape).to(memory_format=order)
            self._tensors[name] = found
        return found
