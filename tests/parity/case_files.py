"""Random cases of all layer types, and the files from which run_cases.py runs them."""

import json

import numpy as np

import parity.cases  # noqa: F401 registers the cases
from parity.case import CASES, Chance

TOLERANCE = 1e-4
"""Of the largest magnitude of the blob."""


def random_cases(seed, types):
    """Yield (layer type, its how-manieth case, Case) for each of the types in their order."""
    for layer_type in types:
        function, count = CASES[layer_type]
        for place in range(count):
            yield layer_type, place, function(Chance(f"{seed} {layer_type} {place}"), place)


def described(case, seed):
    """What run_cases.py needs: (the net as text, {name: array}, all else as a dict for JSON).

    `seed`, an int from 0 to below 2^32, is for what the case does not give.
    """
    arrays = {}
    inputs = ""
    for name, value in case.inputs.items():
        if isinstance(value, np.ndarray):
            arrays[f"input {name}"] = value.astype(np.float32)
        shape = np.shape(value) if isinstance(value, np.ndarray) else value
        dims = " ".join(f"dim: {size}" for size in shape)
        inputs += (
            f'layer {{ name: "{name}"  type: "Input"  top: "{name}"  '
            f"input_param {{ shape {{ {dims} }} }} }}\n"
        )
    for (layer, place), value in case.params.items():
        arrays[f"param {layer} {place}"] = np.asarray(value, np.float32)
    for name, value in case.diffs.items():
        arrays[f"diff {name}"] = np.asarray(value, np.float32)
    arrays.update(zip(("memory data", "memory labels"), case.memory))
    force = "force_backward: true\n" if case.backward and case.force_backward else ""
    given = ("phase", "loss", "backward", "without_gradient", "passes", "reshape", "random_seed")
    rest = {name: getattr(case, name) for name in given}
    return f"{force}{inputs}{case.net}\n", arrays, {**rest, "seed": seed}


def write(folder, cases, seed):
    """Write Cases into a folder as run_cases.py reads them, the one at place n with seed + n."""
    descriptions = []
    for number, case in enumerate(cases):
        net, arrays, description = described(case, seed % 2**31 + number)
        path = folder / f"{number}.prototxt"
        path.write_text(net)
        np.savez(folder / f"{number}.npz", **arrays)
        descriptions.append({"net": str(path), **description})
    (folder / "cases.json").write_text(json.dumps(descriptions))
