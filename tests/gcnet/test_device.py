"""Training on a GPU, as far as a machine without one shows it: what Caffe is told."""

import pytest
import tiny
import torch

from data_prep.lmdbs import places
from gcnet import engine, prototxt
from gcnet.methods.gcnet import experiments
from gcnet.models import PROTOTXT
from gcnet.train import encoders, supervision
from gcnet_base.errors import InputError


@pytest.fixture(autouse=True)
def own_lmdbs(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "LMDBS", tmp_path / "folds")


@pytest.fixture
def index(tmp_path):
    return tiny.write_database(tmp_path / "data")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "name, message",
    [
        ("torch", "--device gpu:0: torchcaffe cannot .*PyTorch finds no GPU here"),
        ("bvlc", "--device gpu:0: BVLC Caffe 1.0 cannot .*Cannot use GPU in CPU-only Caffe"),
    ],
)
def test_a_gpu_that_is_not_there_ends_the_training(name, message, bvlc, index, tmp_path):
    with pytest.raises(InputError, match=message):
        tiny.train(tmp_path / "run", index, "cnn", PROTOTXT, engine=name, batch=7, device="gpu:0")
    assert not (tmp_path / "run").exists() and not places.LMDBS.exists()


@pytest.fixture
def a_gpu(monkeypatch):
    """Lets every engine find the GPU that it is asked for."""
    monkeypatch.setattr(engine.Engine, "gpu", lambda self, device: engine.gpu_of(device))


def test_each_fold_is_given_the_gpu_one_after_the_other(a_gpu, index, tmp_path, monkeypatch):
    seen = []

    def train_side_by_side(trainings, caffe, jobs, lock):
        seen.append((jobs, [supervision._arguments(one, caffe)[-4:] for one in trainings]))

    monkeypatch.setattr(supervision, "train_side_by_side", train_side_by_side)
    run = tiny.train(
        tmp_path / "run", index, "cnn", PROTOTXT, folds=[0, 1], batch=7, device="gpu:3"
    )
    solvers = [run.fold_folder(fold) / "solver.prototxt" for fold in (0, 1)]
    assert seen == [(1, [["-solver", str(path), "-gpu", "3"] for path in solvers])]
    for path in solvers:
        solver = prototxt.solver(path)
        assert (solver.solver_mode, solver.device_id) == (solver.GPU, 3)


def test_trainings_are_on_the_cpu_unless_told_otherwise(index, tmp_path):
    run = tiny.train(tmp_path / "run", index, "cnn", PROTOTXT, batch=7, max_iter=1)
    solver = prototxt.solver(run.fold_folder(0) / "solver.prototxt")
    assert solver.HasField("solver_mode") and solver.solver_mode == solver.CPU
    assert "Use CPU." in (run.fold_folder(0) / "caffe.log").read_text()


@pytest.mark.parametrize("device", ["gpu", "0", "gpu:x", "cuda:0", "gpu:0,1", ""])
def test_unknown_devices_are_refused(device):
    with pytest.raises(InputError, match=f"--device {device}: give cpu, or a GPU by its number"):
        engine.gpu_of(device)


def test_a_solver_that_names_a_device_itself_is_refused(index, tmp_path):
    def with_mode(name, message):
        if name == "solver_cnn.prototxt":
            message.solver_mode = message.GPU

    nets = tiny.write_prototxt(tmp_path / "prototxt", "cnn", edit=with_mode)
    with pytest.raises(InputError, match="solver_cnn.prototxt: has a field solver_mode"):
        tiny.train(tmp_path / "run", index, "cnn", nets)
    assert not (tmp_path / "run").exists()


def test_the_device_reaches_every_training_of_a_table(monkeypatch):
    """pretrain.py and train_folds.py are told; an unknown device ends before anything is made."""
    done = []
    monkeypatch.setattr(experiments, "_do", lambda *command, made=None: done.append(command))
    monkeypatch.setattr(experiments, "prepare", lambda *arguments: None)
    monkeypatch.setattr(experiments, "write_results", lambda *arguments: None)
    experiments.run("table4", "quick", ["cnn"], device="gpu:1")
    programs = [command[0].removeprefix("python/") for command in done]
    assert programs == ["pretrain.py", "pretrain.py", "train_folds.py"]
    assert all(command[-2:] == ("--device", "gpu:1") for command in done)


def test_pretraining_is_given_the_gpu(a_gpu, index, tmp_path, monkeypatch):
    seen = []

    def train_side_by_side(trainings, caffe, jobs, lock):
        seen.extend(trainings)
        raise InputError("far enough")

    monkeypatch.setattr(supervision, "train_side_by_side", train_side_by_side)
    with pytest.raises(InputError, match="far enough"):
        settings = encoders.Settings(
            part="identity", index=index, max_iter=1, batch=7, engine="torch", copies=0
        )
        encoders.pretrain(
            settings, "pretrain.py", tmp_path / "weights", tmp_path / "runs", device="gpu:2"
        )
    assert [training.gpu for training in seen] == [2]
    assert "device_id: 2" in (seen[0].folder.path / "solver.prototxt").read_text()


def test_torchcaffe_without_pytorch_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="torchcaffe needs PyTorch"):
        engine.find("torch")
