"""The random numbers of a process: fillers, dropout, crops, mirrors.

Caffe has one generator for all; so has torchcaffe, so that `random_seed` repeats a run. Its numbers
are of the same distributions as BVLC Caffe's and not the same numbers.
"""

import torch

_generators = {}
_seed = None


def seed(value):
    """Start again from `value` (Caffe's `random_seed`), on every device."""
    global _seed
    _seed = value
    _generators.clear()


def generator(device="cpu"):
    """The torch.Generator of a device; seeded by the system until `seed` is called."""
    device = torch.device(device)
    if device not in _generators:
        made = torch.Generator(device)
        made.manual_seed(_seed) if _seed is not None else made.seed()
        _generators[device] = made
    return _generators[device]


def integer(below):
    """A whole number from 0 to below - 1, on the CPU."""
    return int(torch.randint(below, (), generator=generator()))
