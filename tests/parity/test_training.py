"""The project's six models and three nets from other papers train alike in both engines.

Both start from the same weights and read the same LMDBs, with what draws random numbers left out:
dropout is in the test phase, and images have the size that random crops would cut out.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from parity.engines import environment

from data_prep.pairs import write_pairs
from torchcaffe.schema import caffe_pb2

MODELS = ("cnn", "mlcnn", "s0r0", "s1r0", "s0r1", "s1r1")
OTHERS = ("lenet", "inception", "residual")
ITERATIONS, FIRST = 100, 10
"""Over the first 10 the losses must agree within 1e-4, over all 100 within 1 %."""
BATCH, RECORDS = 4, 28

OTHERS_SOLVER = """net: "{net}.prototxt"  type: "Nesterov"  base_lr: 0.01  momentum: 0.9
weight_decay: 0.0005  lr_policy: "step"  gamma: 0.5  stepsize: 40  max_iter: 1000
test_iter: 2  test_interval: 1000  test_initialization: false  solver_mode: CPU  random_seed: 1
"""


def write_models(folder):
    """prototxt/ of the project with batches of BATCH, dropout off and its LMDBs of 64x64 noise."""
    (folder / "prototxt").mkdir()
    (folder / "runs").mkdir()
    for path in (REPOSITORY / "prototxt").glob("*.prototxt"):
        text = path.read_text()
        for old, new in (
            ("batch_size: 64", f"batch_size: {BATCH}"),
            ("dropout_param { dropout_ratio: 0.5 }", "phase: TEST"),
            ("random_seed: 1", "random_seed: 1  solver_mode: CPU"),
        ):
            text = text.replace(old, new)
        (folder / "prototxt" / path.name).write_text(text)
    random = np.random.default_rng(0)
    faces = random.normal(128, 20, (8, 64, 64))
    (folder / "data" / "lmdb").mkdir(parents=True)
    for part in ("train", "test"):
        records = []
        for number in range(RECORDS):
            own = random.normal(0, 25, (64, 64))
            pair = np.stack([own + faces[number % 7], own + faces[6]])
            records.append((np.clip(pair, 0, 255).astype(np.uint8), number % 7))
        write_pairs(folder / "data" / "lmdb" / part, records)


def write_others(folder):
    for net in OTHERS:
        text = (REPOSITORY / "tests" / "parity" / "nets" / f"{net}.prototxt").read_text()
        (folder / f"{net}.prototxt").write_text(text)
        (folder / f"solver_{net}.prototxt").write_text(OTHERS_SOLVER.format(net=net))
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:28, :28]
    digits = []
    for number in range(80):
        # Waves of a direction for each class: seen by averages over the image, too.
        angle = np.pi * (number % 10) / 10
        waves = np.sin(1.3 * (np.cos(angle) * rows + np.sin(angle) * columns))
        pixels = 128 + 60 * waves + random.normal(0, 15, (28, 28))
        digits.append((np.clip(pixels, 0, 255).astype(np.uint8)[None], number % 10))
    write_pairs(folder / "digits", digits)


@pytest.fixture(scope="module")
def curves(bvlc, tmp_path_factory):
    """{net: (torchcaffe's results, BVLC Caffe's)}, as run_training.py leaves them."""
    folder = tmp_path_factory.mktemp("training")
    write_models(folder)
    write_others(folder)
    processes = []
    pythons = {"bvlc": [bvlc / "bin" / "python3"], "torch": [sys.executable, "-m", "torchcaffe"]}
    for engine, python in pythons.items():
        jobs = [
            {
                "solver": f"prototxt/solver_{net}.prototxt" if net in MODELS else f"solver_{net}.prototxt",
                "weights": f"{net}.caffemodel", "iterations": ITERATIONS, "test_iterations": 2,
                "result": f"{engine}_{net}.npz",
            }
            for net in (*MODELS, *OTHERS)
        ]  # fmt: skip
        (folder / f"{engine}.json").write_text(json.dumps(jobs))
        script = REPOSITORY / "tests" / "parity" / "run_training.py"
        done = subprocess.run(
            [*python, script, f"{engine}.json"],
            cwd=folder, env=environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{engine}: {done.stderr[-3000:]}"
        processes.append(done)
    found = {}
    for net in (*MODELS, *OTHERS):
        pair = []
        for engine in ("torch", "bvlc"):
            with np.load(folder / f"{engine}_{net}.npz") as arrays:
                pair.append(dict(arrays))
        found[net] = pair
    return found


@pytest.mark.parametrize("net", [*MODELS, *OTHERS])
def test_losses_agree(curves, net):
    ours, theirs = curves[net]
    assert ours.keys() == theirs.keys()
    losses = [name for name in theirs if name.startswith("curve")]
    assert losses
    for name in losses:
        difference = np.abs(ours[name] - theirs[name])
        largest = np.abs(theirs[name]).max()
        assert np.isfinite(theirs[name]).all()
        assert difference[:FIRST].max() <= 1e-4 * largest, (name, difference[:FIRST])
        assert difference.max() <= 0.01 * largest, (name, difference)


@pytest.mark.parametrize("net", [*MODELS, *OTHERS])
def test_the_nets_learn(curves, net):
    """Curves that agree since nothing moves would prove nothing."""
    ours, _ = curves[net]
    name = max((n for n in ours if n.startswith("curve loss")), key=lambda n: "classification" in n)
    assert ours[name][-10:].mean() < 0.8 * ours[name][:5].mean()


@pytest.mark.parametrize("net", [*MODELS, *OTHERS])
def test_scores_of_the_test_net_agree(curves, net):
    ours, theirs = curves[net]
    for name in (name for name in theirs if name.startswith("test")):
        difference = np.abs(ours[name] - theirs[name]).max()
        assert difference <= 0.02 * max(np.abs(theirs[name]).max(), 1), name
