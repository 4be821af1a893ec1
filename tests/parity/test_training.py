"""The project's six models and three nets from other papers train alike in both engines.

Both start from the same weights and read the same LMDBs, with what draws random numbers left out:
dropout is in the test phase, and images have the size that random crops would cut out.

Training magnifies rounding. Where the two greatest values of a pooling window are within rounding
of each other, engines may take different places. In the GCNets an unpooling then puts a decoder's
value elsewhere, and at the solvers' rate of 0.001 a change of the starting weights by one float32
rounding unit moves BVLC Caffe's own losses by tens of percent within 10 iterations: no two correct
engines agree there. So the models train at a hundredth of their rate, and on white noise, whose
neighbouring pixels differ most. What is left of the effect is measured: BVLC Caffe trains the
GCNets again from weights that are each moved by one rounding unit, and its losses are then off by
its own spread.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from parity.engines import environment

from data_prep.pairs import write_pairs

GCNETS = ("s0r0", "s1r0", "s0r1", "s1r1")
MODELS = ("cnn", "mlcnn", *GCNETS)
OTHERS = {"lenet": 0.01, "inception": 0.05, "residual": 0.01}
"""{net: base_lr}"""
NETS = (*MODELS, *OTHERS)

ITERATIONS, FIRST = 100, 10
"""Over the first 10 the losses must agree within 1e-4 of the largest, over all 100 within 1 %."""

SPREADS = 10
"""The GCNets' losses may instead differ by this many times BVLC Caffe's own spread."""

PERTURBED = {1: ITERATIONS, 2: FIRST, 3: FIRST, 4: FIRST}
"""{seed: iterations} of BVLC Caffe's perturbed trainings."""

BASE_LR = 1e-5
BATCH, RECORDS = 2, 28
DATA_SEED = 25
"""With half of 16 seeds tried such a window is in the very first batch of S1R1 already, and losses
differ by 1e-5 to 3e-3 there. With this one none is in the first five."""

OTHERS_SOLVER = """net: "{net}.prototxt"  type: "Nesterov"  base_lr: {rate}  momentum: 0.9
weight_decay: 0.0005  lr_policy: "step"  gamma: 0.5  stepsize: 40  max_iter: 1000
test_iter: 2  test_interval: 1000  test_initialization: false  solver_mode: CPU  random_seed: 1
"""


def write_models(folder):
    """prototxt/ of the project with small batches and rate, dropout off and its LMDBs of noise."""
    (folder / "prototxt").mkdir()
    (folder / "runs").mkdir()
    for path in (REPOSITORY / "prototxt").glob("*.prototxt"):
        text = path.read_text()
        for old, new in (
            ("batch_size: 64", f"batch_size: {BATCH}"),
            ("dropout_param { dropout_ratio: 0.5 }", "phase: TEST"),
            ("random_seed: 1", "random_seed: 1  solver_mode: CPU"),
            ("base_lr: 0.001", f"base_lr: {BASE_LR}"),
        ):
            text = text.replace(old, new)
        (folder / "prototxt" / path.name).write_text(text)
    random = np.random.default_rng(DATA_SEED)
    faces = random.normal(128, 30, (8, 64, 64))
    (folder / "data" / "lmdb").mkdir(parents=True)
    for part in ("train", "test"):
        records = []
        for number in range(RECORDS):
            own = random.normal(0, 25, (64, 64))
            pair = np.stack([own + faces[number % 7], own + faces[7]])
            records.append((np.clip(pair, 0, 255).astype(np.uint8), number % 7))
        write_pairs(folder / "data" / "lmdb" / part, records)


def write_others(folder):
    for net, rate in OTHERS.items():
        text = (REPOSITORY / "tests" / "parity" / "nets" / f"{net}.prototxt").read_text()
        (folder / f"{net}.prototxt").write_text(text)
        (folder / f"solver_{net}.prototxt").write_text(OTHERS_SOLVER.format(net=net, rate=rate))
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


def job(net, result, iterations, **more):
    folder, batches = ("prototxt/", RECORDS // BATCH) if net in MODELS else ("", 2)
    return {
        "solver": f"{folder}solver_{net}.prototxt", "weights": f"{net}.caffemodel",
        "iterations": iterations, "test_iterations": batches, "result": result, **more,
    }  # fmt: skip


def start(python, folder, name, jobs):
    """A process that does the jobs, with its standard error in NAME.log."""
    (folder / f"{name}.json").write_text(json.dumps(jobs))
    script = REPOSITORY / "tests" / "parity" / "run_training.py"
    with open(folder / f"{name}.log", "w") as log:
        return subprocess.Popen(
            [*python, script, f"{name}.json"], cwd=folder, env=environment(), stderr=log
        )


def finish(folder, processes):
    """Wait for {name: process}; if one fails the others end, too."""
    try:
        for name, process in processes.items():
            status = process.wait()
            assert status == 0, f"{name}: {(folder / f'{name}.log').read_text()[-3000:]}"
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def results(bvlc, tmp_path_factory):
    """{net: (torchcaffe's results, BVLC Caffe's, [BVLC Caffe's perturbed])} of run_training.py."""
    folder = tmp_path_factory.mktemp("training")
    write_models(folder)
    write_others(folder)
    theirs, ours = [bvlc / "bin" / "python3"], [sys.executable, "-m", "torchcaffe"]
    # The weights that all start from.
    first = {"first": start(theirs, folder, "first", [job(net, "first.npz", 0) for net in NETS])}
    finish(folder, first)
    perturbed = [
        job(net, f"perturbed{seed}_{net}.npz", iterations, perturbed_by=seed)
        for net in GCNETS
        for seed, iterations in PERTURBED.items()
    ]
    plain = {
        name: [job(net, f"{name}_{net}.npz", ITERATIONS) for net in NETS]
        for name in ("torch", "bvlc")
    }
    processes = {
        "bvlc": start(theirs, folder, "bvlc", plain["bvlc"]),
        "perturbed": start(theirs, folder, "perturbed", perturbed),
        "torch": start(ours, folder, "torch", plain["torch"]),
    }
    finish(folder, processes)

    def load(name, net):
        with np.load(folder / f"{name}_{net}.npz") as arrays:
            return dict(arrays)

    return {
        net: (
            load("torch", net),
            load("bvlc", net),
            [load(f"perturbed{seed}", net) for seed in PERTURBED] if net in GCNETS else [],
        )
        for net in NETS
    }


def spread(expected, perturbed):
    """At each iteration the largest difference until then of any perturbed training's loss."""
    largest = np.zeros_like(expected)
    for curve in perturbed:
        part = slice(len(curve))
        largest[part] = np.maximum(largest[part], np.abs(curve - expected[part]))
    return np.maximum.accumulate(largest)


@pytest.mark.parametrize("net", NETS)
def test_losses_agree(results, net):
    """Prints how far, and for the GCNets BVLC Caffe's spread: `pytest -s`."""
    ours, theirs, perturbed = results[net]
    assert ours.keys() == theirs.keys()
    losses = [name for name in theirs if name.startswith("curve loss")]
    assert losses
    wrong = []
    for name in losses:
        largest = np.abs(theirs[name]).max()
        assert np.isfinite(theirs[name]).all() and largest > 0
        difference = np.abs(ours[name] - theirs[name]) / largest
        own = spread(theirs[name], [run[name] for run in perturbed]) / largest
        said = f"{net} {name}: iteration 0 {difference[0]:.1e}, 1 {difference[1]:.1e}"
        good = difference[0] <= 1e-5 and difference[1] <= 1e-4
        for count, tolerance in ((FIRST, 1e-4), (ITERATIONS, 0.01)):
            part = slice(count)
            within = difference[part].max() <= tolerance
            said += f"; first {count} {difference[part].max():.1e}"
            if perturbed:
                said += f", BVLC Caffe's spread {own[count - 1]:.1e}"
            said += f" (by {tolerance:g})" if within else f" (by {SPREADS} spreads)"
            # Not iteration by iteration: it is chance when the first such window comes.
            allowed = max(SPREADS * own[count - 1], tolerance)
            good = good and difference[part].max() <= allowed
        print(said)
        if not good:
            wrong.append(said)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("net", NETS)
def test_the_nets_learn(results, net):
    """Curves that agree since nothing moves would prove nothing."""
    ours, *_ = results[net]
    falling = [name for name in ours if name.startswith("curve loss") and "contrast" not in name]
    assert falling
    for name in falling:
        before, after = ours[name][:14].mean(), ours[name][-14:].mean()
        print(f"{net} {name}: {before:.3g} to {after:.3g}")
        assert after < 0.9 * before, name


@pytest.mark.parametrize("net", NETS)
def test_scores_of_the_test_net_agree(results, net):
    """Means over the test images, after 100 iterations; the GCNets' as their losses."""
    ours, theirs, perturbed = results[net]
    for name in (name for name in theirs if name.startswith("test")):
        difference = abs(ours[name].mean() - theirs[name].mean())
        own = abs(perturbed[0][name].mean() - theirs[name].mean()) if perturbed else 0
        print(f"{net} {name}: {theirs[name].mean():.4g}, {difference:.1e} off, spread {own:.1e}")
        one_image = 1 / RECORDS if perturbed and "accuracy" in name else 0
        allowed = max(0.01 * abs(theirs[name].mean()), SPREADS * own, 1.01 * one_image)
        assert difference <= allowed, name
