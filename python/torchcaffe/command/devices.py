"""Which device a command runs on."""

import torch

from torchcaffe import log
from torchcaffe.errors import CaffeError


def accelerator():
    """The kind of this machine's accelerator (`cuda`, `mps`, ...), or None."""
    if not torch.accelerator.is_available():
        return None
    return torch.accelerator.current_accelerator().type


def chosen(gpu):
    """The numbers that -gpu names; raises CaffeError for devices that are not there."""
    if not gpu:
        return []
    if accelerator() is None:
        raise CaffeError(f"-gpu {gpu}: PyTorch finds no GPU here; leave -gpu out to use the CPU")
    count = torch.accelerator.device_count()
    if gpu == "all":
        return list(range(count))
    numbers = []
    for text in gpu.split(","):
        if not text.isdecimal() or int(text) >= count:
            raise CaffeError(
                f"-gpu {gpu}: there is no GPU {text!r}; give numbers from 0 to {count - 1}, or all"
            )
        numbers.append(int(text))
    return numbers


def for_scoring(gpu):
    """The device of `test` and `time`: the first of -gpu, or the CPU."""
    numbers = chosen(gpu)
    for number in numbers[1:]:
        log.info(f"Not using GPU #{number} for single-GPU function")
    if numbers:
        log.info(f"Use GPU with device ID {numbers[0]}")
        return device(numbers[0])
    log.info("Use CPU.")
    return torch.device("cpu")


def for_training(gpu, solver):
    """The device of `train`: of -gpu, or else of the solver's solver_mode and device_id.

    Without either it is the CPU, as in BVLC Caffe, though the schema's default of solver_mode is
    GPU. BVLC Caffe fails for a solver_mode GPU where there is none; here the CPU is used.
    Raises CaffeError for several devices: BVLC gives a batch to each, so one would train otherwise.
    """
    numbers = chosen(gpu)
    if len(numbers) > 1:
        raise CaffeError(
            f"-gpu {gpu}: training runs on one device; give one, and multiply batch_size by "
            f"{len(numbers)} for the gradients of {len(numbers)}"
        )
    if not gpu and solver.HasField("solver_mode") and solver.solver_mode == solver.GPU:
        if accelerator() is None:
            log.info("solver_mode is GPU, but PyTorch finds none here.")
        else:
            numbers = chosen(str(solver.device_id))
    if numbers:
        log.info(f"Using GPUs {numbers[0]}")
        return device(numbers[0])
    log.info("Use CPU.")
    return torch.device("cpu")


def device(number):
    return torch.device(accelerator(), number)


def wait(device):
    """Wait until all that was asked of the device is computed, so that clocks tell its time."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def query(flags):
    """The command device_query: what PyTorch tells of the devices that -gpu names (or all)."""
    log.info(f"Querying GPUs {flags.gpu or 'all'}")
    if accelerator() is None and flags.gpu in ("", "all"):
        log.info("PyTorch finds no GPU here.")
        return
    for number in chosen(flags.gpu or "all"):
        log.info(f"Device id:                     {number}")
        if accelerator() != "cuda":
            log.info(f"Kind:                          {accelerator()}")
            continue
        found = torch.cuda.get_device_properties(number)
        log.info(f"Name:                          {found.name}")
        log.info(f"Major revision number:         {found.major}")
        log.info(f"Minor revision number:         {found.minor}")
        log.info(f"Total global memory:           {found.total_memory}")
        log.info(f"Number of multiprocessors:     {found.multi_processor_count}")
