"""Every layer type, forward and backward, in torchcaffe and in BVLC Caffe.

The seed is printed with a failure; TEST_SEED=n repeats it. PARITY_TYPES=ReLU,LRN runs only these.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY

import parity.cases  # noqa: F401 registers the cases
from parity.case import CASES, Chance

SEED = int(os.environ["TEST_SEED"])
TYPES = [name for name in os.environ.get("PARITY_TYPES", "").split(",") if name] or sorted(CASES)
TOLERANCE = 1e-4
"""Of the largest magnitude of the blob."""

RUNNER = REPOSITORY / "tests" / "parity" / "run_cases.py"


def all_cases():
    for layer_type in TYPES:
        function, count = CASES[layer_type]
        for number in range(count):
            yield function(Chance(f"{SEED} {layer_type} {number}"), number)


def write_cases(folder, cases):
    described = []
    for number, case in enumerate(cases):
        arrays = {}
        inputs = ""
        for name, value in case.inputs.items():
            if isinstance(value, np.ndarray):
                arrays[f"input {name}"] = value.astype(np.float32)
            shape = np.shape(value) if isinstance(value, np.ndarray) else value
            dims = " ".join(f"dim: {size}" for size in shape)
            inputs += f'layer {{ name: "{name}"  type: "Input"  top: "{name}"  input_param {{ shape {{ {dims} }} }} }}\n'
        for (layer, place), value in case.params.items():
            arrays[f"param {layer} {place}"] = np.asarray(value, np.float32)
        for name, value in case.diffs.items():
            arrays[f"diff {name}"] = np.asarray(value, np.float32)
        arrays.update(zip(("memory data", "memory labels"), case.memory))
        net = folder / f"{number}.prototxt"
        force = "force_backward: true\n" if case.backward and case.force_backward else ""
        net.write_text(f"{force}{inputs}{case.net}\n")
        np.savez(folder / f"{number}.npz", **arrays)
        described.append(
            {
                "net": str(net), "phase": case.phase, "loss": case.loss, "backward": case.backward,
                "without_gradient": case.without_gradient, "passes": case.passes,
                "reshape": case.reshape, "seed": SEED % 2**31 + number,
                "random_seed": case.random_seed,
            }  # fmt: skip
        )
    (folder / "cases.json").write_text(json.dumps(described))


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
    cases = list(all_cases())
    write_cases(folder, cases)
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
