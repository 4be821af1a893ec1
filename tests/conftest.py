"""Fixtures that every test room shares, the seed of all random tests, and what they run on.

The seed is 1 unless TEST_SEED=n says otherwise, so that a failure belongs to a change and not to the
dice; `make fuzz` throws the dice. Sums are rounded differently on each processor, so the first lines
of a test run name it, its instruction sets, and the variables that hold the libraries to others.
"""

import os
import pathlib
import subprocess

import pytest
import torch

import gcnet.methods.all  # noqa: F401 (registers the models)

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("TEST_SEED", "1")


INSTRUCTION_SETS = (
    "sse4_1",
    "avx",
    "fma",
    "avx2",
    "avx512f",
    "avx512_bf16",
    "amx_tile",
    "asimd",
    "sve",
)
"""Those that the libraries have kernels for, as Linux names them."""

HOLDING = (
    "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)  # fmt: skip
"""Environment variables that hold oneDNN, PyTorch and OpenBLAS to instruction sets or threads."""


def pytest_report_header():
    return [f"TEST_SEED={os.environ['TEST_SEED']}", *processor()]


def processor():
    """Lines for people."""
    facts = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features", "")).split()
    sets = ", ".join(name for name in INSTRUCTION_SETS if name in flags)
    held = [f"{name}={os.environ[name]}" for name in HOLDING if name in os.environ]
    return [
        f"processor: {facts.get('model name', 'unknown')}, {len(os.sched_getaffinity(0))} cores",
        f"instruction sets: {sets}; PyTorch takes {torch.backends.cpu.get_cpu_capability()}",
        f"held to: {', '.join(held) or 'nothing'}",
    ]


@pytest.fixture(scope="session")
def bvlc():
    """The prefix of an installed BVLC Caffe; installs it when it is not there yet."""
    installed = subprocess.run(
        [REPOSITORY / "docker" / "bvlc_caffe.sh"], capture_output=True, text=True
    )
    assert installed.returncode == 0, installed.stderr
    return pathlib.Path(installed.stdout.strip().splitlines()[-1].split(" is in ", 1)[1])
