"""One command from a database's folder to the LMDBs that training and pre-training read."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from data_prep.__main__ import main
from data_prep.lmdbs import places
from data_prep.synthetic import casia_webface, ckplus, sfew
from data_prep.synthetic.writing import Camera
from gcnet import runs
from gcnet_base.paths import ROOT, sha256

SMALL = Camera(size=(160, 120), people=4)


@pytest.fixture(autouse=True)
def lmdbs(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "LMDBS", tmp_path / "folds")


def test_ten_folds_where_training_looks_for_them(tmp_path, capsys):
    root = tmp_path / "CK+"
    ckplus.write(root, SMALL, workers=1, subjects=20, sequences=7, frames=4, landmarks=True,
                 unlabelled_fraction=0)  # fmt: skip
    command = ["prepare", "ckplus", str(root), "-o", str(tmp_path / "ckplus"), "--workers", "1"]
    assert main(command) == 0
    index = tmp_path / "ckplus" / "faces" / "index.csv"
    settings = runs.complete(runs.Settings(net="cnn", classes="7", index=index))
    run = runs.Run(tmp_path / "run", settings, "", "", "")
    printed = capsys.readouterr().out
    for fold in range(10):
        assert (run.lmdb_folder(fold) / "fold.json").is_file()
        assert f"{run.lmdb_folder(fold)}: written" in printed
    assert main(command) == 0
    again = capsys.readouterr().out
    assert again.count("already built") == 10 and "written (records" not in again


def test_a_database_that_is_only_tested_on(tmp_path, capsys):
    root = tmp_path / "SFEW"
    sfew.write(root, Camera(size=(160, 120), colour=True, people=4), workers=1)
    assert main(["prepare", "sfew", str(root), "-o", str(tmp_path / "sfew")]) == 0
    folder = places.of_test(tmp_path / "sfew" / "faces" / "index.csv", "6+neutral")
    assert (folder / "test" / "data.mdb").is_file() and not (folder / "train").exists()
    assert "eval_folds.py RUN --index" in capsys.readouterr().out


def test_identities_where_pre_training_looks_for_them(tmp_path, capsys):
    root, out = tmp_path / "CASIA-WebFace", tmp_path / "out"
    camera = Camera(size=(96, 96), colour=True, people=2)
    casia_webface.write(root, camera, identities=3, images=12, workers=1)
    command = ["prepare", "casia_webface", str(root), "-o", str(out)]
    assert main(command) == 0
    index = out / "faces" / "index.csv"
    folder = places.of_identities(index, sha256(index), copies=0, seed=1)
    assert (folder / "train" / "data.mdb").is_file() and (folder / "test" / "data.mdb").is_file()
    assert f"pretrain.py autoencoder --index {index}" in capsys.readouterr().out
    assert main(command) == 0 and "already built" in capsys.readouterr().out


def digest(folder):
    """SHA-256 of all files of a folder but the description, which names the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".json"
    }


def start(root, out, lmdbs):
    command = ["prepare", "casia_webface", str(root), "-o", str(out), "--workers", "2"]
    paths = os.pathsep.join(map(str, (ROOT / "python", ROOT)))
    environment = dict(os.environ, PYTHONPATH=paths, GCNET_FOLDS=str(lmdbs))
    return subprocess.Popen(
        [sys.executable, "-m", "data_prep", *command], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def identities(lmdbs):
    """The one folder of LMDBs of identities there."""
    (folder,) = lmdbs.glob("*/identities")
    return folder


def test_a_run_that_is_killed_twice_equals_an_undisturbed_one(tmp_path):
    root = tmp_path / "CASIA-WebFace"
    camera = Camera(size=(120, 120), colour=True, people=6)
    casia_webface.write(root, camera, identities=20, images=150)
    undisturbed = start(root, tmp_path / "a" / "out", tmp_path / "a" / "lmdbs")
    assert undisturbed.wait() == 0, undisturbed.stderr.read()

    out, lmdbs = tmp_path / "b" / "out", tmp_path / "b" / "lmdbs"
    for share in (0.2, 0.7):
        killed = start(root, out, lmdbs)
        wanted = share * 150
        while killed.poll() is None and len(list(out.rglob("faces/images/*/*.png"))) < wanted:
            time.sleep(0.02)
        assert killed.poll() is None, "it ended before it could be killed"
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    last = start(root, out, lmdbs)
    assert last.wait() == 0, last.stderr.read()
    assert digest(identities(tmp_path / "a" / "lmdbs")) == digest(identities(lmdbs))
    assert digest(tmp_path / "a" / "out" / "faces" / "images") == digest(out / "faces" / "images")
    for name in ("index.csv", "faces/index.csv"):
        mine, theirs = ((tmp_path / where / "out" / name).read_text() for where in "ab")
        assert mine == theirs
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["lmdbs", "out"]


@pytest.mark.parametrize(
    "command",
    [
        ["synthesize", "oulu_casia", "out", "--sequences", "2"],
        ["prepare", "fer2013", "root", "-o", "out", "--apex", "3"],
        ["align", "index.csv", "-o", "out", "--fold", "0"],
    ],
)
def test_an_unknown_option_shows_the_options_of_the_command_that_was_typed(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(command)
    error = capsys.readouterr().err
    assert f"unrecognized arguments: {' '.join(command[-2:])}" in error
    typed = " ".join(command[: 1 if command[0] == "align" else 2])
    assert error.startswith(f"usage: python -m data_prep {typed} [-h]")


def test_check_takes_several_folders(tmp_path, capsys):
    root = tmp_path / "CASIA-WebFace"
    casia_webface.write(root, Camera(size=(96, 96), colour=True, people=2), identities=3,
                        images=12, workers=1)  # fmt: skip
    assert main(["prepare", "casia_webface", str(root), "-o", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    folder = str(identities(places.LMDBS))
    assert main(["check", folder, folder]) == 0
    assert capsys.readouterr().out.count("equal to the faces") == 2
