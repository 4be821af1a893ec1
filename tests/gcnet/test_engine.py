"""Finding Caffe, running it, and the files rendered for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gcnet import engine, models, prototxt, runs
from gcnet.engine import failure
from gcnet.models import PROTOTXT
from gcnet.train import rendering
from gcnet.train.caffe_log import CaffeLog
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, portable
from gcnet_base.protocol import CLASSES


def fake_prefix(folder):
    (folder / "bin").mkdir(parents=True)
    for name in ("caffe", "python3"):
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*"\necho "path $PYTHONPATH"\nexit 3\n')
        program.chmod(0o755)
    return folder


def test_named_prefix_is_used_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("BVLC_CAFFE", str(fake_prefix(tmp_path / "caffe")))
    found = engine.find("bvlc")
    assert found.caffe == (str(tmp_path / "caffe" / "bin" / "caffe"),)
    monkeypatch.setenv("BVLC_CAFFE", str(tmp_path))
    with pytest.raises(InputError, match="BVLC_CAFFE=.*no bin/caffe"):
        engine.find("bvlc")


def test_a_relative_prefix_is_of_the_users_folder(tmp_path, monkeypatch):
    fake_prefix(tmp_path / "caffe")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BVLC_CAFFE", "caffe")
    assert engine.find("bvlc").python == (str(tmp_path / "caffe" / "bin" / "python3"),)


def test_a_log_level_that_is_none_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BVLC_CAFFE", str(fake_prefix(tmp_path / "caffe")))
    monkeypatch.setenv("GLOG_minloglevel", "x")
    assert engine.run_caffe() == 1
    assert capsys.readouterr().err.startswith("error: GLOG_minloglevel=x: give 0")


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("net:", "# net:", "the text has 0 fields net,"),
        ("max_iter:", "# max_iter:", "the text has 0 fields max_iter,"),
        ("max_iter:", "max_itre:", r"\d+:1: .* no field 'max_itre'; did you mean 'max_iter'"),
        ("net:", "= net:", r"\d+:1: .*="),
    ],
)
def test_a_solver_that_is_wrong_is_told_with_its_path(tmp_path, old, new, told):
    for path in PROTOTXT.glob("*cnn.prototxt"):
        (tmp_path / path.name).write_text(path.read_text())
    solver = tmp_path / "solver_cnn.prototxt"
    text = solver.read_text()
    assert f"\n{old}" in text
    solver.write_text(text.replace(f"\n{old}", f"\n{new}"))
    with pytest.raises(InputError, match=f"^{solver}: ?{told}"):
        runs.complete(
            runs.Settings(
                net="cnn", classes="7", batch=1, index=__file__, engine="bvlc", prototxt=tmp_path
            )
        )


def test_without_caffe_the_remedy_is_told(monkeypatch):
    monkeypatch.delenv("BVLC_CAFFE", raising=False)
    monkeypatch.setattr(engine, "_is_prefix", lambda prefix: False)
    with pytest.raises(InputError, match="run `make caffe`"):
        engine.find("bvlc")


def test_unknown_engine_is_told_from_the_environment_too(monkeypatch):
    monkeypatch.setenv("GCNET_ENGINE", "cafe")
    with pytest.raises(InputError, match="no engine 'cafe'; choose one of torch, bvlc"):
        engine.find()


def test_caffe_command_passes_arguments_status_and_layer_path(tmp_path):
    command = Path(sys.executable).with_name("caffe")
    environment = {
        **os.environ,
        "GCNET_ENGINE": "bvlc",
        "BVLC_CAFFE": str(fake_prefix(tmp_path / "caffe")),
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "/mine",
    }
    done = subprocess.run(
        [command, "train", "-solver", "a b.prototxt"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout.splitlines() == [
        "caffe train -solver a b.prototxt",
        f"path {ROOT / 'python'}:/mine",
    ]


@pytest.mark.parametrize("variable", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_threads_are_the_users_own_if_named(monkeypatch, variable):
    caffe = engine.Engine("bvlc", ("caffe",), ("python3",))
    monkeypatch.delenv(variable, raising=False)
    assert variable not in caffe.environment()
    assert caffe.environment(threads=2)[variable] == "2"
    monkeypatch.setenv(variable, "3")
    assert caffe.environment(threads=2)[variable] == "3"


@pytest.mark.parametrize(
    "name, version", [("bvlc", "caffe version 1.0"), ("torch", "torchcaffe"), (None, "torchcaffe")]
)
def test_caffe_command_is_the_engines(bvlc, monkeypatch, name, version):
    monkeypatch.delenv("GCNET_ENGINE", raising=False)
    if name:
        monkeypatch.setenv("GCNET_ENGINE", name)
    command = Path(sys.executable).with_name("caffe")
    done = subprocess.run([command, "--version"], capture_output=True, text=True)
    assert version in done.stdout + done.stderr


@pytest.mark.parametrize("net", models.names())
@pytest.mark.parametrize("classes, shift", [("6", -5), ("6+neutral", -5), ("7", -6), ("8", -6)])
def test_every_net_renders_for_every_set_of_classes(net, classes, shift, tmp_path):
    (tmp_path / "index.csv").write_text("image\n")
    settings = runs.complete(
        runs.Settings(
            net=net, classes=classes, max_iter=1000, batch=32, index=tmp_path / "index.csv",
            copies=0, seed=5, engine="bvlc",
        )
    )  # fmt: skip
    run = runs.Run(tmp_path / "run", settings, "", "", "")
    for name, text in rendering.render(run, 3, test_samples=65, device="cpu").items():
        (tmp_path / f"{name}.prototxt").write_text(text)
    trained, deploy, solver = (
        read(tmp_path / f"{name}.prototxt")
        for name, read in (
            ("net", prototxt.net), ("deploy", prototxt.net), ("solver", prototxt.solver)
        )
    )  # fmt: skip
    for one in (trained, deploy):
        (classifier,) = prototxt.layers(one, "classifier/fc2")
        assert classifier.inner_product_param.num_output == len(CLASSES[classes])
    if net != "cnn":
        assert prototxt.value(trained, "power_param.shift", "is_neutral") == shift
    sources = prototxt.values(trained, "data_param.source", "data")
    assert [Path(path).parts[-2:] for path in sources] == [("fold3", "train"), ("fold3", "test")]
    assert prototxt.values(trained, "data_param.batch_size", "data") == [32, 64]
    folder = portable(tmp_path / "run" / "fold3")
    assert (solver.max_iter, list(solver.test_iter), solver.snapshot) == (1000, [2], 100)
    assert (solver.random_seed, solver.snapshot_prefix) == (5, f"{folder}/snapshot")
    assert solver.net == f"{folder}/net.prototxt"


LOG = """I1122 02:00:00.1 1 solver.cpp:239] Iteration 0 (-nan iter/s, 0s/20 iters), loss = 2.5
I1122 02:00:00.1 1 solver.cpp:258]     Train net output #0: loss_classification = 2 (* 1 = 2 loss)
I1122 02:00:00.1 1 solver.cpp:258]     Train net output #1: loss_generation = 9 (* 0.05 = 0.5 loss)
I1122 02:00:01.1 1 sgd_solver.cpp:112] Iteration 0, lr = 0.001
I1122 02:00:02.1 1 solver.cpp:239] Iteration 20 (2 iter/s, 10s/20 iters), loss = 1.5
I1122 02:00:02.1 1 solver.cpp:347] Iteration 20, Testing net (#0)
I1122 02:00:02.1 1 solver.cpp:414]     Test net output #0: accuracy = 0.25
I1122 02:00:09.1 2 solver.cpp:239] Iteration 20 (2 iter/s, 10s/20 iters), loss = 1.25
"""


def test_log_gives_weighted_terms_and_the_later_of_repeated_iterations():
    log = CaffeLog(LOG.splitlines())
    assert log.train["loss"] == {0: 2.5, 20: 1.25}
    assert log.train["loss_generation"] == {0: 0.5}
    assert log.test == {"accuracy": {20: 0.25}}
    assert (log.iteration, log.loss, log.diverged) == (20, 1.25, False)
    log.read("I1122 02:00:09.1 2 solver.cpp:239] Iteration 40 (2 iter/s, 1s/20 iters), loss = -nan")
    assert log.diverged


def test_failure_prefers_a_python_layers_own_line_to_caffes():
    fatal = "F1122 02:00:00.1 1 data.cpp:9] Check failed: 3 == 4 shapes differ\n"
    stack = "*** Check failure stack trace: ***\n    @ 0x7f  google::LogMessage::Fail()\n"
    assert failure(fatal + stack) == "Check failed: 3 == 4 shapes differ"
    layer = "error: Python layer delta (NormalizedDistance): got 2x3\n"
    assert failure("I1122 x] fine\n" + layer + fatal + stack) == layer[7:].strip()
    assert failure("Killed\n") == "Killed"
    assert failure("") == ""
