"""The alternating trainer under supervision, in both engines."""

import json
import os
import re
import signal
import threading
import time

import pytest
import toy_pair
from conftest import REPOSITORY
from toy_pair import MAX_ITER

from gcnet import engine
from gcnet.train import caffe_log, supervision
from gcnet.train.programs import Alternating
from gcnet.train.supervision import Training
from gcnet.train.trained_folder import TrainedFolder
from gcnet_base.errors import InputError
from gcnet_base.paths import sha256

pytestmark = pytest.mark.usefixtures("bvlc")

SLOW = """
import time
import toy_order
from toy_order import SHARING
from gcnet_base.paths import sha256

def iteration(solvers, memory):
    toy_order.iteration(solvers, memory)
    time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def orders(tmp_path, monkeypatch):
    """Where Caffe's Python finds toy_order, and orders of a test."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY / "tests"), str(tmp_path)]))


def a_training(folder, order="toy_order", max_iter=MAX_ITER, **changes):
    if not folder.exists():
        toy_pair.write(folder, **changes)
    program = Alternating(order, ("discriminator", "generator"), result="generator")
    trained = TrainedFolder(folder, max_iter, program)
    weights = (str(folder / "start.caffemodel"),)
    return Training(folder.name, "toys", trained, weights, "the toys", None)


def train(trainings, name):
    with supervision.locked(trainings[0].folder.path.parent) as lock:
        supervision.train_side_by_side(trainings, engine.find(name), 2, lock)


@pytest.mark.parametrize("name", ["bvlc", "torch"])
def test_pairs_are_trained_side_by_side_and_resumed_from_whole_sets(name, tmp_path, capsys):
    one, two = (a_training(tmp_path / folder) for folder in ("one", "two"))
    train([one, two], name)
    said = capsys.readouterr().out
    # 2 blobs of each of three layers, those of the discriminator in both nets
    assert f"one: 10 blobs taken from {tmp_path}/one/start.caffemodel" in said
    for training in (one, two):
        folder = training.folder
        assert re.search(rf"^{training.name}: trained, 30/30 loss \d", said, re.MULTILINE)
        assert list(folder.snapshots()) == [MAX_ITER]
        assert folder.final_caffemodel == folder.path / "snapshot_iter_30" / "generator.caffemodel"
        folder.check_finished()
        assert list(caffe_log.of_file(folder.log).test["loss_target"]) == [0, 10, 20, 30]
    finished = json.loads((tmp_path / "one" / "finished.json").read_text())
    assert finished["net_generator_sha256"] == sha256(tmp_path / "one/net_generator.prototxt")

    # The same in two halves, the second of which finds the last set of the first one damaged.
    half = a_training(
        tmp_path / "half", snapshot=5,
        edit=lambda file, text: text.replace("max_iter: 30", "max_iter: 15"), max_iter=15,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainedFolder, "mark_finished", lambda self: None)
        patch.setattr(supervision, "_drop_snapshots", lambda training, keep: None)
        train([half], name)
    assert list(half.folder.snapshots()) == [15, 10, 5]
    (tmp_path / "half" / "snapshot_iter_15" / "discriminator.caffemodel").unlink()
    for path in (tmp_path / "half").glob("solver_*"):
        path.write_text(path.read_text().replace("max_iter: 15", "max_iter: 30"))
    capsys.readouterr()
    whole = a_training(tmp_path / "half")
    train([whole], name)
    said = capsys.readouterr().out
    told = r"half: left out a broken snapshot \(.*discriminator.caffemodel is missing\)"
    assert re.search(told, said)
    assert "half: resumes at iteration 10 of 30" in said
    assert whole.folder.final_caffemodel.read_bytes() == one.folder.final_caffemodel.read_bytes()


@pytest.mark.parametrize("name", ["bvlc", "torch"])
def test_ctrl_c_leaves_a_set_from_which_it_goes_on(name, tmp_path, capsys, request):
    (tmp_path / "slow.py").write_text(SLOW)
    training = a_training(
        tmp_path / "pair", "slow", 100000, snapshot=1000,
        edit=lambda file, text: text.replace("max_iter: 30", "max_iter: 100000"),
    )  # fmt: skip

    def interrupt():
        while caffe_log.of_file(training.folder.log).iteration is None:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        train([training], name)
    assert "pair: takes a snapshot and stops" in capsys.readouterr().out
    assert training.folder.log.read_text().count("Optimization stopped early.") == 1
    (iteration,) = training.folder.snapshots()
    assert supervision.starting_point(training, engine.find(name))["broken"] == []
    with supervision.locked(tmp_path):  # the trainer holds the lock while it lives
        pass
    assert training.iterations_left == 100000 - iteration


def test_a_loss_that_is_no_number_is_told_by_its_solver(tmp_path):
    def explode(file, text):
        return text.replace("base_lr: 0.1", "base_lr: 1e30")

    training = a_training(tmp_path / "pair", edit=explode)
    with pytest.raises(InputError, match="pair: Caffe failed: solver .*: the loss is (nan|inf)"):
        train([training], "bvlc")
    assert not training.folder.is_finished()
