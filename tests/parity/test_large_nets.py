"""Nets at large: values and gradients of both engines from the same random weights.

Some of them, in half a minute; LARGE_NETS=all (`make test-nets`) runs all, in some minutes and 2 GB of
temporary disk, and writes the table of docs/torchcaffe.md as runs/nets.md.

A ReLU or a max pooling chooses, and a choice within rounding of another gives other gradients in
BVLC Caffe, too, from weights one rounding unit off. Such a net is run again with ELU and mean
pooling in their place, where nothing chooses: there gradients must agree.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from parity.engines import environment
from parity.large.definitions import DEFINITIONS

SOME = (
    "SqueezeNet 1.1", "MobileNet v2", "Siamese LeNet", "MTCNN's P-Net", "MTCNN's R-Net",
    "MTCNN's O-Net",
)  # fmt: skip
NETS = tuple(DEFINITIONS) if os.environ.get("LARGE_NETS") == "all" else SOME
SCRIPT = REPOSITORY / "tests" / "parity" / "run_large_net.py"

TOLERANCE = 1e-4
"""Of the largest magnitude, or TIMES what BVLC Caffe is off by itself, which is more in deep nets. BVLC
Caffe itself adds up in the same order again, and so differs less than another engine."""
TIMES = 20

HEAD = """\
| net | parameters | values | BVLC's own | gradients | BVLC's own | without choices | BVLC's own |
|---|---|---|---|---|---|---|---|
"""


def measured(bvlc, folder, text, classes):
    """(torchcaffe's differences, BVLC Caffe's from itself), as run_large_net.py prints them."""
    path, arrays = folder / "net.prototxt", folder / "arrays"
    path.write_text(text)

    def run(*command):
        done = subprocess.run(
            list(map(str, command)),
            env=environment(OPENBLAS_NUM_THREADS="2", OMP_NUM_THREADS="2"),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    try:
        own = run(bvlc / "bin" / "python3", SCRIPT, path, classes, arrays, "moved")
        return run(sys.executable, "-m", "torchcaffe", SCRIPT, path, classes, arrays), own
    finally:
        shutil.rmtree(arrays, ignore_errors=True)


@pytest.fixture(scope="module")
def rows():
    """Takes the table's rows; writes them at the end if they are all nets'."""
    found = []
    yield found
    if len(found) == len(DEFINITIONS):
        table = REPOSITORY / "runs" / "nets.md"
        table.write_text(HEAD + "".join(found))
        print(f"\n{table.read_text()}\nwritten to {table}")


@pytest.mark.parametrize("name", NETS)
def test_net_is_the_same_in_both_engines(bvlc, tmp_path, rows, name):
    definition = DEFINITIONS[name]
    text = str(definition.make().to_proto())
    ours, own = measured(bvlc, tmp_path, text, definition.classes)
    assert ours["differ"] == [] and own["differ"] == []
    count = ours["parameters"]
    assert count == own["parameters"] == (definition.parameters or count)
    assert_close("values", ours, own)
    cells = [ours["values"], own["values"], ours["gradients"], own["gradients"]]
    if ours["gradients"][0] > TOLERANCE:
        smooth = text.replace('type: "ReLU"', 'type: "ELU"').replace("pool: MAX", "pool: AVE")
        assert smooth != text, f"gradients differ, and the net does not choose: {ours}"
        ours, own = measured(bvlc, tmp_path, smooth, definition.classes)
        assert ours["differ"] == []
        assert_close("values", ours, own)
        assert_close("gradients", ours, own)
        cells += [ours["gradients"], own["gradients"]]
    numbers = [f"{worst:.0e}" for worst, _ in cells] + ["", ""]
    rows.append(f"| {name} | {count:,} | {' | '.join(numbers[:6])} |\n")


def assert_close(what, ours, own):
    allowed = max(TOLERANCE, TIMES * own[what][0])
    assert ours[what][0] <= allowed, f"{what} differ: {ours}; BVLC Caffe by itself: {own}"
