"""What pycaffe asks of the process: the device, random numbers, the log, lists of what there is."""

import os
import time

import torch

from torchcaffe import layers, random_state
from torchcaffe import log as _log
from torchcaffe.errors import CaffeError

_state = {"mode": "cpu", "device": 0, "solver_count": 1, "solver_rank": 0, "multiprocess": False}


def set_mode_cpu():
    """Build nets on the CPU from now on."""
    _state["mode"] = "cpu"


def set_mode_gpu():
    """Build nets on the GPU from now on; nets that are there already stay where they are."""
    _need_gpu("set_mode_gpu()")
    _state["mode"] = "gpu"


def set_device(number):
    """Choose the GPU for nets that are built in GPU mode."""
    _need_gpu(f"set_device({number})")
    count = torch.accelerator.device_count()
    if not 0 <= number < count:
        raise CaffeError(f"set_device({number}): there are {count} GPUs, from 0 to {count - 1}")
    _state["device"] = int(number)


def _need_gpu(call):
    if not torch.accelerator.is_available():
        raise CaffeError(f"{call}: PyTorch finds no GPU here; call caffe.set_mode_cpu() instead")


def device():
    """The torch.device on which nets are built now."""
    if _state["mode"] == "cpu":
        return torch.device("cpu")
    return torch.device(torch.accelerator.current_accelerator().type, _state["device"])


def set_random_seed(seed):
    """Start the random numbers (fillers, dropout, crops) again; not BVLC Caffe's numbers."""
    random_state.seed(int(seed))


def solver_count():
    return _state["solver_count"]


def set_solver_count(count):
    _state["solver_count"] = int(count)


def solver_rank():
    return _state["solver_rank"]


def set_solver_rank(rank):
    _state["solver_rank"] = int(rank)


def set_multiprocess(multiprocess):
    _state["multiprocess"] = bool(multiprocess)


def has_nccl():
    """False: a solver runs on one device."""
    return False


class NCCL:
    """Training on several GPUs at once, which torchcaffe does not do."""

    def __init__(self, *arguments):
        raise CaffeError("NCCL: torchcaffe trains on one device; use one solver without NCCL")

    @staticmethod
    def new_uid():
        raise CaffeError("NCCL: torchcaffe trains on one device; use one solver without NCCL")


def init_log(level=None, stderr=True):
    """Leave out log lines below `level` (1: of info, 2: of warnings too, 3: of errors too).

    Lines go to standard error; BVLC Caffe writes them to files in /tmp unless `stderr` is true.
    """
    if level is not None:
        os.environ["GLOG_minloglevel"] = str(int(level))


def log(message):
    """Write a line to the log."""
    _log.info(message)


def layer_type_list():
    """The names of all layer types, sorted."""
    return sorted(layers.LAYERS)


class Timer:
    """A stop watch: `start()`, `stop()`, then `ms`."""

    def __init__(self):
        self._started = time.perf_counter()
        self.ms = 0.0

    def start(self):
        _wait()
        self._started = time.perf_counter()

    def stop(self):
        _wait()
        self.ms = (time.perf_counter() - self._started) * 1000


def _wait():
    if _state["mode"] == "gpu":
        torch.accelerator.synchronize()
