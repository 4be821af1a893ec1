"""Every solver type with every learning rate policy and regularization, next to BVLC Caffe."""

import itertools

import numpy as np
import pytest

from parity.engines import TYPES, assert_close, make_folder, run_jobs, write_solver
from torchcaffe.schema import read
from torchcaffe.solver import make

POLICIES = {
    "fixed": "",
    "step": "gamma: 0.6  stepsize: 13",
    "exp": "gamma: 0.97",
    "inv": "gamma: 0.05  power: 0.75",
    "multistep": "gamma: 0.5  stepvalue: 10  stepvalue: 11  stepvalue: 30",
    "poly": "power: 1.5",
    "sigmoid": "gamma: 0.2  stepsize: 25",
}

REGULARIZATIONS = {"L1": "weight_decay: 0.002", "L2": "weight_decay: 0.02"}

OTHERS = {
    "clipped": "clip_gradients: 0.3",
    "never clipped": "clip_gradients: 1000",
    "accumulated": "iter_size: 3",
    "accumulated and clipped": "iter_size: 2  clip_gradients: 0.5  weight_decay: 0.01",
    "averaged loss": "average_loss: 5",
    "tested": "test_iter: 2  test_interval: 10  test_compute_loss: true",
}

GRID = [
    (solver_type, f'lr_policy: "{policy}"  {POLICIES[policy]}  regularization_type: "{kind}"  {decay}')
    for solver_type, policy, (kind, decay) in itertools.product(
        TYPES, POLICIES, REGULARIZATIONS.items()
    )
] + [(solver_type, fields) for solver_type in ("SGD", "Adam") for fields in OTHERS.values()]

NAMES = [
    f"{solver_type}-{policy}-{kind}"
    for solver_type, policy, kind in itertools.product(TYPES, POLICIES, REGULARIZATIONS)
] + [f"{solver_type}-{name}" for solver_type in ("SGD", "Adam") for name in OTHERS]


@pytest.fixture(scope="module")
def outcomes(bvlc, tmp_path_factory):
    """[(torchcaffe's arrays, BVLC Caffe's)] of the grid."""
    folder = tmp_path_factory.mktemp("solvers")
    make_folder(folder)
    first = write_solver(folder, "first", "SGD")
    run_jobs("BVLC Caffe", bvlc, folder, [{"solver": first, "save": "first.caffemodel", "steps": []}])
    jobs = [
        {
            "solver": write_solver(folder, str(number), solver_type, fields),
            "weights": "first.caffemodel",
            "steps": [50],
        }
        for number, (solver_type, fields) in enumerate(GRID)
    ]
    return list(
        zip(*(run_jobs(engine, bvlc, folder, jobs) for engine in ("torchcaffe", "BVLC Caffe")))
    )


@pytest.mark.parametrize("number", range(len(GRID)), ids=NAMES)
def test_fifty_iterations(outcomes, number):
    ours, theirs = outcomes[number]
    assert_close(ours, theirs, f"{GRID[number]}:")


def test_the_grid_trains(outcomes):
    """Runs that stand still, or all go the same way, would prove nothing."""
    results = [theirs["param 0 of ip1"] for _, theirs in outcomes]
    distinct = {array.tobytes() for array in results[: len(TYPES) * 14]}
    assert len(distinct) == len(TYPES) * 14
    assert all(np.abs(theirs["diff of param 0 of ip1"]).max() > 0 for _, theirs in outcomes)


def test_parameters_change_in_place_and_test_nets_follow(tmp_path, monkeypatch):
    """Who holds a parameter's memory sees the training; so do test nets between their tests."""
    make_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    name = write_solver(tmp_path, "shared", "Adam", "test_iter: 1  test_interval: 100")
    solver = make(read.solver(name))
    blob = next(layer for layer in solver.net.layers if layer.name == "ip1").params[0]
    other = next(layer for layer in solver.test_nets[0].layers if layer.name == "ip1").params[0]
    view = blob.pin_data().numpy()
    before = view.copy()
    solver.step(3)
    assert not np.array_equal(view, before)
    assert np.array_equal(view, blob.data.numpy()) and np.array_equal(view, other.data.numpy())
