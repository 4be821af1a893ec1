"""Every layer of a fork against its numpy definition: values, and numeric gradients."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from parity import case_files

from forks import depthwise, faces, fast_rcnn, segmentation, ssd  # noqa: F401 register definitions
from forks.definition import DEFINITIONS, numeric

TOLERANCE = 1e-4
"""Of the largest magnitude of the blob."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{name of the definition: {name: array}}, of one process with forks on."""
    folder = tmp_path_factory.mktemp("forks")
    case_files.write(folder, [each.case for each in DEFINITIONS.values()], 1)
    output = folder / "output"
    output.mkdir()
    script = REPOSITORY / "tests" / "parity" / "run_cases.py"
    done = subprocess.run(
        [sys.executable, "-m", "torchcaffe", script, folder, output],
        env={**os.environ, "TORCHCAFFE_FORKS": "1", "PYTHONPATH": str(REPOSITORY / "python")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {}
    for number, name in enumerate(DEFINITIONS):
        with np.load(output / f"{number}.npz") as arrays:
            found[name] = dict(arrays)
    return found


@pytest.mark.parametrize("name", DEFINITIONS)
def test_layer(results, name):
    definition, got = DEFINITIONS[name], results[name]
    case = definition.case
    inputs = [np.asarray(array, np.float64) for array in case.inputs.values()]
    params = [np.asarray(array, np.float64) for array in case.params.values()]
    expected = definition.tops(inputs, params)
    for top, values in zip(case.diffs, expected):
        close(got[f"pass 0: data of {top}"], values, top)
    if not definition.gradients:
        return
    diffs = list(case.diffs.values())
    arrays = inputs + params

    def tops(moved):
        return definition.tops(moved[: len(inputs)], moved[len(inputs) :])

    for place, blob in enumerate(case.inputs):
        if blob not in case.without_gradient:
            gradient = numeric(tops, arrays, place, diffs)
            close(got[f"pass 0: diff of {blob}"], gradient, f"gradient of {blob}")
    learned = definition.learned or (True,) * len(params)
    for place, how in enumerate(learned):
        if not how:
            continue
        gradient = (
            numeric(tops, arrays, len(inputs) + place, diffs)
            if how is True
            else how(inputs, params)
        )
        close(got[f"pass 0: diff of param {place} of layer"], gradient, f"gradient of {place}")


def test_every_layer_type_has_a_definition():
    types = {
        name
        for file in (REPOSITORY / "python" / "torchcaffe" / "forks").glob("*.py")
        for line in re.findall(r"^@layer\((.*)\)$", file.read_text(), re.MULTILINE)
        for name in re.findall(r'"(\w+)"', line)
    }
    defined = {re.search(r'type: "(\w+)"', each.case.net)[1] for each in DEFINITIONS.values()}
    assert len(types) == 15 and types | {"Pooling"} == defined


def close(got, expected, what):
    expected = np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: {got.shape}, expected {expected.shape}"
    difference = np.abs(got - expected).max(initial=0)
    largest = np.abs(expected).max(initial=0)
    assert difference <= TOLERANCE * largest + 1e-12, (
        f"{what}: differs by {difference:g} of {largest:g}\n{got}\n{expected}"
    )
