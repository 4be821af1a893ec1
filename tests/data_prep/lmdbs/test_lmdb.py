"""The fold LMDBs: what is in them, who may be in them, and what a mistake leads to."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import cv2
import lmdb
import numpy as np
import pytest

from data_prep import FACE_SIZE, index
from data_prep.__main__ import main
from data_prep.lmdbs import augment, build, contents
from data_prep.lmdbs.records import (
    FACE_SHAPE,
    PAIR_SHAPE,
    open_pairs,
    read_pairs,
    read_records,
    write_pairs,
)
from gcnet_base.atomic import replacing_folder
from gcnet_base.errors import InputError
from gcnet_base.protocol import CLASSES, EXPRESSIONS, folds

SUBJECTS = [f"S{number}" for number in range(1, 21)]


def faces(folder, rows):
    """Rows written as an index, each face a 66x66 image of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(rows))
    for row in rows:
        pixels = random.integers(0, 256, (FACE_SIZE, FACE_SIZE), np.uint8)
        cv2.imwrite(str(folder / row.image), pixels)
    index.write(folder / "index.csv", rows)
    return folder / "index.csv"


def sequences(subjects=SUBJECTS):
    """A sequence of every expression for everybody: neutral, between, apex."""
    rows = []
    for subject in subjects:
        for name in EXPRESSIONS:
            sequence = f"{subject}_{name}"
            for frame, label in enumerate(("neutral", "", name)):
                image, reference = f"{sequence}_{frame}.png", f"{sequence}_0.png"
                rows.append(index.Row(image, subject, sequence, str(frame), label, reference))
    return rows


@pytest.fixture(scope="module")
def index_path(tmp_path_factory):
    return faces(tmp_path_factory.mktemp("faces"), sequences())


def run_lmdb(index_path, out, *options):
    """Exit status of the command for fold 3, 7 classes and one copy, or as in `options`."""
    defaults = ["--fold", "3", "--classes", "7", "--copies", "1"]
    command = ["lmdb", str(index_path), "-o", str(out), *(options or defaults)]
    return main(command)


def pixels(index_path, image):
    return cv2.imread(str(index_path.parent / image), cv2.IMREAD_UNCHANGED)


def content(folder):
    """{name: bytes} of the folder beside which nothing else may be left."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_pairs_come_back_as_they_went_in(tmp_path):
    seed = int(os.environ["TEST_SEED"])
    print("seed", seed)
    random = np.random.default_rng(seed)
    # More than the 16 MB that the LMDB's map has at first.
    pairs = random.integers(0, 256, (2300, *PAIR_SHAPE), np.uint8)
    labels = random.integers(0, 8, len(pairs))
    write_pairs(tmp_path / "pairs", zip(pairs, labels, strict=True))
    assert (tmp_path / "pairs" / "data.mdb").stat().st_size > 1 << 24

    found, found_labels = read_pairs(tmp_path / "pairs")

    assert (found == pairs).all()
    assert (found_labels == labels).all()
    with open_pairs(tmp_path / "pairs") as database, database.begin() as transaction:
        keys = [key.decode() for key in transaction.cursor().iternext(values=False)]
    assert keys == [f"{number:08d}" for number in range(2300)]


def test_record_is_caffes_datum_byte_by_byte(tmp_path):
    pair = np.arange(2 * 66 * 66, dtype=np.uint32).astype(np.uint8).reshape(PAIR_SHAPE)
    write_pairs(tmp_path / "pairs", [(pair, 5)])
    with open_pairs(tmp_path / "pairs") as database, database.begin() as transaction:
        value = transaction.get(b"00000000")
    # Fields 1 to 5 (tag = number << 3 | type): channels, height, width, data with length, label.
    head = bytes([1 << 3, 2, 2 << 3, 66, 3 << 3, 66, 4 << 3 | 2, 8712 & 127 | 128, 8712 >> 7])
    assert value == head + pair.tobytes() + bytes([5 << 3, 5])


IN_CAFFE = """
import sys
import caffe
import numpy as np
net = caffe.Net(sys.argv[1], caffe.TEST)
net.forward()
np.savez(sys.argv[2], pair=net.blobs["pair"].data, label=net.blobs["label"].data)
"""


def test_caffes_data_layer_reads_the_same(tmp_path, index_path, bvlc):
    out = tmp_path / "lmdb"
    assert run_lmdb(index_path, out) == 0
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "data" type: "Data" top: "pair" top: "label" '
        "transform_param { crop_size: 64 } "
        f'data_param {{ source: "{out}/test" batch_size: 14 backend: LMDB }} }}'
    )
    command = [bvlc / "bin/python3", "-c", IN_CAFFE, net, tmp_path / "read.npz"]
    environment = {**os.environ, "GLOG_minloglevel": "2"}
    subprocess.run(command, check=True, env=environment)
    pairs, labels = read_pairs(out / "test")
    seen = np.load(tmp_path / "read.npz")
    assert (seen["pair"] == pairs[:, :, 1:-1, 1:-1]).all()
    assert (seen["label"] == labels).all()
    # The lock file that Caffe leaves beside the data is no reason to build again.
    assert main(["check", str(out)]) == 0


def test_fold_of_the_paper(tmp_path, index_path, capsys):
    out = tmp_path / "lmdb"
    assert run_lmdb(index_path, out) == 0
    description = json.loads((out / "fold.json").read_text())
    test_subjects = folds(SUBJECTS)[3]
    assert test_subjects == ["S4", "S14"]
    assert set(description["test"]["subjects"]) == set(test_subjects)
    assert set(description["train"]["subjects"]) == set(SUBJECTS) - set(test_subjects)

    names = CLASSES["7"]
    for part, samples in (("train", 18 * 7), ("test", 2 * 7)):
        rows = contents.read_table(out, part)
        pairs, labels = read_pairs(out / part)
        copies = 2 if part == "train" else 1
        assert len(rows) == len(pairs) == samples * copies
        assert description[part]["records"] == len(rows)
        assert Counter(row["label"] for row in rows) == dict.fromkeys(names, samples // 7 * copies)
        assert [names[label] for label in labels] == [row["label"] for row in rows]
        for row, pair in zip(rows, pairs, strict=True):
            face, reference = (pixels(index_path, row[name]) for name in ("image", "reference"))
            assert row["reference"] == row["image"].replace("_2.png", "_0.png")
            expected = np.stack([face, reference])
            if row["copy"] != "0":
                drawn = augment.draw(0, f"{row['image']}\n{row['copy']}")
                expected = augment.apply(drawn, expected)
            assert (pair == expected).all()
    assert "train: 252 pairs of 18 subjects" in capsys.readouterr().out


def test_training_pairs_are_shuffled_and_test_pairs_not(tmp_path, index_path):
    for seed in "0", "1":
        options = ["--fold", "3", "--classes", "7", "--copies", "1", "--seed", seed]
        assert run_lmdb(index_path, tmp_path / seed, *options) == 0
    train = {seed: contents.read_table(tmp_path / seed, "train") for seed in "01"}
    test = contents.read_table(tmp_path / "0", "test")

    assert [row["image"] for row in train["0"]] != [row["image"] for row in train["1"]]
    runs = sum(a["label"] == b["label"] for a, b in zip(train["0"], train["0"][1:], strict=False))
    assert runs < 252 / 7 * 2
    assert [r["image"] for r in test] == [
        row.image
        for row in index.read(index_path).rows
        if row.subject in ("S4", "S14") and row.label in EXPRESSIONS
    ]
    first, second = ((tmp_path / seed / "test/data.mdb").read_bytes() for seed in "01")
    assert first == second


@pytest.mark.parametrize(("classes", "each"), [("6", 12), ("6+neutral", 26), ("7", 14), ("8", 28)])
def test_classes(tmp_path, index_path, classes, each):
    out = tmp_path / "lmdb"
    assert run_lmdb(index_path, out, "--fold", "0", "--classes", classes, "--copies", "0") == 0
    _, labels = read_pairs(out / "test")
    assert len(labels) == each
    assert set(labels) == set(range(len(CLASSES[classes])))
    rows = contents.read_table(out, "test")
    assert {row["label"]: int(row["class_id"]) for row in rows} == {
        name: number for number, name in enumerate(CLASSES[classes])
    }
    # A neutral face is compared with itself: it is the reference of its sequence.
    assert all(r["image"] == r["reference"] for r in rows if r["label"] == "neutral")


def test_same_inputs_are_not_built_again(tmp_path, capsys):
    rows = sequences()
    path = faces(tmp_path / "faces", rows)
    out = tmp_path / "lmdb"
    assert run_lmdb(path, out) == 0
    stamp = (out / "train/data.mdb").stat().st_mtime_ns
    before = content(out)
    assert run_lmdb(path, out) == 0
    assert "already built from the same inputs" in capsys.readouterr().out
    assert (out / "train/data.mdb").stat().st_mtime_ns == stamp

    # Another seed, a changed face, or a damaged LMDB.
    options = ["--fold", "3", "--classes", "7", "--copies", "1"]
    assert run_lmdb(path, out, *options, "--seed", "5") == 0
    assert content(out) != before
    assert run_lmdb(path, out) == 0
    assert content(out) == before
    cv2.imwrite(str(path.parent / rows[2].image), np.zeros((FACE_SIZE, FACE_SIZE), np.uint8))
    assert run_lmdb(path, out) == 0
    assert content(out) != before
    before = content(out)
    os.truncate(out / "train/data.mdb", 8192)
    assert run_lmdb(path, out) == 0
    assert content(out) == before
    # What a killed build with other options left, which nobody repeats.
    (tmp_path / ".lmdb.abcdefgh" / "lmdb").mkdir(parents=True)
    (tmp_path / ".lmdb.abcdefgh" / "writing.lock").touch()
    assert run_lmdb(path, out) == 0
    assert sorted(os.listdir(tmp_path)) == ["faces", "lmdb"]


def test_photographs_without_reference_can_be_tested_only(tmp_path, capsys):
    rows = [
        index.Row(f"{n}.png", subject, label=label)
        for n, (subject, label) in enumerate(
            [("Ann", "happiness"), ("Ann", ""), ("Bob", "fear"), ("Bob", "neutral")]
        )
    ]
    path = faces(tmp_path / "faces", rows)
    out = tmp_path / "lmdb"
    assert run_lmdb(path, out, "--test-only", "--classes", "7") == 0
    assert main(["check", str(out)]) == 0
    assert "whole (test 2 pairs)" in capsys.readouterr().out

    pairs, labels = read_pairs(out / "test")
    assert labels.tolist() == [EXPRESSIONS.index("happiness"), EXPRESSIONS.index("fear")]
    assert (pairs[:, 0] == pairs[:, 1]).all()
    assert (pairs[1, 0] == pixels(path, "2.png")).all()
    assert not (out / "train").exists()
    records = contents.read_table(out, "test")
    assert [record["sequence"] for record in records] == ["0.png", "2.png"]

    assert run_lmdb(path, tmp_path / "fold", "--fold", "0", "--classes", "7") == 1
    assert "10 folds need at least 10 subjects, here are 2" in capsys.readouterr().err


def refused(capsys, status, *parts):
    assert status == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    for part in parts:
        assert str(part) in error, error


def test_class_without_training_sample(tmp_path, capsys):
    # Only S4 and S14, the test subjects of fold 3, show contempt.
    rows = [
        row for row in sequences() if "contempt" not in row.sequence or row.subject in ("S4", "S14")
    ]
    path = faces(tmp_path / "faces", rows)
    out = tmp_path / "lmdb"
    refused(capsys, run_lmdb(path, out), path, "fold 3", "contempt", "--classes")
    assert os.listdir(tmp_path) == ["faces"]
    assert run_lmdb(path, out, "--fold", "2", "--classes", "7", "--copies", "0") == 0
    before = content(out)
    refused(capsys, run_lmdb(path, out), "contempt")
    assert content(out) == before


def test_training_face_without_reference(tmp_path, capsys):
    rows = sequences()
    rows[2] = index.Row("S1_anger_2.png", "S1", "S1_anger", "2", "anger")
    path = faces(tmp_path / "faces", rows)
    refused(capsys, run_lmdb(path, tmp_path / "lmdb"), f"{path}, line 4", "S1_anger_2.png")
    # In the fold that tests S1 it is its own reference.
    out = tmp_path / "lmdb"
    assert run_lmdb(path, out, "--fold", "0", "--classes", "7", "--copies", "0") == 0
    assert contents.read_table(out, "test")[0]["reference"] == ""
    pairs, _ = read_pairs(out / "test")
    assert (pairs[0, 0] == pairs[0, 1]).all()


def test_image_that_is_no_aligned_face(tmp_path, capfd):
    path = faces(tmp_path / "faces", sequences())
    for spoil in (
        lambda file: cv2.imwrite(str(file), np.zeros((100, 66), np.uint8)),
        lambda file: cv2.imwrite(str(file), np.zeros((66, 66, 3), np.uint8)),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"no image"),
        lambda file: file.write_bytes((path.parent / "S1_anger_0.png").read_bytes()[:2000]),
    ):
        spoil(path.parent / "S1_anger_1.png")
        refused(
            capfd, run_lmdb(path, tmp_path / "lmdb"), f"{path}, line 3",
            "make it with python -m data_prep align (which makes a damaged one of its own again",
        )  # fmt: skip
    assert os.listdir(tmp_path) == ["faces"]


def test_folder_with_something_else_in_it_is_left_alone(tmp_path, index_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    refused(capsys, run_lmdb(index_path, tmp_path), tmp_path, "thesis.tex")
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_neighbours_of_the_output_are_left_alone(tmp_path, index_path):
    for name in "lmdb.old", "lmdb.partial":
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("years of work")
    options = ["--fold", "3", "--classes", "7", "--copies", "0"]
    for seed in "0", "1":
        assert run_lmdb(index_path, tmp_path / "lmdb", *options, "--seed", seed) == 0
    assert sorted(os.listdir(tmp_path)) == ["lmdb", "lmdb.old", "lmdb.partial"]
    for name in "lmdb.old", "lmdb.partial":
        assert (tmp_path / name / "thesis.tex").read_text() == "years of work"


def test_several_processes_build_the_same_folder_at_once(tmp_path, index_path):
    out = tmp_path / "lmdb"
    command = [sys.executable, "-m", "data_prep", "lmdb", str(index_path), "-o", str(out)]
    options = ["--fold", "3", "--classes", "7", "--copies", "1", "--seed"]
    processes = [
        subprocess.Popen([*command, *options, seed], stderr=subprocess.PIPE, text=True)
        for seed in "012"
    ]
    for process in processes:
        assert (process.communicate()[1], process.returncode) == ("", 0)
    assert main(["check", str(out)]) == 0
    assert os.listdir(tmp_path) == ["lmdb"]


def test_another_process_may_finish_between_the_two_renames(tmp_path, index_path, monkeypatch):
    out = tmp_path / "lmdb"
    options = ["--fold", "3", "--classes", "7", "--copies", "0"]
    assert run_lmdb(index_path, out, *options) == 0
    other = shutil.copytree(out, tmp_path / "other")
    rename = os.rename

    def interrupted(source, target):
        rename(source, target)
        if source == out and other.exists():
            rename(other, out)

    monkeypatch.setattr(os, "rename", interrupted)
    assert run_lmdb(index_path, out, *options, "--seed", "1") == 0
    assert json.loads((out / "fold.json").read_text())["inputs"]["seed"] == 1
    assert os.listdir(tmp_path) == ["lmdb"]


def test_current_folder_is_no_output(tmp_path, index_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(capsys, run_lmdb(index_path, "."), "current folder", "choose another")
    assert os.listdir(tmp_path) == []


def test_index_without_labels(tmp_path, capsys):
    path = faces(tmp_path / "faces", [index.Row("a.png", "Ann"), index.Row("b.png", "Bob")])
    status = run_lmdb(path, tmp_path / "lmdb", "--test-only", "--classes", "7")
    refused(capsys, status, path, "no image has a label", "column label")
    assert os.listdir(tmp_path) == ["faces"]


@pytest.mark.parametrize("value", ["-1", "some"])
def test_wrong_number_is_told_with_what_to_give(tmp_path, index_path, capsys, value):
    options = ["--fold", "3", "--classes", "7", "--copies", value]
    with pytest.raises(SystemExit):
        run_lmdb(index_path, tmp_path / "lmdb", *options)
    assert "--copies: give a whole number, 0 or more\n" in capsys.readouterr().err


def test_same_bytes_whatever_the_workers(tmp_path, index_path, monkeypatch):
    monkeypatch.setattr(build, "WORTH_WORKERS", 0)
    monkeypatch.setattr(build, "RECORDS_PER_TASK", 20)
    options = ["--fold", "3", "--classes", "7", "--copies", "4", "--workers"]
    for workers in "1", "2", "3":
        assert run_lmdb(index_path, tmp_path / workers, *options, workers) == 0
    assert content(tmp_path / "1") == content(tmp_path / "2") == content(tmp_path / "3")
    assert main(["check", str(tmp_path / "3"), "--workers", "2"]) == 0


KILLED = """
import multiprocessing
import os
import signal
import sys

from data_prep.lmdbs import build, records
from data_prep.__main__ import main

if __name__ == "__main__":
    commit, commits = records._commit, iter(range(10000))

    def commit_or_die(database, batch):
        if next(commits) == int(sys.argv[1]):
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        commit(database, batch)

    records._commit = commit_or_die
    build.WORTH_WORKERS, build.RECORDS_PER_TASK, records.RECORDS_PER_COMMIT = 0, 50, 50
    sys.exit(main(sys.argv[2:]))
"""


def test_killed_build_leaves_nothing_to_the_next(tmp_path, index_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)

    def run(out, commit):
        command = [sys.executable, str(script), str(commit), "lmdb", str(index_path)]
        command += ["-o", str(out), "--fold", "3", "--classes", "7"]
        command += ["--copies", "15", "--workers", "2"]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True)

    out = tmp_path / "out" / "lmdb"
    for commit in 3, 25:
        killed = run(out, commit)
        assert killed.returncode == -signal.SIGKILL
        assert not out.exists()
        assert len(os.listdir(out.parent)) == 1
        workers = killed.stdout.split()
        assert len(workers) == 2
        deadline = time.monotonic() + 20
        while any(os.path.exists(f"/proc/{worker}") for worker in workers):
            assert time.monotonic() < deadline, "workers outlive their parent"
            time.sleep(0.01)
    assert run(out, -1).returncode == 0
    assert os.listdir(out.parent) == ["lmdb"]
    undisturbed = tmp_path / "undisturbed" / "lmdb"
    assert run(undisturbed, -1).returncode == 0
    assert len(contents.read_table(out, "train")) == 18 * 7 * 16
    assert content(out) == content(undisturbed)


def test_what_another_process_builds_is_not_removed(tmp_path, index_path):
    out = tmp_path / "lmdb"
    (tmp_path / ".lmdb.abcdefgh").mkdir()
    (tmp_path / ".lmdb.abcdefgh" / "thesis.tex").write_text("years of work")
    with replacing_folder(out) as other:
        (other / "fold.json").write_text("of the other process")
        assert run_lmdb(index_path, out) == 0
        assert main(["check", str(out)]) == 0
        assert (other / "fold.json").exists()
    assert (out / "fold.json").read_text() == "of the other process"
    assert sorted(os.listdir(tmp_path)) == [".lmdb.abcdefgh", "lmdb"]


def people():
    """Images: of Bob 1, P1 2, P2 3, P10 4, with labels and references that do not matter."""
    rows = [index.Row("bob.png", "Bob")]
    for subject, images in ("P10", 4), ("P2", 3), ("P1", 2):
        for n in range(images):
            label, reference = ("fear", f"{subject}_0.png") if n else ("", "")
            rows.append(index.Row(f"{subject}_{n}.png", subject, label=label, reference=reference))
    return rows


def identities(index_path, out, *options):
    return main(["lmdb", str(index_path), "-o", str(out), "--identities", *options])


def test_identities(tmp_path, capsys):
    path = faces(tmp_path / "faces", people())
    out = tmp_path / "webface"
    assert identities(path, out) == 0
    told = capsys.readouterr().out
    assert "train: 6 faces of 3 identities" in told
    assert "test: 3 faces of 3 identities" in told
    assert "left out: 1 identities with fewer than 2 images, 1 images" in told
    description = json.loads((out / "identities.json").read_text())
    assert description["class_names"] == ["P1", "P2", "P10"]
    assert description["left_out"] == {"Bob": 1}

    images = []
    for part, samples in ("train", [1, 2, 3]), ("test", [1, 1, 1]):
        found, labels = read_pairs(out / part, FACE_SHAPE)
        rows = contents.read_table(out, part)
        assert np.bincount(labels).tolist() == samples
        assert [row["subject"] for row in rows] == [["P1", "P2", "P10"][n] for n in labels]
        assert [row["class_id"] for row in rows] == list(map(str, labels))
        for row, face in zip(rows, found, strict=True):
            assert (face[0] == pixels(path, row["image"])).all()
        images += [row["image"] for row in rows]
    assert sorted(images) == sorted(row.image for row in people() if row.subject != "Bob")

    assert main(["check", str(out)]) == 0
    told = capsys.readouterr().out
    assert "whole (train 6 faces, test 3 faces)" in told and "equal to the faces" in told
    before = content(out)
    assert identities(path, out) == 0
    assert "already built" in capsys.readouterr().out
    assert content(out) == before


def test_identities_with_options(tmp_path):
    path = faces(tmp_path / "faces", people())
    out = tmp_path / "webface"
    options = ["--hold-out", "2", "--least", "3", "--copies", "2", "--seed"]
    held_out = set()
    for seed in map(str, range(10)):
        assert identities(path, out, *options, seed) == 0
        assert np.bincount(read_pairs(out / "train", FACE_SHAPE)[1]).tolist() == [3, 6]
        assert np.bincount(read_pairs(out / "test", FACE_SHAPE)[1]).tolist() == [2, 2]
        held_out.add(frozenset(row["image"] for row in contents.read_table(out, "test")))
        assert main(["check", str(out)]) == 0
    assert len(held_out) > 5
    found, _ = read_pairs(out / "train", FACE_SHAPE)
    for row, face in zip(contents.read_table(out, "train"), found, strict=True):
        expected = pixels(path, row["image"])[None]
        if row["copy"] != "0":
            expected = augment.apply(augment.draw(9, f"{row['image']}\n{row['copy']}"), expected)
        assert (face == expected).all()


def test_check_of_identities_compares_faces(tmp_path, capsys):
    path = faces(tmp_path / "faces", people())
    out = tmp_path / "webface"
    assert identities(path, out) == 0

    def change(found, labels):
        found[1, 0, 0, 0] ^= 1

    rewrite(out, "train", change)
    refused(capsys, main(["check", str(out)]), "webface/train: record 00000001 is not what P")


def test_identities_that_cannot_be(tmp_path, capsys):
    path = faces(tmp_path / "faces", people())
    out = tmp_path / "webface"
    refused(capsys, identities(path, out, "--least", "5"), path, "none of its 4 subjects has 5")
    refused(capsys, identities(path, out, "--hold-out", "3"), "give --least 4")
    assert os.listdir(tmp_path) == ["faces"]
    # A folder of identities is not replaced by a fold.
    assert identities(path, out) == 0
    before = content(out)
    refused(capsys, run_lmdb(path, out, "--test-only", "--classes", "7"), out, "identities.json")
    assert content(out) == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--identities", "--classes", "7"], "--classes is not for --identities"),
        (["--identities", "--fold", "0"], "not allowed with argument"),
        (["--fold", "0", "--classes", "7", "--least", "3"], "--least is for --identities only"),
        (["--fold", "0", "--classes", "7", "--hold-out", "3"], "--hold-out is for --identities"),
        (["--test-only"], "give --classes: 6, "),
        (["--identities", "--hold-out", "0"], "give a whole number, 1 or more"),
    ],
)
def test_options_that_exclude_each_other(tmp_path, index_path, capsys, options, expected):
    with pytest.raises(SystemExit) as error:
        run_lmdb(index_path, tmp_path / "lmdb", *options)
    assert error.value.code == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]
    assert os.listdir(tmp_path) == []


def test_records_are_read_in_stretches(tmp_path, monkeypatch):
    pairs = np.arange(12, dtype=np.uint8)[:, None, None, None] + np.zeros(PAIR_SHAPE, np.uint8)
    write_pairs(tmp_path / "pairs", zip(pairs, range(12), strict=True))
    for stretch in 1, 4, 5, 12, 13:
        monkeypatch.setattr("data_prep.lmdbs.records.RECORDS_PER_OPENING", stretch)
        found = list(read_records(tmp_path / "pairs"))
        assert [(key, pair[0, 0, 0], label) for key, pair, label in found] == [
            (b"%08d" % n, n, n) for n in range(12)
        ]


@pytest.fixture(scope="module")
def whole_fold(tmp_path_factory, index_path):
    out = tmp_path_factory.mktemp("whole") / "lmdb"
    assert run_lmdb(index_path, out) == 0
    return out


@pytest.fixture
def fold(tmp_path, whole_fold):
    """A fold to damage."""
    return shutil.copytree(whole_fold, tmp_path / "lmdb")


def test_check_accepts_a_whole_fold(fold, capsys):
    assert main(["check", str(fold)]) == 0
    assert "whole (train 252 pairs, test 14 pairs)" in capsys.readouterr().out


def rewrite(fold, part, change):
    """Write the LMDB `part` again, its (pairs, labels) changed in place by `change`."""
    shape = FACE_SHAPE if (fold / "identities.json").exists() else PAIR_SHAPE
    found, labels = read_pairs(fold / part, shape)
    change(found, labels)
    shutil.rmtree(fold / part)
    write_pairs(fold / part, zip(found, labels, strict=True))


def first(fold, part, **values):
    """Number of the first record whose row in the table has these values."""
    rows = contents.read_table(fold, part)
    return next(n for n, row in enumerate(rows) if values.items() <= row.items())


@pytest.mark.parametrize("copy", ["0", "1"])
@pytest.mark.parametrize("channel", [0, 1])
def test_check_compares_every_pixel(fold, capsys, copy, channel):
    number = first(fold, "train", copy=copy)

    def change(pairs, labels):
        pairs[number, channel, 33, 33] ^= 1

    rewrite(fold, "train", change)
    refused(capsys, main(["check", str(fold)]), "lmdb/train: record", f"{number:08d}", "build it")
    # The quick check before each training has no faces to compare with.
    contents.check(fold)


def test_check_finds_the_reference_of_another_subject(fold, capsys):
    a, b = first(fold, "test", subject="S4"), first(fold, "test", subject="S14")

    def change(pairs, labels):
        pairs[[a, b], 1] = pairs[[b, a], 1]

    rewrite(fold, "test", change)
    refused(capsys, main(["check", str(fold)]), f"lmdb/test: record {a:08d} is not what S4_")


def test_check_finds_a_table_of_another_sequence(fold, capsys):
    path = fold / "test.csv"
    path.write_text(path.read_text().replace("S4_fear_2.png,", "S4_disgust_2.png,"))
    refused(capsys, main(["check", str(fold)]), "lmdb/test.csv: record", "not what the index gives")


def test_check_says_what_cannot_be_compared(tmp_path, capsys):
    path = faces(tmp_path / "faces", sequences())
    out = tmp_path / "lmdb"
    assert run_lmdb(path, out) == 0
    capsys.readouterr()

    def checked():
        assert main(["check", str(out)]) == 0
        whole, told = capsys.readouterr().out.splitlines()
        assert "whole (train 252 pairs, test 14 pairs)" in whole
        return told

    assert checked() == f"equal to the faces of {path}"
    face = path.parent / "S5_fear_2.png"
    before = face.read_bytes()
    cv2.imwrite(str(face), np.zeros((FACE_SIZE, FACE_SIZE), np.uint8))
    told = checked()
    assert "not compared: 2 records" in told and "changed" in told and "S5_fear_2.png" in told
    face.unlink()
    assert "not compared: 2 records" in checked()
    face.write_bytes(before)

    path.write_text(path.read_text() + "S5_fear_2.png,,,,,\n".replace("S5_fear_2", "other"))
    assert "not compared: faces and references" in checked()
    path.unlink()
    assert f"not compared: faces and references: {path}: no such file" in checked()


def move_a_subject(fold):
    path = fold / "train.csv"
    path.write_text(path.read_text().replace(",S5,", ",S4,"))


def cut_last_row(fold):
    path = fold / "test.csv"
    path.write_text(path.read_text()[:-4])


def relabel(fold):
    shutil.rmtree(fold / "test")
    write_pairs(fold / "test", [(np.zeros(PAIR_SHAPE, np.uint8), 0)] * 14)


def wrong_size(fold):
    shutil.rmtree(fold / "test")
    write_pairs(fold / "test", [(np.zeros((1, 66, 66), np.uint8), 0)])


def no_datum(fold):
    with lmdb.open(str(fold / "test"), lock=False, map_size=1 << 24) as database:
        with database.begin(write=True) as transaction:
            transaction.put(b"00000000", b"\xff\xff")


def overwrite_pages(fold):
    with open(fold / "train/data.mdb", "r+b") as file:
        file.seek(8192)
        file.write(bytes(os.path.getsize(fold / "train/data.mdb") - 8192))


DAMAGES = {
    "0 bytes": (lambda fold: os.truncate(fold / "train/data.mdb", 0), "train/data.mdb: is empty"),
    "100 bytes": (lambda fold: os.truncate(fold / "train/data.mdb", 100), "train/data.mdb: no"),
    "half": (lambda fold: os.truncate(fold / "train/data.mdb", 1000000), "train/data.mdb: trunc"),
    "no LMDB": (lambda fold: (fold / "test/data.mdb").write_bytes(b"x" * 9999), "test/data.mdb"),
    "no data": (lambda fold: (fold / "test/data.mdb").unlink(), "lmdb/test: no LMDB here"),
    "zeros": (overwrite_pages, "lmdb/train: damaged"),
    "no datum": (no_datum, "lmdb/test: record b'00000000' is no Datum"),
    "one channel": (wrong_size, "lmdb/test: record b'00000000' holds 1x66x66"),
    "other labels": (relabel, "lmdb/test: record 00000001 has class 0"),
    "no table": (lambda fold: (fold / "test.csv").unlink(), "lmdb/test.csv: is missing"),
    "no description": (lambda fold: (fold / "fold.json").unlink(), "lmdb: no fold.json"),
    "broken description": (lambda fold: os.truncate(fold / "fold.json", 99), "lmdb/fold.json"),
    "empty description": (lambda fold: (fold / "fold.json").write_text("{}"), "lmdb/fold.json"),
    "cut table": (cut_last_row, "lmdb/test.csv, line 15"),
    "subject in both": (move_a_subject, "lmdb: trains and tests S4"),
    "no folder": (shutil.rmtree, "lmdb: no fold.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_check_names_what_is_damaged(fold, capsys, damage):
    inflict, expected = DAMAGES[damage]
    inflict(fold)
    refused(capsys, main(["check", str(fold)]), expected, "build it with")


@pytest.mark.parametrize("size", [0, 100, 5000, 8192, 100000])
def test_truncated_lmdb_is_an_error_not_a_crash(fold, size):
    os.truncate(fold / "test/data.mdb", size)
    with pytest.raises(InputError, match="data.mdb"):
        read_pairs(fold / "test")


def run_on_small_disk(folder, command, size):
    """Run `command`, which writes below `folder`, where `size` bytes fit; what is left there.

    The disk is a small one of its own where the kernel lets us make one, else the size of each file
    is limited.
    """
    script = (
        f'mount -t tmpfs -o size={size} none "$0" && '
        '{ "$@"; status=$?; ls -A "$0"; exit $status; }'
    )
    mounted = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(folder)]
    if subprocess.run([*mounted, "true"], capture_output=True).returncode == 0:
        done = subprocess.run([*mounted, *command], capture_output=True, text=True)
        return done, done.stdout.split()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    return done, os.listdir(folder)


@pytest.mark.parametrize(("size", "file"), [(1 << 20, "lmdb.faces"), (3 << 20, "lmdb/train")])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, index_path, size, file):
    out = tmp_path / "lmdb"
    command = [sys.executable, "-m", "data_prep", "lmdb", str(index_path), "-o", str(out)]
    command += ["--fold", "3", "--classes", "7"]
    done, left = run_on_small_disk(tmp_path, command, size)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert file in done.stderr
    assert "is the disk full" in done.stderr
    assert left == []


def test_records_table_lists_every_key_once(fold):
    with open(fold / "train.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == contents.RECORD_COLUMNS
    assert [row[0] for row in rows[1:]] == [f"{number:08d}" for number in range(252)]
