"""Every layer type, forward and backward, in torchcaffe and in BVLC Caffe.

The seed is printed with a failure; TEST_SEED=n repeats it. PARITY_TYPES=ReLU,LRN runs only these.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY

from parity import case_files
from parity.case import CASES
from parity.case_files import TOLERANCE

SEED = int(os.environ["TEST_SEED"])
TYPES = [name for name in os.environ.get("PARITY_TYPES", "").split(",") if name] or sorted(CASES)
RUNNER = REPOSITORY / "tests" / "parity" / "run_cases.py"


def run(command, folder, output, environment):
    output.mkdir()
    return subprocess.run(
        [*map(str, command), RUNNER, folder, output],
        cwd=folder,
        env={**os.environ, "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def outcomes(bvlc, tmp_path_factory):
    """(cases, folder of cases, {engine: (folder of results, its messages)})"""
    print("seed", SEED)
    folder = tmp_path_factory.mktemp("parity")
    cases = [case for _, _, case in case_files.random_cases(SEED, TYPES)]
    case_files.write(folder, cases, SEED)
    paths = {"PYTHONPATH": f"{REPOSITORY / 'python'}{os.pathsep}{REPOSITORY / 'tests' / 'parity'}"}
    engines = {
        "BVLC Caffe": [bvlc / "bin" / "python3"],
        "torchcaffe": [sys.executable, "-m", "torchcaffe"],
    }
    results = {}
    for engine, command in engines.items():
        output = folder / engine.replace(" ", "_")
        results[engine] = output, run(command, folder, output, paths).stderr[-3000:]
    return cases, folder, results


def numbered():
    number = 0
    for layer_type in TYPES:
        for place in range(CASES[layer_type][1]):
            yield pytest.param(number, id=f"{layer_type}-{place}")
            number += 1


@pytest.mark.parametrize("number", list(numbered()))
def test_layer(outcomes, number):
    cases, folder, results = outcomes
    where = f"seed {SEED}, case:\n{(folder / f'{number}.prototxt').read_text()}"
    loaded = []
    for engine, (output, messages) in results.items():
        path = output / f"{number}.npz"
        assert path.exists(), f"{engine} ended before this case ({where})\n{messages}"
        with np.load(path) as arrays:
            loaded.append(dict(arrays))
    theirs, ours = loaded
    assert ours.keys() == theirs.keys(), where
    for name, expected in theirs.items():
        got = ours[name]
        assert got.shape == expected.shape, f"{name}: {got.shape}, {expected.shape} ({where})"
        assert np.array_equal(np.isfinite(got), np.isfinite(expected)), f"{name} ({where})"
        finite = np.isfinite(expected)
        difference = np.abs(got[finite] - expected[finite]).max(initial=0)
        largest = np.abs(expected[finite]).max(initial=0)
        assert difference <= TOLERANCE * largest, (
            f"{name}: differs by {difference:g} of {largest:g} ({where})\n{got}\n{expected}"
        )


def test_every_layer_type_has_cases():
    from torchcaffe.layers import LAYERS

    assert set(CASES) == set(LAYERS)
    assert sum(count for _, count in CASES.values()) >= 400
