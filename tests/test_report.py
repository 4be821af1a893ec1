"""report.html: self-contained, complete, and escaped."""

import re

import cv2
import numpy as np
import pytest

from gcnet import evaluation, figures, report, runs
from gcnet.caffe_log import CaffeLog

NAMES = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")


def a_run(folder, net="s1r1"):
    settings = runs.Settings(
        net=net, classes="7", max_iter=40, batch=64, index="data/<b>&x/index.csv",
        index_sha256="ab" * 32,
        copies=2, seed=1, engine="bvlc", weights={}, prototxt="prototxt", prototxt_sha256="",
    )  # fmt: skip
    return runs.Run(folder, settings, "python python/train_folds.py --net s1r1", "c0ffee", "today")


def some_results(run):
    generator = np.random.default_rng(5)
    labels = np.repeat(np.arange(7), 3)
    predictions = evaluation.Predictions(
        NAMES,
        [{"subject": "S1", "sequence": str(i // 3)} for i in range(21)],
        np.arange(21) % 2,
        labels,
        generator.dirichlet(np.ones(7), 21),
    )
    return {
        "run": run.name, "net": run.settings.net, "classes": "7", "engine": "bvlc",
        "index": run.settings.index, "each_net_tests_all": False, "unfinished": {2: 10},
        "missing": [3, 4, 5, 6, 7, 8, 9],
        **evaluation.scores(predictions), "paper": {"CK+ 7": 97.93},
    }  # fmt: skip


def some_logs():
    log = CaffeLog()
    for i in (0, 20, 40):
        log.read(f"] Iteration {i} (1 iter/s), loss = {3 - i / 20}")
        log.read(f"    Train net output #0: loss_generation = 9 (* 0.1 = {1 - i / 80} loss)")
    return {0: log, 1: log}


CURVES = {"light": b"light", "dark": b"dark"}


def some_faces(rows):
    columns = [
        {"label": name, "predicted": "fear", "subject": "S1", "probability": 0.5} for name in NAMES
    ]
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (len(NAMES), 64, 1))
    return {"fold": 0, "columns": columns, "rows": {row: ramp for row in rows}}


ROWS = ["input", "generated reference", "reconstructed neutral", "reconstructed input"]


@pytest.fixture
def page(tmp_path):
    run = a_run(tmp_path)
    pairs = [(name, np.zeros((2, 66, 66), np.uint8)) for name in NAMES]
    path = tmp_path / "report.html"
    report.write(path, run, some_results(run), CURVES, some_faces(ROWS), pairs)
    return path.read_text()


def test_nothing_is_loaded_from_elsewhere(page):
    sources = re.findall(r"""(?:src|href|srcset|url)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    assert len(sources) == 2 * 7 + 2 + 4 * 7  # pairs, curves light and dark, Figure 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "<script" not in page and "@import" not in page


def test_everything_is_on_the_page(page):
    for text in [*ROWS, *NAMES, "GCNet S1R1", "engine BVLC Caffe 1.0", "97.93", "IDFERM", "c0ffee"]:
        assert text in page, text
    assert "paper, on the real database" in page
    assert "python python/train_folds.py --net s1r1" in page
    assert "2 of 10 folds" in page
    assert "fold 2 (at iteration 10)" in page
    assert "Not trained: fold 3, 4, 5, 6, 7, 8, 9" in page


def test_names_from_outside_are_escaped(page):
    assert "data/&lt;b&gt;&amp;x/index.csv" in page
    assert "<b>&x" not in page


def test_a_cnn_has_no_generated_rows(tmp_path):
    run = a_run(tmp_path, "cnn")
    assert evaluation.figure4_blobs("cnn") == {} == evaluation.figure4_blobs("mlcnn")
    report.write(
        tmp_path / "r.html", run, some_results(run), CURVES, some_faces(["input"]), None
    )
    page = (tmp_path / "r.html").read_text()
    assert "reconstructed" not in page and "Training pairs" not in page


def test_pictures_come_out_the_same_and_show_their_rows(tmp_path):
    for turn in ("a", "b"):
        figures.rows(some_faces(ROWS), tmp_path / f"rows-{turn}.png")
        (tmp_path / f"curves-{turn}.png").write_bytes(figures.curves(some_logs()))
        figures.confusion(np.eye(7, dtype=int), NAMES, tmp_path / f"confusion-{turn}.png")
    for name in ("rows", "curves", "confusion"):
        first = (tmp_path / f"{name}-a.png").read_bytes()
        assert first == (tmp_path / f"{name}-b.png").read_bytes()
    four = cv2.imread(str(tmp_path / "rows-a.png"))
    figures.rows(some_faces(ROWS[:2]), tmp_path / "two.png")
    two = cv2.imread(str(tmp_path / "two.png"))
    assert 1.6 < four.shape[0] / two.shape[0] < 2
