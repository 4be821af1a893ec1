"""A device that is not the CPU, on machines that have no other: its tensors live in CPU memory.

Such a tensor says that it is on the device `meta` and computes by the one that it hides. As on a
GPU numpy cannot look into it, no operation mixes it with a tensor of the CPU (but for one of no
axes), and what PyTorch's CUDA code refuses is refused (REFUSED). Values are those of the CPU.
"""

import contextlib

import torch
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from torchcaffe import fillers, random_state
from torchcaffe.layers import neuron

DEVICE = torch.device("meta")
COPIES = ("aten::copy_", "aten::_to_copy")


class Pretended(torch.Tensor):
    @staticmethod
    def __new__(cls, real):
        made = torch.Tensor._make_wrapper_subclass(
            cls, real.shape, strides=real.stride(), storage_offset=real.storage_offset(),
            dtype=real.dtype, device=DEVICE,
        )  # fmt: skip
        made.hidden = real
        return made

    def data_ptr(self):
        return self.hidden.data_ptr()

    def tolist(self):
        return self.hidden.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, arguments=(), named=None):
        return run(operation, arguments, named or {})


class Mode(TorchDispatchMode):
    """Catches what makes tensors, which has no tensor to go by."""

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        return run(operation, arguments, named or {})


def run(operation, arguments, named):
    flat, shape = tree_flatten((arguments, named))
    mine = [each for each in flat if isinstance(each, Pretended)]
    name = operation.name().split(".")[0]
    wanted = named.get("device")
    here = bool(mine) if wanted is None else torch.device(wanted) == DEVICE
    if mine and name not in COPIES:
        for each in flat:
            if isinstance(each, torch.Tensor) and not isinstance(each, Pretended) and each.dim():
                raise RuntimeError(f"{name}: tensors on two devices, a GPU and the CPU")
    if mine and name in REFUSED:
        REFUSED[name](*arguments, **named)
    if name == "aten::copy_":
        here = isinstance(arguments[0], Pretended)
    wrappers = {id(each.hidden): each for each in mine}
    real = [_real(each) for each in flat]
    arguments, named = tree_unflatten(real, shape)
    result = operation(*arguments, **named)
    if mine and torch.Tag.inplace_view in operation.tags:
        with no_dispatch():
            operation(*tree_unflatten(flat, shape)[0])
    if not here:
        return result

    def shown(each):
        if not isinstance(each, torch.Tensor):
            return each
        found = wrappers.get(id(each))
        return Pretended(each) if found is None else found

    return tree_map(shown, result)


def _real(value):
    if isinstance(value, Pretended):
        return value.hidden
    return torch.device("cpu") if value == DEVICE and isinstance(value, torch.device) else value


def _unpooling(values, mask, plane, out):
    if not out.is_contiguous():
        raise RuntimeError("output must be contiguous")


def _batch_norm_backward(diff, x, weight, mean, variance, saved_mean, saved_inverse, *rest):
    if saved_mean is None or saved_inverse is None:
        raise RuntimeError("save_mean should always be defined")


REFUSED = {
    "aten::max_unpool2d": _unpooling,
    "aten::native_batch_norm_backward": _batch_norm_backward,
}


@contextlib.contextmanager
def pretended(monkeypatch):
    """Within it tensors of DEVICE are Pretended, and random numbers for it are the CPU's."""
    generator, tensor = random_state.generator, torch.tensor

    def of_cpu(device="cpu"):
        return generator()

    def made(values, device=None, **named):
        # PyTorch makes this one on the device without asking the mode.
        return tensor(values, **named) if device is None else tensor(values, **named).to(device)

    for module in (random_state, fillers, neuron):
        monkeypatch.setattr(module, "generator", of_cpu)
    monkeypatch.setattr(torch, "tensor", made)
    with Mode():
        yield
