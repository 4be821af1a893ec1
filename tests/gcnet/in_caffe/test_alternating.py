"""Alternating training in both engines: a toy pair against numpy, its log, resuming, mistakes."""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
import toy_pair
from conftest import REPOSITORY
from toy_pair import MAX_ITER

from gcnet import engine
from gcnet.train.caffe_log import CaffeLog, of_file

pytestmark = pytest.mark.usefixtures("bvlc")

INTERRUPTED = """
import os, signal
import toy_order
from toy_order import SHARING

def iteration(solvers, memory):
    toy_order.iteration(solvers, memory)
    name = {{7: "SIGHUP", 13: "{stop}"}}.get(len(memory["steps"]))
    if name:
        os.kill(os.getpid(), getattr(signal, name))
"""

NO_NUMBER = """
import toy_order
from toy_order import SHARING, iteration

draws = toy_order.draws

def with_nan(iteration):
    drawn = draws(iteration)
    if iteration == 12:
        drawn["{blob}"][0] = float("nan")
    return drawn

toy_order.draws = with_nan
"""


def run(name, files, *options, order="toy_order", path=""):
    """Run the program in the engine `name`; returns the CompletedProcess."""
    found = engine.find(name)
    environment = found.environment(threads=1)
    environment["PYTHONPATH"] += f"{os.pathsep}{REPOSITORY / 'tests'}{os.pathsep}{path}"
    solvers = [f"{solver}={file}" for solver, file in files.items()]
    return subprocess.run(
        [*found.python, "-m", "gcnet.in_caffe.alternating", order, *solvers, *map(str, options)],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip


def train(name, folder, order="toy_order", **changes):
    """The folder with the toy pair trained in it; its log is in caffe.log."""
    files = toy_pair.write(folder, **changes)
    done = run(
        name, files, "--weights", folder / "start.caffemodel", order=order, path=folder.parent
    )
    assert done.returncode == 0, done.stderr
    (folder / "caffe.log").write_text(done.stderr)
    return folder


@pytest.fixture(scope="module", params=["bvlc", "torch"])
def unbroken(request, tmp_path_factory):
    """(engine, folder) of the pair trained to its end in one go."""
    folder = tmp_path_factory.mktemp(request.param) / "unbroken"
    return request.param, train(request.param, folder)


@pytest.fixture(scope="module")
def in_numpy(unbroken):
    """The pair in numpy, with the generator's steps that the order has decided on."""
    steps = read_set(unbroken[1] / f"snapshot_iter_{MAX_ITER}")["memory"]["steps"]
    assert len(steps) == MAX_ITER and set(steps) == {1, 2}
    return toy_pair.InNumpy(steps)


def read_set(folder):
    return json.loads((folder / "set.json").read_text())


def test_the_weights_are_those_of_numpy(unbroken, in_numpy):
    last = unbroken[1] / f"snapshot_iter_{MAX_ITER}"
    for solver, layers in (
        ("discriminator", ["dis/fc1", "dis/fc2"]),
        ("generator", ["gen/fc", "dis/fc1", "dis/fc2"]),
    ):
        found = toy_pair.read_weights(last / f"{solver}.caffemodel")
        for layer in layers:
            for values, expected in zip(found[layer], in_numpy.weights[layer], strict=True):
                np.testing.assert_allclose(values, expected, rtol=0, atol=1e-4)
    learnt = in_numpy.weights["gen/fc"][0] - toy_pair.first_weights()["gen/fc"][0]
    assert np.abs(learnt).max() > 0.01


def test_the_log_is_read_as_that_of_caffe_train(unbroken, in_numpy):
    log = of_file(unbroken[1] / "caffe.log")
    assert list(log.train["loss"]) == [*range(0, MAX_ITER, 5), MAX_ITER]
    for iteration in range(0, MAX_ITER, 5):
        expected = in_numpy.losses[iteration]
        for output, value in expected.items():
            assert log.train[output][iteration] == pytest.approx(value, abs=1e-4), output
        assert log.train["loss"][iteration] == pytest.approx(sum(expected.values()), abs=1e-4)
    assert list(log.test["loss_target"]) == [0, 10, 20, 30]
    for iteration, value in log.test["loss_target"].items():
        assert value == pytest.approx(in_numpy.distances[iteration], abs=1e-4)

    steps = read_set(unbroken[1] / f"snapshot_iter_{MAX_ITER}")["memory"]["steps"]
    text = (unbroken[1] / "caffe.log").read_text()
    lines = re.findall(r"\] Iteration (\d+), lr = (\S+) \((\w+)\)", text)
    assert [(int(iteration), solver) for iteration, _, solver in lines] == [
        (iteration, solver)
        for iteration in range(0, MAX_ITER, 5)
        for solver in ("discriminator", "generator")
    ]
    for iteration, rate, solver in lines:
        last_step = sum(steps[: int(iteration) + 1]) - 1
        expected = 0.05 if solver == "discriminator" else toy_pair.rate_of_generator(last_step)
        assert float(rate) == pytest.approx(expected)


def test_a_stopped_training_resumes_as_if_it_was_unbroken(unbroken, tmp_path):
    name, expected = unbroken
    stop = {"bvlc": "SIGINT", "torch": "SIGTERM"}[name]
    (tmp_path / "interrupted.py").write_text(INTERRUPTED.format(stop=stop))
    folder = train(name, tmp_path / "pair", order="interrupted")
    assert "Optimization stopped early." in (folder / "caffe.log").read_text()
    assert sets(folder) == [7, 10, 13]
    files = {solver: folder / f"solver_{solver}.prototxt" for solver in toy_pair.NETS}
    done = run(name, files, "--snapshot", folder / "snapshot_iter_13")
    assert done.returncode == 0, done.stderr
    last = f"snapshot_iter_{MAX_ITER}"
    assert read_set(folder / last) == read_set(expected / last)
    for solver in files:
        model = f"{last}/{solver}.caffemodel"
        assert (folder / model).read_bytes() == (expected / model).read_bytes()
    resumed, log = CaffeLog(done.stderr.splitlines()), of_file(expected / "caffe.log")
    assert resumed.train["loss"] == {i: log.train["loss"][i] for i in (15, 20, 25, 30)}


def sets(folder):
    """The iterations of the sets in a folder in which there is nothing else of a snapshot."""
    return sorted(int(path.name.removeprefix("snapshot_iter_")) for path in folder.glob("*snap*"))


def cut(path, part):
    os.truncate(path, int(path.stat().st_size * part))


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


DAMAGES = {
    "without set.json": (
        lambda folder: (folder / "set.json").unlink(),
        "set.json: no such file",
    ),
    "set.json cut": (
        lambda folder: cut(folder / "set.json", 0.5),
        "set.json: not readable",
    ),
    "other solvers": (
        lambda folder: rewrite(folder / "set.json", '"generator"', '"critic"'),
        "is of the solvers critic, discriminator, expected discriminator, generator",
    ),
    "another iteration's file": (
        lambda folder: shutil.copy(
            folder.with_name("snapshot_iter_2") / "discriminator.solverstate", folder
        ),
        "discriminator.solverstate: is of step 2, expected",
    ),
    "without a caffemodel": (
        lambda folder: (folder / "generator.caffemodel").unlink(),
        "generator.solverstate: its .*generator.caffemodel is missing",
    ),
    "a caffemodel cut": (
        lambda folder: cut(folder / "generator.caffemodel", 0.6),
        "generator.caffemodel: (truncated|layer .* holds|has no layer)",
    ),
    "without a solverstate": (
        lambda folder: (folder / "discriminator.solverstate").unlink(),
        "discriminator.solverstate: no such file",
    ),
    "a solverstate cut": (
        lambda folder: cut(folder / "discriminator.solverstate", 0.6),
        "discriminator.solverstate: truncated",
    ),
    "a solverstate without its last byte": (
        lambda folder: os.truncate(
            folder / "generator.solverstate", (folder / "generator.solverstate").stat().st_size - 1
        ),
        "generator.solverstate: truncated",
    ),
    "moved": (
        lambda folder: (
            folder.rename(folder.with_name("kept"))
            and shutil.copytree(folder.with_name("snapshot_iter_2"), folder)
        ),
        "a set stays where it was written",
    ),
}


@pytest.mark.parametrize("name", ["bvlc", "torch"])
def test_sets_that_are_not_whole_are_left_out(name, tmp_path):
    folder = train(name, tmp_path / "pair", snapshot=2)
    newest_first = [folder / f"snapshot_iter_{i}" for i in range(MAX_ITER, 0, -2)]
    for path, (damage, _) in zip(newest_first, DAMAGES.values(), strict=False):
        damage(path)
    solvers = [f"{solver}={folder}/solver_{solver}.prototxt" for solver in toy_pair.NETS]
    said = json.loads(
        engine.find(name).run_module(
            "gcnet.in_caffe.starting_point", *solvers, "--snapshots", *newest_first
        )
    )
    assert said["snapshot"] == str(newest_first[len(DAMAGES)])
    for what, problem, (_, told) in zip(DAMAGES, said["broken"], DAMAGES.values(), strict=True):
        assert re.search(told, problem), (what, problem)

    done = run(name, {solver: folder / f"solver_{solver}.prototxt" for solver in toy_pair.NETS},
               "--snapshot", newest_first[0])  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, f"error: {said['broken'][0]}")


@pytest.mark.parametrize("solver, blob", [("discriminator", "real"), ("generator", "target")])
def test_a_loss_that_is_no_number_ends_the_training(unbroken, tmp_path, solver, blob):
    (tmp_path / "no_number.py").write_text(NO_NUMBER.format(blob=blob))
    files = toy_pair.write(tmp_path / "pair")
    done = run(unbroken[0], files, order="no_number", path=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"error: solver {solver}: the loss is nan in (its step|iteration) \d+; .* base_lr.*",
        done.stderr.splitlines()[-1],
    )
    assert sets(tmp_path / "pair") == [10]


def test_the_learning_rates_are_those_of_the_engine(tmp_path):
    """torchcaffe's solvers tell theirs, and are tested against BVLC Caffe's."""
    code = """
import caffe, sys
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from gcnet.in_caffe import alternating
for path in sys.argv[1:]:
    solver = caffe.get_solver(path)
    parameter = text_format.Parse(open(path).read(), caffe_pb2.SolverParameter())
    for step in range(9):
        expected, got = solver.lr, alternating._rate(parameter, step)
        assert abs(got - expected) <= 1e-6 * expected, (path, step, got, expected)
        solver.net.params["gen/fc"][0].diff[...] = 0
        solver.step(1)
"""
    paths = []
    toy_pair.write(tmp_path / "pair")
    for policy in (
        'lr_policy: "fixed"',
        'lr_policy: "step" gamma: 0.5 stepsize: 3',
        'lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 5',
        'lr_policy: "exp" gamma: 0.9',
        'lr_policy: "inv" gamma: 0.1 power: 0.75',
        'lr_policy: "sigmoid" gamma: 0.5 stepsize: 4',
        'lr_policy: "sigmoid" gamma: 0.5 stepsize: 4000',
    ):
        paths.append(tmp_path / f"{len(paths)}.prototxt")
        net = tmp_path / "pair" / "net_generator.prototxt"
        paths[-1].write_text(f'net: "{net}" type: "SGD" base_lr: 0.1 max_iter: 9 {policy}')
    found = engine.find("torch")
    done = subprocess.run(
        [*found.python, "-c", code, *paths], env=found.environment(log_level=2),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# ---- Mistakes


def replacing(file, old, new):
    def edit(name, text):
        assert name != file or old in text
        return text.replace(old, new) if name == file else text

    return edit


@pytest.mark.parametrize(
    "file, old, new, told",
    [
        ("solver_generator.prototxt", "max_iter: 30", "max_iter: 40",
         "solver_generator.prototxt: max_iter is 40, but 30 in .*solver_discriminator.prototxt; "),
        ("solver_generator.prototxt", "/snapshot", "/other", "snapshot_prefix is .*/other, but "),
        ("solver_generator.prototxt", "max_iter", "average_loss: 9 max_iter",
         "solver_generator.prototxt: average_loss is not to be had"),
        ("solver_generator.prototxt", '"step"', '"poly"', "lr_policy poly ends at max_iter"),
        ("solver_generator.prototxt", "test_interval: 10", "", "test_iter, give a test_interval"),
        ("solver_generator.prototxt", "type:", "tipe:", 'no field named "tipe"'),
        ("net_generator.prototxt", "loss_adversarial", "loss_real",
         "solver_generator.prototxt: loss_real is also an output of the net in .*discriminator"),
        ("net_generator.prototxt", "dis/", "d/", "have no layer with parameters in common"),
    ],
    ids=["max_iter", "snapshot_prefix", "average_loss", "poly", "test_interval", "unknown field",
         "outputs", "nothing to share"],
)  # fmt: skip
def test_files_that_do_not_fit_are_told_in_one_line(tmp_path, file, old, new, told):
    files = toy_pair.write(tmp_path / "pair", edit=replacing(file, old, new))
    assert_told(run("bvlc", files), told)
    assert sets(tmp_path / "pair") == []


def test_an_error_of_torchcaffe_is_told_with_its_solver(tmp_path):
    edit = replacing("solver_generator.prototxt", '"step"', '"stepp"')
    files = toy_pair.write(tmp_path / "pair", edit=edit)
    assert_told(run("torch", files), "solver_generator.prototxt: solver: no lr_policy 'stepp'")


def assert_told(done, told):
    assert done.returncode == 1
    assert re.search(f"^error: .*{told}", done.stderr.splitlines()[-1]), done.stderr[-2000:]


@pytest.mark.parametrize(
    "order, told",
    [
        (None, "order: no such Python module; PYTHONPATH says where it is"),
        ("SHARING = []", "order.py: has no iteration"),
        ("def iteration(solvers, memory): pass", "order.py: has no SHARING"),
        ("SHARING = [('generator', 'critic')]\ndef iteration(solvers, memory): pass",
         r"SHARING \(generator, critic\): critic is none of the solvers discriminator, generator"),
        ("SHARING = []\ndef iteration(solvers, memory): memory['x'] = solvers",
         "the memory of the order is no JSON"),
    ],
    ids=["no module", "no iteration", "no SHARING", "an unknown solver", "a memory of objects"],
)  # fmt: skip
def test_an_order_that_lacks_something_is_told_in_one_line(tmp_path, order, told):
    files = toy_pair.write(tmp_path / "pair")
    if order is not None:
        (tmp_path / "order.py").write_text(order)
    assert_told(run("bvlc", files, order="order", path=tmp_path), told)


def test_weights_that_would_silently_be_two_are_told(tmp_path):
    """What BVLC Caffe's share_with leaves behind: copies of a layer in one net, and other nets."""
    start = "def iteration(solvers, memory): pass\nSHARING = "
    files = toy_pair.write(tmp_path / "pair")
    (tmp_path / "turned.py").write_text(start + "[('discriminator', 'generator')]")
    assert_told(
        run("bvlc", files, order="turned", path=tmp_path),
        r"SHARING \(discriminator, generator\): layer dis_fake/fc1 would leave those with which it "
        "shares its param 0 in the net of discriminator; turn the pair round",
    )

    # A second generator, which takes over the discriminator before the first one does.
    def renamed(name, text):
        text = text.replace('"loss_', '"other_')
        return text.replace(f"{tmp_path}/other/snapshot", f"{tmp_path}/pair/snapshot")

    files["other"] = toy_pair.write(tmp_path / "other", edit=renamed)["generator"]
    pairs = "[('other', 'generator'), ('generator', 'discriminator')]"
    (tmp_path / "chain.py").write_text(start + pairs)
    for name in ("bvlc", "torch"):
        assert_told(
            run(name, files, order="chain", path=tmp_path),
            r"SHARING \(other, generator\): is undone by a later pair; put it after that",
        )
