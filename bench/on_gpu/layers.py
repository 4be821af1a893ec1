"""Every layer type's parity cases: torchcaffe on the GPU next to torchcaffe on the CPU.

The cases are those that the tests run next to BVLC Caffe (tests/parity/cases). An item is a case.
"""

import dataclasses
import zlib

import numpy as np
from parity import case_files
from parity.case import CASES

SEED = 1


def items(rehearsal, seed=SEED, types=None):
    """All cases of the types (None: all types); in a rehearsal one of each."""
    return [
        {"type": layer_type, "case": case, "seed": seed}
        for layer_type in types or sorted(CASES)
        for case in range(1 if rehearsal else CASES[layer_type][1])
    ]


def work(item, place):
    """Yields one result: the greatest difference, as a share of the blob's largest magnitude."""
    from parity import run_cases

    layer_type, number = item["type"], item["case"]
    cases = case_files.random_cases(item["seed"], [layer_type])
    try:
        case = next(case for _, found, case in cases if found == number)
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        yield {"left out": "its pictures need OpenCV, which is not here"}
        return
    seed = zlib.crc32(f"{item['seed']} {layer_type} {number}".encode())
    net, arrays, described = case_files.described(case, seed)
    (place.folder / "net.prototxt").write_text(net)
    described["net"] = "net.prototxt"
    reproduction = {"net": net, "seed": seed, "passes": case.passes, "phase": case.phase}
    place.compute_on_cpu()
    expected = run_cases.run(described, arrays)
    place.compute_here()
    try:
        got = run_cases.run(described, arrays)
    except Exception as error:
        from on_gpu.worker import failure

        yield {"failure": failure(error), **reproduction}
        return
    worst = max(
        (difference(name, got[name], expected[name]) for name in expected),
        key=lambda found: found.share, default=Difference("nothing", 0.0),
    )  # fmt: skip
    result = dataclasses.asdict(worst)
    if worst.share > case_files.TOLERANCE:
        result |= {"failure": f"{worst.name} is off by {worst.share:.2g}", **reproduction}
    yield result


@dataclasses.dataclass(frozen=True)
class Difference:
    """Of one array: its name, and the greatest difference over its largest magnitude."""

    name: str
    share: float


def difference(name, got, expected):
    """The Difference of an array; infinite where shapes or what is finite do not agree."""
    if got.shape != expected.shape:
        return Difference(f"{name}: {got.shape}, {expected.shape}", float("inf"))
    finite = np.isfinite(expected)
    if not np.array_equal(np.isfinite(got), finite):
        return Difference(f"{name}: not finite elsewhere", float("inf"))
    greatest = np.abs(got[finite] - expected[finite]).max(initial=0)
    largest = np.abs(expected[finite]).max(initial=0)
    share = 0.0 if greatest == 0 else float(greatest / largest) if largest else float("inf")
    return Difference(name, share)
