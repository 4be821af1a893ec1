"""Where the items of a part are worked off: the device, and the folders that they use."""

import dataclasses
import time
from pathlib import Path

import torch


@dataclasses.dataclass
class Place:
    """`device`: cuda:0, or cpu in a rehearsal. `folder`: new and empty, for what an item writes.

    `folds`: the folder with fold0/ and fold1/ of the luggage, or None. `ends`: the time.monotonic()
    at which the part is over.
    """

    device: torch.device
    folder: Path
    folds: Path | None
    ends: float
    rehearsal: bool

    @property
    def seconds_left(self):
        return self.ends - time.monotonic()

    @property
    def is_gpu(self):
        return self.device.type != "cpu"

    def wait(self):
        """Until all that was asked of the device is done."""
        if self.is_gpu:
            torch.accelerator.synchronize(self.device)

    def compute_here(self):
        """Let pycaffe build its nets on the device."""
        import caffe

        if self.is_gpu:
            caffe.set_mode_gpu()
            caffe.set_device(self.device.index)
        else:
            caffe.set_mode_cpu()

    def compute_on_cpu(self):
        """Let pycaffe build its nets on the CPU."""
        import caffe

        caffe.set_mode_cpu()


def device():
    """The first GPU, or the CPU where PyTorch finds none."""
    if not torch.accelerator.is_available():
        return torch.device("cpu")
    return torch.device(torch.accelerator.current_accelerator().type, 0)
