"""The paper's tables as experiments: their commands, and one small table from nothing."""

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import pytest

from data_prep.lmdbs import places
from gcnet import models
from gcnet.methods.gcnet import experiments
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT


@pytest.fixture
def scales(tmp_path, monkeypatch):
    """The scales with folders of their own."""
    moved = {
        name: replace(
            scale, data=tmp_path / "data", runs=tmp_path / "runs", weights=tmp_path / "weights"
        )  # fmt: skip
        for name, scale in experiments.SCALES.items()
    }
    monkeypatch.setattr(experiments, "SCALES", moved)
    monkeypatch.setenv("GCNET_FOLDS", str(tmp_path / "folds"))
    monkeypatch.setattr(places, "LMDBS", tmp_path / "folds")
    return moved


@pytest.fixture
def typed(monkeypatch):
    """The commands that an experiment would run, as lists of words."""
    commands = []
    monkeypatch.setattr(experiments, "_do", lambda *words, made=None: commands.append(list(words)))
    monkeypatch.setattr(experiments, "write_results", lambda *arguments: None)
    return commands


def have(scale, *databases):
    for name in databases:
        (scale.data / name / "faces").mkdir(parents=True)
        (scale.data / name / "faces" / "index.csv").write_text("")
        (scale.data / name / "database").mkdir()
        if scale.synthesize:
            options = shlex.join(scale.synthesize[name])
            (scale.data / name / "synthesize.txt").write_text(options)


def option(command, name):
    return command[command.index(name) + 1]


def test_real_databases_that_are_missing_are_all_named(scales, typed):
    have(scales["paper"], "oulu_casia")
    with pytest.raises(InputError) as told:
        experiments.run("table6", "paper")
    for name in ("casia_webface", "ckplus", "mmi", "fer2013", "sfew", "raf_db"):
        assert f"make data DATABASE={name} ROOT=" in str(told.value)
    assert "oulu_casia" not in str(told.value) and not typed


def test_the_papers_table_trains_six_nets_from_their_encoders_for_the_solvers_iterations(
    scales, typed
):
    have(scales["paper"], "ckplus", "casia_webface")
    experiments.run("table3", "paper")
    parts = [command[1] for command in typed if command[0] == "python/pretrain.py"]
    trainings = [command for command in typed if command[0] == "python/train_folds.py"]
    assert parts == ["identity", "autoencoder"]
    assert [option(training, "--net") for training in trainings] == list(models.names())
    typed.clear()
    experiments.run("table3", "paper", ["s1r1"])
    assert [option(command, "--net") for command in typed if "train_folds" in command[0]] == [
        "s1r1"
    ]
    for training in trainings:
        assert option(training, "--classes") == "8" and option(training, "--folds") == "0-9"
        assert "--max-iter" not in training and "--batch" not in training
        start = [path.rsplit("/")[-1] for path in option(training, "--weights").split(",")]
        encoders = ["encoder1.caffemodel", "encoder2.caffemodel"]
        generates = option(training, "--net") not in ("cnn", "mlcnn")
        assert start == (encoders if generates else encoders[1:])


def test_table_6_trains_on_databases_put_together_and_tests_on_others(scales, typed):
    have(scales["synthetic"], "ckplus", "mmi", "oulu_casia", "casia_webface")
    experiments.run("table6", "synthetic")
    made = [command[3] for command in typed if command[2:3] == ["synthesize"]]
    assert made == ["fer2013", "raf_db", "sfew"]
    indexes = [option(command, "--index") for command in typed if "train_folds" in command[0]]
    assert [index.split("/")[-3] for index in indexes] == [
        "ckplus", "ckplus+oulu_casia", "ckplus+mmi+oulu_casia",
    ]  # fmt: skip
    merged = [command for command in typed if command[2:3] == ["merge"]]
    assert [len(command) for command in merged] == [7, 8]


def test_a_longer_training_than_the_papers_is_refused(scales, typed):
    have(scales["paper"], "ckplus", "casia_webface")
    with pytest.raises(InputError, match="give --synthetic or --quick"):
        experiments.run("longer", "paper")
    assert not typed


def test_a_synthetic_database_made_with_other_options_is_not_taken_for_this_one(scales, typed):
    have(scales["quick"], "ckplus")
    changed = replace(scales["quick"], synthesize={"ckplus": ("--subjects", "30")})
    with pytest.raises(InputError, match="ckplus: was not synthesized with --subjects 30; delete"):
        experiments.prepare(changed, ["ckplus"])
    assert not typed


def test_a_command_that_fails_stops_the_experiment(scales, capfd):
    with pytest.raises(InputError, match="stops here: python .*synthesize ckplus .* failed"):
        experiments.prepare(
            replace(scales["quick"], synthesize={"ckplus": ("--subjects", "none")}), ["ckplus"]
        )
    assert "--subjects: give a whole number" in capfd.readouterr().err


@pytest.mark.parametrize(
    "sent, interrupts",
    [
        ([signal.SIGTERM], signal.SIG_IGN),  # as a shell's background job has it
        ([signal.SIGTERM], signal.SIG_DFL),
        ([signal.SIGINT], signal.SIG_DFL),
        ([signal.SIGINT] * 2, signal.SIG_DFL),
    ],
)
def test_a_stop_reaches_the_command_at_work_and_waits_for_it(sent, interrupts, tmp_path):
    started, ended, interrupted = (tmp_path / name for name in ("started", "ended", "interrupted"))
    command = (
        "import time, pathlib\n"
        f"try:\n    pathlib.Path({str(started)!r}).touch(); time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        f"    pathlib.Path({str(interrupted)!r}).touch(); time.sleep({len(sent)} ** 4)\n"
        f"    pathlib.Path({str(ended)!r}).touch()\n"
    )
    code = f"from gcnet.methods.gcnet import experiments; experiments._do('-c', {command!r})"
    path = os.pathsep.join([str(ROOT / "python"), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupts),
    )  # fmt: skip
    for number, before in zip(sent, (started, interrupted), strict=False):
        while not before.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
    process.wait(timeout=12)
    assert ended.exists() == (len(sent) == 1)


@pytest.fixture
def tiny_scale(scales):
    return replace(
        scales["quick"],
        folds="0", max_iter=2, batch=4,
        pretraining=dict.fromkeys(("identity", "autoencoder"), ("--max-iter", "2", "--batch", "4")),
        synthesize={
            "casia_webface": ("--identities", "3", "--images", "12"),
            "ckplus": (
                "--landmarks", "--subjects", "12", "--sequences", "7", "--frames", "4",
            ),
        },
    )  # fmt: skip


def test_from_nothing_to_table_figures_and_report(scales, tiny_scale, monkeypatch, capfd):
    monkeypatch.setitem(scales, "quick", tiny_scale)
    experiments.run("table2", "quick", ["cnn", "s1r1"])
    folder = tiny_scale.runs / "table2"
    printed = capfd.readouterr().out
    assert "GCNet S1R1" in printed and "97.93" in printed and str(folder / "s1r1") in printed
    assert "97.93" in json.dumps(json.loads((folder / "table.json").read_text()))
    for name in ("table.txt", "table.md", "table.tex"):
        assert "GCNet S1R1" in (folder / name).read_text()
    for name in ("courses", "fig4", "fig5", "fig6"):
        assert cv2.imread(str(folder / "figures" / f"{name}.png")) is not None
        assert (folder / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    page = (folder / "report.html").read_text()
    with open(folder / "s1r1" / "predictions.csv", newline="") as file:
        images = len(list(csv.DictReader(file)))
    assert images > 10 and page.count("GCNet S1R1") > 1 and "https://" not in page

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder / "figures")
    experiments.run("table2", "quick", ["cnn", "s1r1"])
    assert "fold 0: finished before" in capfd.readouterr().out
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    changed = [path.name for path in before if before[path] != after[path]]
    assert not changed
