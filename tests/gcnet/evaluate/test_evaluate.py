"""Evaluation: numbers against hand-counted ones and against Caffe's own test of the same net."""

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tiny

from data_prep.lmdbs import contents, places
from gcnet import engine, models, published, runs
from gcnet.evaluate import evaluated, scores, testing
from gcnet.report import of_runs
from gcnet.train import fold_lmdbs
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, portable, sha256

NAMES = ("anger", "fear", "neutral")


def predictions():
    """Two folds, three classes, hand-made.

    fold 0, subject a, sequence 1: two frames of anger, one taken for fear (0.4 against 0.6), the
            other sure (0.9): by frame 1 of 2, by sequence (mean 0.65) right;
            its neutral first frame, taken for fear: a sample of its own, wrong in both counts
    fold 1, subject b, sequence 1 (the same name): a frame of fear, right
    """
    rows = [
        (0, "a", "1", 2, (0.1, 0.8, 0.1)),
        (0, "a", "1", 0, (0.4, 0.6, 0.0)),
        (0, "a", "1", 0, (0.9, 0.1, 0.0)),
        (1, "b", "1", 1, (0.2, 0.7, 0.1)),
    ]
    return evaluated.Predictions(
        NAMES,
        [{"subject": subject, "sequence": sequence} for _, subject, sequence, _, _ in rows],
        np.array([row[0] for row in rows]),
        np.array([row[3] for row in rows]),
        np.array([row[4] for row in rows]),
    )


def test_scores_are_the_hand_counted_ones():
    numbers = scores.scores(predictions())
    assert numbers["folds"] == {
        0: {
            "frame": {"accuracy": pytest.approx(100 / 3), "samples": 3},
            "sequence": {"accuracy": 50.0, "samples": 2},
        },
        1: {
            "frame": {"accuracy": 100.0, "samples": 1},
            "sequence": {"accuracy": 100.0, "samples": 1},
        },
    }
    frame, sequence = numbers["frame"], numbers["sequence"]
    assert frame["mean"] == pytest.approx((100 / 3 + 100) / 2)
    assert frame["deviation"] == pytest.approx((100 - 100 / 3) / math.sqrt(2))
    assert (frame["pooled"], frame["samples"]) == (50.0, 4)
    assert sequence["mean"] == 75.0
    assert sequence["deviation"] == pytest.approx(50 / math.sqrt(2))
    assert (sequence["pooled"], sequence["samples"]) == (pytest.approx(200 / 3), 3)
    assert numbers["recall"] == {"anger": 50.0, "fear": 100.0, "neutral": 0.0}
    assert numbers["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert numbers["chance"] == pytest.approx(100 / 3)
    assert numbers["largest_class"] == 50.0


def test_a_class_without_test_images_has_no_recall_and_one_fold_no_deviation():
    everything = predictions()
    first = evaluated.Predictions(
        NAMES, everything.records[:1], *(array[:1] for array in (
            everything.folds, everything.labels, everything.probabilities
        ))
    )  # fmt: skip
    numbers = scores.scores(first)
    assert numbers["recall"] == {"anger": None, "fear": None, "neutral": 0.0}
    assert numbers["frame"]["deviation"] is None


def test_the_papers_number_is_that_of_the_cell():
    assert published.accuracies(models.get("s1r1").published, "7", "ckplus") == {"CK+ 7": 97.93}
    assert published.accuracies(models.get("s1r1").published, "8", "ckplus") == {"CK+ 8": 97.28}
    assert published.accuracies(models.get("cnn").published, "6", "mmi") == {"MMI": 77.68}
    assert published.accuracies(models.get("cnn").published, "6", "demo") == {
        "MMI": 77.68,
        "Oulu-CASIA": 83.96,
    }
    assert published.accuracies(models.get("mlcnn").published, "7", "ckplus") == {"CK+ 7": None}
    assert published.accuracies(models.get("s1r1").published, "6", "ckplus") == {}


@pytest.fixture(scope="module")
def trained(bvlc, tmp_path_factory):
    """S1R1 trained for 2 iterations on fold 0, and evaluated: (Run, results)."""
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "LMDBS", folder / "lmdbs")
        patch.setenv("GCNET_FOLDS", str(folder / "lmdbs"))  # of the commands
        index = tiny.write_database(folder / "tiny" / "faces")
        nets = tiny.write_prototxt(folder / "prototxt", "gcnet")
        run = tiny.train(folder / "run", index, "s1r1", nets)
        tested = of_runs.evaluate(run)
        assert tested.folder == run.folder
        yield run, tested.results


def read_predictions(run):
    with open(run.folder / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_are_of_the_test_subjects_and_make_the_results(trained):
    run, results = trained
    rows = read_predictions(run)
    assert {(row["subject"], row["fold"]) for row in rows} == {("S00", "0"), ("S10", "0")}
    assert len(rows) == 14
    correct = 0
    for row in rows:
        probabilities = {name: float(row[f"p_{name}"]) for name in run.class_names}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(probabilities, key=probabilities.get)
        correct += row["predicted"] == row["label"]
    written = json.loads((run.folder / "results.json").read_text())
    assert written["frame"]["pooled"] == pytest.approx(100 * correct / 14)
    assert written["missing"] == list(range(1, 10))
    assert written["paper"] == {"CK+ 7": 97.93}
    assert of_runs.coverage(results)[0].startswith("1 of 10 folds; not trained: 1, 2, 3")


def test_the_result_is_that_of_caffe_test(trained):
    """Crop, scale, labels and weights are those of Caffe's TEST phase: equal loss and accuracy."""
    run, results = trained
    caffe = engine.find()
    done = subprocess.run(
        [*caffe.caffe, "test", "-model", run.fold_folder(0) / "net.prototxt", "-weights",
         run.final_caffemodel(0), "-iterations", "2"],
        env=caffe.environment(), cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    reported = dict(re.findall(r"\] (accuracy|loss_classification) = (\S+)", done.stderr))
    # Two batches of 7 are the 14 test images; Caffe prints the mean over them last.
    loss = -np.mean([math.log(float(row[f"p_{row['label']}"])) for row in read_predictions(run)])
    assert float(reported["loss_classification"]) == pytest.approx(loss, rel=1e-4)
    assert 100 * float(reported["accuracy"]) == pytest.approx(results["frame"]["pooled"], abs=1e-3)


def test_photographs_are_tested_by_every_finished_fold(trained, tmp_path):
    run, _ = trained
    photos = tiny.write_database(tmp_path / "photos" / "faces", seed=3)
    lines = photos.read_text().splitlines(keepends=True)
    photos.write_text("".join(lines[:4]) + "S00_surprise.png,S00,,,surprise,\n")
    tested = of_runs.evaluate(run, photos)
    results = tested.results
    assert tested.folder == run.folder / "on-photos"
    assert (tested.folder / "report.html").is_file()
    assert results["frame"]["samples"] == 4 - 1  # the neutral one is none of 7 classes
    assert results["paper"] == {}
    with pytest.raises(InputError, match="is what .* was trained on"):
        of_runs.evaluate(run, ROOT / run.settings.index)


@pytest.fixture
def copied(trained, tmp_path):
    run, _ = trained
    shutil.copytree(run.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("on-*"))
    return runs.load(tmp_path / "copy")


def test_the_command_tells_a_truncated_caffemodel_in_one_line(copied):
    model = copied.final_caffemodel(0)
    os.truncate(model, model.stat().st_size // 2)
    before = (copied.folder / "results.json").read_bytes()
    done = subprocess.run(
        [sys.executable, ROOT / "python" / "eval_folds.py", copied.folder],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    told = "is not the snapshot that training ended with; restore it, or delete"
    assert done.stderr.startswith(f"error: {portable(model)}: {told}")
    assert done.stderr.count("\n") == 1
    assert (copied.folder / "results.json").read_bytes() == before


def test_mlcnn_needs_references_of_its_test_faces(trained):
    run, _ = trained
    with pytest.raises(InputError, match="a.png: has no reference, which .* compares it with"):
        testing._check_references(run, [{"image": "a.png", "reference": ""}])


def test_a_damaged_fold_json_is_told(copied):
    recorded = copied.fold_folder(0) / "fold.json"
    recorded.write_text(recorded.read_text()[:40])
    with pytest.raises(InputError, match="fold.json: not readable"):
        of_runs.evaluate(copied)


def test_a_caffemodel_of_another_number_of_classes_is_told(copied):
    deploy = copied.fold_folder(0) / "deploy.prototxt"
    path = "inner_product_param.num_output"
    tiny.set_value(deploy, path, 8, "classifier/fc2")
    with pytest.raises(InputError, match=r"classifier/fc2 is 7x384 \+ 7, expected 8x384 \+ 8"):
        of_runs.evaluate(copied)


def test_unfinished_and_missing_folds_are_told(copied):
    (copied.fold_folder(0) / "finished.json").unlink()
    with pytest.raises(InputError, match="no fold is finished"):
        of_runs.evaluate(copied)
    assert testing._unfinished(copied) == {0: 2}


def test_lost_lmdbs_are_built_again(trained, copied, monkeypatch, tmp_path):
    monkeypatch.setattr(places, "LMDBS", tmp_path / "elsewhere")
    results = of_runs.evaluate(copied).results
    assert results["confusion"] == trained[1]["confusion"]


@pytest.mark.parametrize("size", [0, 8192])
def test_damaged_lmdbs_are_built_again(copied, monkeypatch, tmp_path, size):
    shutil.copytree(places.LMDBS, tmp_path / "damaged")
    monkeypatch.setattr(places, "LMDBS", tmp_path / "damaged")
    for part in ("train", "test"):
        os.truncate(copied.lmdb_folder(0) / part / "data.mdb", size)
    contents.check(testing._own_lmdb(copied, 0))


def test_changed_faces_and_a_changed_index_are_told(copied, monkeypatch, tmp_path):
    recorded = copied.fold_folder(0) / "fold.json"
    content = json.loads(recorded.read_text())
    content["inputs"]["seed"] = 99
    recorded.write_text(json.dumps(content))
    with pytest.raises(InputError, match="its data are of seed 99, but of 1 by run.json"):
        of_runs.evaluate(copied)
    content["inputs"] |= {"seed": 1, "faces_sha256": "other"}
    recorded.write_text(json.dumps(content))
    with pytest.raises(InputError, match="the faces of .* have changed since this fold was star"):
        of_runs.evaluate(copied)
    monkeypatch.setattr(places, "LMDBS", tmp_path / "nowhere")
    real = sha256
    monkeypatch.setattr(
        fold_lmdbs, "sha256", lambda path: "other" if path.name == "index.csv" else real(path)
    )
    with pytest.raises(InputError, match="index.csv: is gone or changed since"):
        of_runs.evaluate(copied)


def test_the_command_tells_a_folder_that_is_no_run_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "python" / "eval_folds.py", tmp_path],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}: no run folder (run.json is missing)\n"


def test_outputs_are_of_the_test_images(trained):
    run, results = trained
    tested = evaluated.load(run)
    assert tested.results == results
    index = ROOT / run.settings.index
    for i, record in enumerate(tested.predictions.records):
        face = cv2.imread(str(index.parent / record["image"]), cv2.IMREAD_GRAYSCALE)
        assert (tested.inputs[i] == face[1:65, 1:65]).all()
    assert tested.generated.shape == (14, 64, 64) and tested.generated.dtype == np.uint8
    assert np.ptp(tested.generated) > 0
    assert tested.features.shape == (14, 384) and tested.features.dtype == np.float32
    assert tested.features.min() == 0, "after the ReLU"
    assert (np.ptp(tested.features, axis=1) > 0).all()


def test_evaluating_again_gives_the_same_bytes_and_json_is_alone_on_standard_output(copied):
    names = ("predictions.csv", "outputs.npz", "confusion.png", "curves.png")
    before = [(copied.folder / name).read_bytes() for name in names]
    (copied.folder / "report.html").unlink()
    done = subprocess.run(
        [sys.executable, ROOT / "python" / "eval_folds.py", copied.folder, "--json"],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "written to" in done.stderr and "95 %" in done.stderr
    accuracy, recall = json.loads(done.stdout)
    assert accuracy["rows"][0]["run"] == copied.name
    assert before == [(copied.folder / name).read_bytes() for name in names]
    assert (copied.folder / "report.html").is_file()
    results = json.loads((copied.folder / "results.json").read_text())
    assert "eval_folds.py" in results["command"] and results["command"].endswith("--json")


def edit_json(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


def mark_finished(run, fold):
    run.trained(fold).mark_finished()


def another_fold(run, **inputs):
    """A fold 1 that is a copy of fold 0, as if trained on those data."""
    shutil.copytree(run.fold_folder(0), run.fold_folder(1))
    path = run.fold_folder(1) / "fold.json"
    content = json.loads(path.read_text())
    content["inputs"] |= {"fold": 1, **inputs}
    path.write_text(json.dumps(content))


def trained_again(run):
    with open(run.final_caffemodel(0), "ab") as file:
        file.write(b"more")
    mark_finished(run, 0)


def changed(name):
    def change(run):
        with open(run.folder / name, "ab") as file:
            file.write(b"\n")

    return change


def missing(name):
    return lambda run: (run.folder / name).unlink()


BELONGING = {
    "no results": (missing("results.json"), "copy: is not evaluated"),
    "cut results": (lambda run: os.truncate(run.folder / "results.json", 40), "not readable with"),
    "other predictions": (changed("predictions.csv"), "csv: is not the one that results.json"),
    "other outputs": (changed("outputs.npz"), "npz: is not the one that results.json counts"),
    "no outputs": (missing("outputs.npz"), "outputs.npz: is missing"),
    "another database": (
        lambda run: edit_json(run.folder / "results.json", index_sha256="0", index="data/mmi.csv"),
        "its predictions are of another database \\(data/mmi.csv, ",
    ),
    "trained again": (trained_again, "fold 0 was trained again since"),
    "finished later": (another_fold, "fold 1 was finished later"),
}


@pytest.mark.parametrize("change, told", BELONGING.values(), ids=BELONGING)
def test_results_that_are_not_of_this_training_are_told_with_the_remedy(copied, change, told):
    change(copied)
    with pytest.raises(InputError, match=told) as caught:
        evaluated.load(copied)
    assert str(caught.value).endswith(f"run `python python/eval_folds.py {copied.name}`")


FOLD = {
    "older than its solver": (
        changed("fold0/solver.prototxt"),
        "solver.prototxt: has changed since snapshot_iter_2.caffemodel was trained with it; ",
    ),
    "older than its net": (changed("fold0/net.prototxt"), "net.prototxt: has changed since"),
    "another snapshot": (changed("fold0/snapshot_iter_2.caffemodel"), "not the snapshot that"),
    "no snapshot": (missing("fold0/snapshot_iter_2.caffemodel"), "is missing; train fold 0 again"),
    "finished.json of old": (
        lambda run: (run.fold_folder(0) / "finished.json").write_text('{"iteration": 2}'),
        "finished.json: does not say what was trained .*; train the fold again",
    ),
}


@pytest.mark.parametrize("change, told", FOLD.values(), ids=FOLD)
def test_a_fold_whose_files_do_not_belong_together_is_told(copied, change, told):
    change(copied)
    for function in (evaluated.load, of_runs.evaluate):
        with pytest.raises(InputError, match=told):
            function(copied)


@pytest.mark.parametrize(
    "name, layer, path, value, told",
    [
        ("solver", None, "base_lr", 0.5, "solver.*, base_lr is 0.001 in fold 0 and 0.5 in fold 1"),
        ("net", "loss_contrastive", "loss_weight", 7,
         r"net.prototxt, layer loss_contrastive, loss_weight is 1 in fold 0 and 7 in fold 1"),
        ("deploy", "classifier/fc1", "inner_product_param.num_output", 9, "is 384 in fold 0 and 9"),
    ],
)  # fmt: skip
def test_folds_of_different_settings_are_told(copied, name, layer, path, value, told):
    another_fold(copied)
    file = copied.fold_folder(1) / f"{name}.prototxt"
    tiny.set_value(file, path, value, layer)
    mark_finished(copied, 1)
    with pytest.raises(InputError, match=told):
        of_runs.evaluate(copied)


def test_the_paths_of_a_fold_are_no_settings(copied):
    another_fold(copied)
    solver = copied.fold_folder(1) / "solver.prototxt"
    for path, value in (("net", "x"), ("snapshot_prefix", "x"), ("test_iter", 1)):
        tiny.set_value(solver, path, value)
    net = copied.fold_folder(1) / "net.prototxt"
    tiny.set_value(net, "data_param.source", "x", "data", "TRAIN")
    mark_finished(copied, 1)
    evaluated.check_folds(copied)


def test_folds_of_other_data_are_told(copied):
    another_fold(copied, faces_sha256="other")
    with pytest.raises(InputError, match="fold.json, faces_sha256 is .* and other in fold 1"):
        evaluated.check_folds(copied)
    shutil.rmtree(copied.fold_folder(1))
    another_fold(copied, fold=0)
    with pytest.raises(InputError, match="fold1/fold.json: its data are of fold 0, but of 1"):
        evaluated.check_folds(copied)


@pytest.fixture
def all_runs(trained, copied, monkeypatch):
    """Put `copied` into runs.RUNS; returns the names of the runs that are evaluated from now on."""
    calls = []

    def evaluate(run, index=None):
        calls.append(run.name)
        return evaluated.load(trained[0])

    monkeypatch.setattr(runs, "RUNS", copied.folder.parent)
    monkeypatch.setattr(of_runs, "evaluate", evaluate)
    return calls


def test_without_a_run_only_what_is_not_up_to_date_is_evaluated(copied, all_runs, capsys):
    assert of_runs.evaluate_all([])
    said = capsys.readouterr().out
    assert all_runs == []
    assert said.startswith("Accuracy in per cent") and copied.name in said and "97.93" in said
    (copied.folder / "report.html").unlink()
    assert of_runs.evaluate_all([])
    assert all_runs == [], "its numbers are whole"
    assert (copied.folder / "report.html").is_file(), "drawn again"
    capsys.readouterr()
    (copied.folder / "results.json").unlink()
    assert of_runs.evaluate_all([])
    assert all_runs == [copied.name]
    said = capsys.readouterr().out
    assert "paper, on the real database CK+ 7: 97.93 %" in said
    assert re.search(r"^mean +[\d.]+ % +[\d.]+ %$", said, re.MULTILINE)
    trained_again(copied)
    of_runs.evaluate_all([])
    of_runs.evaluate_all([copied.folder])
    assert len(all_runs) == 3


def test_an_index_that_is_not_there_is_told_once(copied, tmp_path):
    with pytest.raises(InputError, match="gone.csv: no such file; give the index.csv of aligned"):
        of_runs.evaluate_all([copied.folder], tmp_path / "gone.csv")


def test_without_a_run_those_in_subfolders_are_found_and_unfinished_and_broken_ones_told(
    copied, all_runs, capsys
):
    places = runs.RUNS
    for place in ("empty", "table2/s1r1", "readings/one", "table2/s1r1/figures/fig11/1"):
        (places / place).mkdir(parents=True)
        shutil.copy(copied.folder / "run.json", places / place)
    assert of_runs.run_folders() == [copied.folder, places / "empty", places / "table2" / "s1r1"]
    (places / "empty" / "run.json").write_text("{")
    assert not of_runs.evaluate_all([], form="latex")
    said = capsys.readouterr()
    assert f"error: {places}/empty/run.json: not readable" in said.err
    assert f"{portable(places / 'table2' / 's1r1')}: no fold is finished, left out" in said.err
    assert said.out.startswith(r"\begin{table}")


def test_numbers_that_were_changed_are_told(copied):
    results = json.loads((copied.folder / "results.json").read_text())
    edit_json(copied.folder / "results.json", frame={**results["frame"], "mean": 99.9})
    with pytest.raises(InputError, match="results.json: is not as it was written; run"):
        evaluated.load(copied)


def test_without_a_run_tests_on_other_databases_are_shown_too(
    trained, copied, all_runs, capsys, tmp_path
):
    on = copied.folder / "on-photos"
    on.mkdir()
    for name in ("predictions.csv", "outputs.npz", "results.json", "report.html"):
        shutil.copy(copied.folder / name, on)
    photos = tmp_path / "photos" / "index.csv"
    photos.parent.mkdir()
    photos.write_text("image\n")
    edit_json(
        on / "results.json", index=str(photos), index_sha256=sha256(photos),
        each_net_tests_all=True,
    )  # fmt: skip
    results = json.loads((on / "results.json").read_text())
    edit_json(on / "results.json", digest=evaluated._digest(results))
    assert of_runs.evaluate_all([])
    assert "on photos" in capsys.readouterr().out
    assert all_runs == []
    photos.unlink()
    with pytest.raises(InputError, match="photos/index.csv: is gone; restore it, or delete"):
        evaluated.load(copied, photos)


def test_generated_references_are_measured_against_the_real_ones_and_the_unchanged_input():
    images = np.zeros((3, 64, 64), np.uint8)
    references = images.copy()
    references[:2] = 128
    generated = np.zeros((3, 1, 64, 64), np.float32)
    generated[0] = 0.5
    generated[2] = 9  # its own reference: says nothing about generation
    tested = testing._Tested(0, [], images, references, np.zeros(3), {"generated": generated})
    half = 0.5 * 64 * 64 * 0.25  # of a face that is wrong by 0.5 everywhere
    gcnet, cnn = models.get("s1r1"), models.get("cnn")
    assert testing._generation(gcnet, [tested]) == {"generated": half / 2, "unchanged": half}
    own = testing._Tested(0, [], images, images, np.zeros(3), {"generated": generated})
    assert testing._generation(gcnet, [own]) is None
    nothing = testing._Tested(0, [], images, images, np.zeros(3), {})
    assert testing._generation(cnn, [nothing]) is None
