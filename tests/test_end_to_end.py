"""The commands of the README one after the other, small, with either engine."""

import csv
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import REPOSITORY
from skimage.data import astronaut


def command(*words):
    ended = subprocess.run(
        [sys.executable, *map(str, words)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert ended.returncode == 0, f"{words}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module", autouse=True)
def folds_elsewhere(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GCNET_FOLDS", str(tmp_path_factory.mktemp("folds")))
        yield


@pytest.fixture(scope="module", params=["torch", "bvlc"])
def trained(request, tmp_path_factory, bvlc):
    """A run of S1R1 on a small synthetic CK+, two iterations of fold 0."""
    folder = tmp_path_factory.mktemp("end_to_end")
    database, run = folder / "CK+", folder / "run"
    command("-m", "data_prep", "synthesize", "ckplus", database, "--subjects", 12,
            "--sequences", 7, "--frames", 4, "--landmarks")  # fmt: skip
    command("-m", "data_prep", "index", "ckplus", database, "-o", folder)
    command("-m", "data_prep", "align", folder / "index.csv", "-o", folder / "faces")
    command("python/train_folds.py", "--index", folder / "faces" / "index.csv", "--net", "s1r1",
            "--folds", "0", "--max-iter", 2, "--batch", 4, "--copies", 0, "--run", run,
            "--engine", request.param)  # fmt: skip
    return run


def test_from_a_database_to_a_report(trained):
    printed = command("python/eval_folds.py", trained)
    results = json.loads((trained / "results.json").read_text())
    with open(trained / "predictions.csv", newline="") as file:
        predictions = list(csv.DictReader(file))
    # Fold 0 of 12 subjects: the first and the eleventh.
    assert len({row["subject"] for row in predictions}) == 2
    assert results["frame"]["samples"] == len(predictions) > 0
    assert "97.93" in printed, "the paper's S1R1 on CK+, 7 classes, stands beside ours"
    page = (trained / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 4
    assert "http://" not in page and "https://" not in page
    for picture in ("figure4.png", "confusion.png", "curves.png"):
        assert cv2.imread(str(trained / picture)) is not None


def test_ten_photographs(trained, tmp_path):
    photograph = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)
    photos = tmp_path / "photos"
    photos.mkdir()
    with open(photos / "index.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "subject", "sequence", "frame", "label", "reference"])
        for number in range(10):
            turn = cv2.getRotationMatrix2D((220, 120), 3 * (number - 5), 1 + number / 20)
            name = f"photo {number}.jpg"
            cv2.imwrite(str(photos / name), cv2.warpAffine(photograph, turn, (512, 512)))
            writer.writerow([name, f"person{number % 2}", "", "", "happiness", ""])
    faces = photos / "faces"
    printed = command("-m", "data_prep", "align", photos / "index.csv", "-o", faces)
    assert "10 faces" in printed
    command("-m", "data_prep", "lmdb", faces / "index.csv", "-o", photos / "lmdb",
            "--test-only", "--classes", 7)  # fmt: skip
    command("-m", "data_prep", "check", photos / "lmdb")
    command("python/eval_folds.py", trained, "--index", faces / "index.csv")
    with open(trained / "on-photos" / "predictions.csv", newline="") as file:
        predictions = list(csv.DictReader(file))
    assert [row["label"] for row in predictions] == ["happiness"] * 10
    probabilities = [
        [float(value) for name, value in row.items() if name.startswith("p_")]
        for row in predictions
    ]
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, atol=1e-4)
