"""Every solver type with every learning rate policy and regularization, next to BVLC Caffe."""

import itertools

import numpy as np
import pytest
from google.protobuf import text_format

from parity.engines import ENGINES, TYPES, assert_close, make_folder, run_jobs, write_solver
from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2, read
from torchcaffe.solver import Solver, updates

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

GRID = {}
"""{name: (type of solver, fields of its prototxt)}"""

for solver_type, policy, kind in itertools.product(TYPES, POLICIES, REGULARIZATIONS):
    GRID[f"{solver_type}-{policy}-{kind}"] = (
        solver_type,
        f'lr_policy: "{policy}"  {POLICIES[policy]}  '
        f'regularization_type: "{kind}"  {REGULARIZATIONS[kind]}',
    )
for solver_type, (name, fields) in itertools.product(("SGD", "Adam"), OTHERS.items()):
    GRID[f"{solver_type}-{name}"] = solver_type, fields


@pytest.fixture(scope="module")
def outcomes(bvlc, tmp_path_factory):
    """{name in the grid: (torchcaffe's arrays, BVLC Caffe's)}"""
    folder = tmp_path_factory.mktemp("solvers")
    make_folder(folder)
    first = write_solver(folder, "first", "SGD")
    job = {"solver": first, "save": "first.caffemodel", "steps": []}
    run_jobs("BVLC Caffe", bvlc, folder, [job])
    jobs = [
        {
            "solver": write_solver(folder, str(number), solver_type, fields),
            "weights": "first.caffemodel",
            "steps": [50],
        }
        for number, (solver_type, fields) in enumerate(GRID.values())
    ]
    ours, theirs = (run_jobs(engine, bvlc, folder, jobs) for engine in ENGINES)
    return dict(zip(GRID, zip(ours, theirs)))


@pytest.mark.parametrize("name", GRID)
def test_fifty_iterations(outcomes, name):
    ours, theirs = outcomes[name]
    assert_close(ours, theirs, f"{GRID[name]}:")


def test_the_grid_trains(outcomes):
    """Runs that stand still, or all go the same way, would prove nothing."""
    combinations = len(TYPES) * len(POLICIES) * len(REGULARIZATIONS)
    assert combinations == 84
    results = [theirs["param 0 of ip1"].tobytes() for _, theirs in outcomes.values()]
    assert len(set(results[:combinations])) == combinations
    assert all(np.abs(ours["diff of param 0 of ip1"]).max() > 0 for ours, _ in outcomes.values())


BY_HAND = {
    "every rate": ("SGD", 'lr_policy: "step"  gamma: 0.5  stepsize: 2', ["by hand"] * 7),
    "between steps": (
        "Nesterov",
        'lr_policy: "multistep"  gamma: 0.5  stepvalue: 3  stepvalue: 4  weight_decay: 0.01',
        ["by hand", "by hand", 3, "by hand", "snapshot", "by hand", 2],
    ),
}
"""{what is seen: (type of solver, fields of its prototxt, steps)}"""

for solver_type in TYPES:
    BY_HAND[solver_type] = (
        solver_type,
        'lr_policy: "exp"  gamma: 0.8  iter_size: 2  clip_gradients: 0.5  weight_decay: 0.01',
        ["by hand"] * 4 + ["snapshot", 2, "by hand"],
    )


@pytest.fixture(scope="module")
def by_hand(bvlc, tmp_path_factory):
    """{engine: (results of BY_HAND, of the types gone on with, {type: history in iteration 4})}

    As in a training loop of one's own: forward, backward, apply_update.
    """
    folder = tmp_path_factory.mktemp("by_hand")
    make_folder(folder)
    first = write_solver(folder, "first", "SGD")
    job = {"solver": first, "save": "first.caffemodel", "steps": []}
    run_jobs("BVLC Caffe", bvlc, folder, [job])
    jobs = [
        {
            "solver": write_solver(folder, name.replace(" ", "_"), solver_type, fields),
            "weights": "first.caffemodel",
            "steps": steps,
            "watched": True,
        }
        for name, (solver_type, fields, steps) in BY_HAND.items()
    ]
    resumed = [
        {
            "solver": f"{name}.prototxt",
            "restore": f"{name}_iter_4.solverstate",
            "steps": ["by hand", 2, "by hand"],
            "watched": True,
        }
        for name in TYPES
    ]
    found = {}
    for engine in ENGINES:
        results = run_jobs(engine, bvlc, folder, jobs)
        states = {name: f"{name}_iter_4.solverstate" for name in ("between_steps", *TYPES)}
        states["between_steps"] = "between_steps_iter_6.solverstate"
        histories = {}
        for name, state in states.items():
            contents = (folder / state).read_bytes()
            history = caffe_pb2.SolverState.FromString(contents).history
            histories[name] = {str(i): np.array(blob.data) for i, blob in enumerate(history)}
        gone_on = run_jobs(engine, bvlc, folder, resumed)
        found[engine] = results, gone_on, histories
        for state in states.values():
            # Named by the iteration, so the other engine writes its own only if it counts alike.
            (folder / state).unlink()
    return found


def test_updates_by_hand_are_iterations(by_hand):
    ours, theirs = (by_hand[engine][0] for engine in ENGINES)
    for name, got, expected in zip(BY_HAND, ours, theirs):
        assert got["iter"] == expected["iter"] > 4, name
        assert_close(got, expected, f"{name}:")


@pytest.mark.parametrize("solver_type", TYPES)
def test_updates_by_hand_leave_the_history_and_go_on_from_it(by_hand, solver_type):
    place = list(TYPES).index(solver_type)
    (_, ours, our_histories), (_, theirs, their_histories) = (by_hand[each] for each in ENGINES)
    assert_close(our_histories[solver_type], their_histories[solver_type], "history")
    assert ours[place]["iter"] == theirs[place]["iter"] == 8
    assert_close(ours[place], theirs[place])


def test_parameters_change_in_place_and_test_nets_follow(tmp_path, monkeypatch):
    """Who holds a parameter's memory sees the training; so do test nets between their tests."""
    make_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    name = write_solver(tmp_path, "shared", "Adam", "test_iter: 1  test_interval: 100")
    solver = Solver(read.solver(name))
    blob = next(layer for layer in solver.net.layers if layer.name == "ip1").params[0]
    other = next(layer for layer in solver.test_nets[0].layers if layer.name == "ip1").params[0]
    view = blob.pin_data().numpy()
    before = view.copy()
    solver.step(3)
    assert not np.array_equal(view, before)
    assert np.array_equal(view, blob.data.numpy()) and np.array_equal(view, other.data.numpy())


INPUT = "layer { name: 'x' type: 'DummyData' top: 'x' dummy_data_param { shape { dim: 2 } } }"
LEARNING = """layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' loss_weight: LOSS
    inner_product_param { num_output: 1 axis: 0 } param { lr_mult: RATE } }"""
NOTHING_TO_LEARN = {
    "no layers": ("name: 'some'", "train net some has no layers"),
    "none in this phase": (INPUT + " name: 'some'", "no layers"),
    "no parameters": (INPUT, "no loss reaches a parameter"),
    "no loss": (INPUT + LEARNING.replace("LOSS", "0"), "no loss reaches a parameter"),
    "a loss beside": (
        INPUT + LEARNING.replace("LOSS", "0") + "layer { name: 'loss' type: 'Reduction' "
        "bottom: 'x' top: 'loss' loss_weight: 1 }",
        "no loss reaches a parameter",
    ),
}
"""{what a net has: (the net, what its refusal says)}"""


@pytest.mark.parametrize("name", NOTHING_TO_LEARN)
def test_a_net_with_nothing_to_learn_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    net, message = NOTHING_TO_LEARN[name]
    if name == "none in this phase":
        net = net.replace("name: 'x'", "name: 'x' include { phase: TEST }")
    text = f"net_param {{ {net.replace('RATE', '1')} }} base_lr: 1 lr_policy: 'fixed' max_iter: 2"
    parameter = text_format.Parse(text + " snapshot_prefix: 'some'", caffe_pb2.SolverParameter())
    with pytest.raises(CaffeError, match=message):
        Solver(parameter).solve()
    assert not list(tmp_path.iterdir())


def test_an_empty_test_net_is_refused_before_training():
    train = INPUT + LEARNING.replace("LOSS", "1").replace("RATE", "1")
    text = f"train_net_param {{ {train} }} test_net_param {{ name: 'some' }} base_lr: 1"
    text += " lr_policy: 'fixed' test_iter: 1 test_interval: 5 test_initialization: false"
    solver = Solver(text_format.Parse(text, caffe_pb2.SolverParameter()))
    with pytest.raises(CaffeError, match="test net some has no layers"):
        solver.step(1)


def test_frozen_parameters_and_gradients_from_callbacks_are_trained_with():
    """As those do who only gather BatchNorm's statistics, or compute gradients themselves."""
    for rate, weight, callbacks in ((0, 1, []), (1, 0, [(lambda: None, lambda: None)])):
        net = INPUT + LEARNING.replace("LOSS", str(weight)).replace("RATE", str(rate))
        text = f"net_param {{ {net} }} base_lr: 1 lr_policy: 'fixed'"
        solver = Solver(text_format.Parse(text, caffe_pb2.SolverParameter()))
        solver.callbacks = callbacks
        solver.step(2)
        assert solver.iter == 2


def test_a_parameter_that_only_the_test_net_shares_follows_too():
    """By its name; in BVLC Caffe it stays as the test net was built."""

    def inner(name, top):
        return (
            f"layer {{ name: '{name}' type: 'InnerProduct' bottom: 'x' top: '{top}' loss_weight: 1 "
            "inner_product_param { num_output: 1 axis: 0 } param { name: 'w' } }"
        )

    x = INPUT.replace("dim: 2 }", "dim: 2 } data_filler { value: 1 }")
    text = f"train_net_param {{ {x} {inner('ip', 'y')} }} base_lr: 1 lr_policy: 'fixed'"
    text += f" test_net_param {{ {x} {inner('ip', 'y')} {inner('only', 'z')} }}"
    text += " test_iter: 1 test_interval: 5 test_initialization: false"
    solver = Solver(text_format.Parse(text, caffe_pb2.SolverParameter()))
    solver.step(2)
    only = next(layer for layer in solver.test_nets[0].layers if layer.name == "only")
    assert only.params[0].data.tolist() == [[-2, -2]]


@pytest.mark.parametrize(
    "fields, message",
    [
        ('type: "Adam"  momentum: 1', "momentum is 1; give one from 0 to below 1"),
        ('type: "Adam"  momentum2: 2', "momentum2 is 2; give one from 0 to below 1"),
        ('type: "AdaDelta"  momentum: 1.5', "momentum is 1.5; give one from 0 to 1"),
        ('type: "RMSProp"  rms_decay: 1', "rms_decay is 1; give one from 0 to below 1"),
    ],
)
def test_factors_with_which_no_update_can_be_computed(fields, message):
    parameter = text_format.Parse(fields, caffe_pb2.SolverParameter())
    with pytest.raises(CaffeError, match=message):
        updates.make(parameter)
