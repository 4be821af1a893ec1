"""A person's own pictures through the command: probabilities, drawings, and what is left out."""

import csv
import json
import os
import resource
import shutil
import signal

import cv2
import matplotlib.cbook
import numpy as np
import predict
import pytest
import skimage.data
import tiny

import gcnet.evaluate.predict
from data_prep.__main__ import main as data_prep
from data_prep.faces import detect
from data_prep.lmdbs import places
from gcnet import runs
from gcnet.report import of_runs

SIDE = 360  # pixels of a face in a drawing, whose left upper corner is at (30, 60)


@pytest.fixture(scope="module", autouse=True)
def lmdbs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "LMDBS", tmp_path_factory.mktemp("lmdbs"))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """S1R1 trained for two iterations on fold 0."""
    folder = tmp_path_factory.mktemp("predict")
    index = tiny.write_database(folder / "tiny")
    nets = tiny.write_prototxt(folder / "prototxt", "gcnet")
    return tiny.train(folder / "run", index, "s1r1", nets)


@pytest.fixture
def copied(run, tmp_path):
    """The folder of a copy of the run, with its fold 0 as fold 1, too."""
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("predictions"))
    shutil.copytree(folder / "fold0", folder / "fold1")
    edit_json(folder / "fold1" / "fold.json", "inputs", fold=1)
    return folder


def edit_json(path, part, **values):
    content = json.loads(path.read_text())
    content[part].update(values)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def astronaut():
    return cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, astronaut):
    """Two people's pictures, a wall, half a file, and a letter."""
    folder = tmp_path_factory.mktemp("pictures") / "photographs"
    folder.mkdir()
    admiral = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    shutil.copy(admiral, folder / "grace_sadness.jpg")
    cv2.imwrite(str(folder / "me_happy.png"), astronaut)
    cv2.imwrite(str(folder / "wall.bmp"), np.full((120, 160, 3), 128, np.uint8))
    whole = cv2.imencode(".jpg", astronaut)[1].tobytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "letter.txt").write_text("hello")
    return folder


@pytest.fixture
def command(monkeypatch):
    """command(words): exit status of `python python/predict.py words`."""

    def command(*words):
        monkeypatch.setattr("sys.argv", ["predict.py", *map(str, words)])
        return predict.main()

    return command


@pytest.fixture
def made_up(monkeypatch):
    """Answers at once in place of a net's: fold k is sure of class k, the reference is mirrored."""

    def forward(run, fold, images, blobs, threads):
        made = {"probabilities": np.tile(np.eye(7)[fold], (len(images), 1))}
        if "generated" in blobs:
            assert run.settings.net == "s1r1"
            made["generated"] = images[:, None, :, ::-1] / 256
        return made

    monkeypatch.setattr(gcnet.evaluate.predict, "forward", forward)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def shares(row, run):
    return [float(row[f"p_{name}"]) for name in run.class_names]


def test_probabilities_are_those_of_an_evaluation_of_the_same_faces(
    run, photographs, command, tmp_path, capsys
):
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    for name in ("grace_sadness.jpg", "me_happy.png"):
        shutil.copy(photographs / name, labelled)
    prepared = tmp_path / "prepared"
    data_prep(["prepare", "photographs", str(labelled), "-o", str(prepared), "--classes", "7",
               "--workers", "1"])  # fmt: skip
    said = of_runs.evaluate(run, prepared / "faces" / "index.csv").predictions
    assert [record["subject"] for record in said.records] == ["grace", "me"]
    # Not so little trained that everybody gets the same.
    assert np.abs(said.probabilities[0] - said.probabilities[1]).max() > 1e-3
    capsys.readouterr()

    assert command(photographs, "--run", run.folder) == 0

    printed = capsys.readouterr()
    out = run.folder / "predictions"
    rows = read_csv(out / "predictions.csv")
    assert [row["image"] for row in rows] == [
        str(photographs / name) for name in ("grace_sadness.jpg", "me_happy.png")
    ]
    np.testing.assert_allclose([shares(row, run) for row in rows], said.probabilities, atol=1e-6)
    names = [run.class_names[number] for number in said.predicted]
    assert [row["predicted"] for row in rows] == names
    line = next(line for line in printed.out.splitlines() if "me_happy.png" in line)
    percent = (f"{100 * p:.1f} %" for p in said.probabilities[1])
    assert line.split()[1:] == " ".join([names[1], *percent]).split()
    assert f"GCNet S1R1, {run.name}, the net of fold 0" in printed.out
    assert f"written to {out}" in printed.out
    told = printed.err.splitlines()
    assert told[0].startswith(f"left out: {photographs}/half.jpg: damaged or no image; ")
    assert told[1].startswith(f"left out: {photographs}/wall.bmp: MTCNN finds no face; ")
    assert told[2:] == ["left out: 2 of 4 pictures"]
    assert cv2.imread(str(out / rows[0]["drawing"])) is not None


@pytest.mark.usefixtures("made_up")
def test_one_fold_is_asked_or_all_and_the_same_bytes_come_out(
    copied, photographs, command, tmp_path, capsys
):
    run = runs.load(copied)
    picture, out = photographs / "me_happy.png", tmp_path / "out"

    def asked(*options):
        assert command(picture, "--run", run.folder, "-o", out, *options) == 0
        (row,) = read_csv(out / "predictions.csv")
        return shares(row, run)[:3], capsys.readouterr().out.splitlines()[0]

    title = f"GCNet S1R1, {run.name}, the"
    mean = f"{title} mean of the nets of folds 0, 1 (reference: fold 0)"
    assert asked() == ([0.5, 0.5, 0], mean)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert before.keys() == {"me_happy.png", "predictions.csv"}
    assert asked("--fold", 1) == ([0, 1, 0], f"{title} net of fold 1")
    asked()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def panel(drawing, number):
    left = 30 + number * (SIDE + 30)
    return drawing[60 : 60 + SIDE, left : left + SIDE]


def shown(drawing, number):
    """A panel of a drawing in gray."""
    return cv2.cvtColor(panel(drawing, number), cv2.COLOR_BGR2GRAY)


@pytest.mark.usefixtures("made_up")
def test_drawings_show_the_face_that_was_taken(run, astronaut, command, tmp_path, capsys):
    """In folder a beside a smaller face, in folder b alone, under the same name."""
    pair = np.zeros((512, 640, 3), np.uint8)
    pair[:, :512] = astronaut
    pair[:128, 512:] = cv2.resize(astronaut, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    for name, image in {"a/Zoë 1.png": pair, "b/zoë 1.jpg": astronaut}.items():
        (tmp_path / name).parent.mkdir()
        cv2.imwrite(str(tmp_path / name), image)
    out = tmp_path / "out"
    files = tmp_path / "a" / "Zoë 1.png", tmp_path / "b"
    assert command(*files, "--run", run.folder, "--fold", 0, "-o", out) == 0

    rows = read_csv(out / "predictions.csv")
    assert [(row["faces"], row["drawing"]) for row in rows] == [
        ("2", "Zo__1.png"), ("1", "zo__1-2.png")
    ]  # fmt: skip
    printed = capsys.readouterr().out
    told = [line for line in printed.splitlines() if "faces; taken: the largest or most" in line]
    assert len(told) == 1 and told[0].startswith(f"{files[0]}: 2 faces")
    for row in rows:
        pixels = detect.read_face(row["image"]).pixels[1:-1, 1:-1]
        drawing = cv2.imread(str(out / row["drawing"]))
        expected = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        assert np.corrcoef(shown(drawing, 0).ravel(), expected.ravel())[0, 1] > 0.99
        reference = shown(drawing, 1)
        assert np.corrcoef(reference.ravel(), expected[:, ::-1].ravel())[0, 1] > 0.99
        # Red where the face is brighter than the reference; beside it a single dark bar.
        difference = pixels.astype(int) - pixels[:, ::-1]
        v, u = np.unravel_index(difference.argmax(), difference.shape)
        scale = SIDE / 64
        blue, _, red = panel(drawing, 2)[int((v + 0.5) * scale), int((u + 0.5) * scale)]
        assert int(red) - blue > 50
        assert 0.02 < (shown(drawing, 3) < 80).mean() < 0.2


@pytest.mark.usefixtures("made_up")
def test_a_cnn_draws_face_and_probabilities(copied, photographs, command, tmp_path):
    as_net(copied, "cnn")
    out = tmp_path / "out"
    assert command(photographs / "me_happy.png", "--run", copied, "-o", out) == 0
    drawing = cv2.imread(str(out / "me_happy.png"))
    assert drawing.shape[1] < 3 * SIDE
    assert shown(drawing, 0).std() > 20


def test_no_face_at_all_is_status_1(run, photographs, command, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(photographs / "wall.bmp", "--run", run.folder, "-o", out) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1] == "left out: 1 of 1 pictures"
    assert not out.exists()


def as_net(folder, net):
    edit_json(folder / "run.json", "settings", net=net)


def as_unfinished(folder):
    for finished in folder.glob("fold*/finished.json"):
        finished.unlink()


def as_trained_further(folder):
    with open(folder / "fold0" / "solver.prototxt", "a") as file:
        file.write("# more\n")


REFUSED_RUNS = {
    "mlcnn": (lambda folder: as_net(folder, "mlcnn"), [], "a run of cnn, s0r0, s1r0, s0r1, s1r1,"),
    "unfinished": (as_unfinished, [], "no fold is finished; train with python/train_folds.py"),
    "changed": (as_trained_further, [], "solver.prototxt: has changed since"),
    "fold": (lambda folder: None, ["--fold", 2], "fold 2 is not finished; choose from 0, 1"),
    "no run": (shutil.rmtree, [], "no run folder"),
}


@pytest.mark.parametrize("case", REFUSED_RUNS)
def test_a_run_that_cannot_be_asked_is_one_line(copied, photographs, command, capsys, case):
    edit, options, told = REFUSED_RUNS[case]
    edit(copied)
    assert command(photographs, "--run", copied, *options) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and printed.err.startswith("error: ")
    assert told in printed.err
    assert not (copied / "predictions").exists()


def test_wrong_paths_are_one_line(run, photographs, command, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    shutil.copy(photographs / "letter.txt", tmp_path / "empty")
    before = {path: path.read_bytes() for path in photographs.iterdir()}
    picture = photographs / "me_happy.png"
    for words, told in {
        (tmp_path / "gone.jpg",): "gone.jpg: no such file or folder",
        (tmp_path / "empty",): "empty: no picture in this folder (jpg",
        (picture, "-o", photographs): "holds the pictures themselves; choose another",
        (picture, "-o", run.folder): "holds an evaluation; choose another",
    }.items():
        assert command(*words, "--run", run.folder) == 1
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1 and told in printed.err
        assert printed.out == ""
    assert {path: path.read_bytes() for path in photographs.iterdir()} == before


@pytest.mark.usefixtures("made_up")
def test_a_full_disk_is_one_line(run, photographs, command, tmp_path, capsys):
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on the size of files stands in for a full disk: a drawing has some 50,000 bytes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        picture = photographs / "me_happy.png"
        assert command(picture, "--run", run.folder, "-o", tmp_path / "out") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "File too large" in error and "me_happy.png" in error
    assert os.listdir(tmp_path / "out") == []
