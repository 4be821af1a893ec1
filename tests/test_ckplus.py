"""The CK+ layout, real quirks included, into index.csv."""

import shutil

import cv2
import numpy as np
import pytest

from data_prep import index
from data_prep.__main__ import main
from data_prep.databases import ckplus
from data_prep.synthetic import write_ckplus


def add_sequence(root, subject, number, frames, code=None, landmarks=False):
    name = f"{subject}_{number:03d}"
    place = f"{subject}/{number:03d}"
    for kind in (ckplus.IMAGES, ckplus.EMOTION, ckplus.LANDMARKS):
        if kind != ckplus.LANDMARKS or landmarks:
            (root / kind / place).mkdir(parents=True)
    for frame in frames:
        stem = f"{name}_{frame:08d}"
        image = str(root / ckplus.IMAGES / place / f"{stem}.png")
        cv2.imwrite(image, np.full((100, 100), 90, np.uint8))
        if landmarks:
            text = "\n".join(f"   {x + frame:.7e}   {2 * x:.7e}" for x in range(68))
            (root / ckplus.LANDMARKS / place / f"{stem}_landmarks.txt").write_text(text + "\n")
    if code is not None:
        label = root / ckplus.EMOTION / place / f"{name}_{frames[-1]:08d}_emotion.txt"
        label.write_text(f"   {code:.7e}\n")


@pytest.fixture
def root(tmp_path):
    """Three subjects, four sequences, one of them without label, and the litter of real copies."""
    root = tmp_path / "CK+"
    add_sequence(root, "S005", 1, range(1, 9), 3, landmarks=True)
    add_sequence(root, "S005", 2, range(1, 7))
    add_sequence(root, "S010", 1, range(1, 4), 7)
    add_sequence(root, "S506", 4, range(1, 6), 5)
    images = root / ckplus.IMAGES
    for folder in (images, images / "S005", images / "S005/001", root / ckplus.EMOTION):
        (folder / ".DS_Store").write_bytes(b"\0")
    (images / "S010/001/._S010_001_00000001.png").write_bytes(b"\0")
    # An unlabelled sequence has an empty folder, or none.
    (root / ckplus.EMOTION / "S010/002").mkdir()
    add_sequence(root, "S010", 3, range(1, 4))
    shutil.rmtree(root / ckplus.EMOTION / "S010/003")
    return root


def table(root, capsys, *options):
    """Rows that the command writes, and what it prints."""
    output = root.parent / "out"
    assert main(["index", "ckplus", str(root), "-o", str(output), *options]) == 0
    return index.read(output / "index.csv").rows, capsys.readouterr().out


def test_labelled_sequences_from_neutral_to_apex(root, capsys):
    before = sorted(root.rglob("*"))
    rows, _ = table(root, capsys)
    assert sorted(root.rglob("*")) == before

    labels = {}
    for row in rows:
        labels.setdefault((row.subject, row.sequence), []).append(row.label)
    assert labels == {
        ("S005", "S005_001"): ["neutral", "", "", "", "", *["disgust"] * 3],
        ("S010", "S010_001"): ["neutral", "surprise", "surprise"],
        ("S506", "S506_004"): ["neutral", "", *["happiness"] * 3],
    }
    assert [row.frame for row in rows[:3]] == ["1", "2", "3"]
    assert all(row.reference.endswith(f"{row.sequence}_00000001.png") for row in rows)


def test_number_of_apex_frames(root, capsys):
    rows, _ = table(root, capsys, "--apex", "1")
    assert [row.label for row in rows if row.label not in ("", "neutral")] == [
        "disgust",
        "surprise",
        "happiness",
    ]


def test_five_points_of_68_landmarks(root, capsys):
    rows, _ = table(root, capsys)
    # Point p of frame f is drawn at (p + f, 2p).
    assert rows[1].landmarks == ((40.5, 77), (46.5, 89), (32, 60), (50, 96), (56, 108))
    assert rows[-1].landmarks is None


def test_frames_after_the_labelled_one_are_left_out(root, capsys):
    cv2.imwrite(
        str(root / "cohn-kanade-images/S506/004/S506_004_00000006.png"), np.zeros((9, 9), np.uint8)
    )
    rows, _ = table(root, capsys)
    assert rows[-1].frame == "5"


def test_summary_counts_beside_the_papers(root, capsys):
    (root / "cohn-kanade-images/S005/001/S005_001_00000003.png").unlink()
    _, text = table(root, capsys)
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["disgust"] == ["1", "1", "3", "59"]
    assert lines["fear"] == ["0", "0", "0", "25"]
    assert lines["neutral"] == ["3", "3", "3"]
    assert lines["all"][:4] == ["3", "3", "15", "327"]
    assert "1 sequences are not numbered 1, 2, 3 ..., the first is S005_001" in text
    assert f"{root.parent / 'out' / 'index.csv'}: written, 15 images" in text


def label_file(root):
    return root / "Emotion/S005/001/S005_001_00000008_emotion.txt"


def images_of(root):
    return root / "cohn-kanade-images/S005/001"


DAMAGES = {
    "no database": (shutil.rmtree, "no folder cohn-kanade-images"),
    "no images": (lambda root: shutil.rmtree(root / ckplus.IMAGES), "extended-cohn-kanade-images"),
    "no labels": (lambda root: shutil.rmtree(root / ckplus.EMOTION), "Emotion_labels"),
    "empty labels": (
        lambda root: [file.unlink() for file in root.rglob("*_emotion.txt")],
        "no label file",
    ),
    "code 8": (lambda root: label_file(root).write_text("8.0"), "S005_001_00000008_emotion.txt"),
    "no code": (lambda root: label_file(root).write_text(""), "S005_001_00000008_emotion.txt"),
    "two labels": (
        lambda root: shutil.copy(
            label_file(root), label_file(root).with_name("S005_001_00000007_emotion.txt")
        ),
        "Emotion/S005/001: 2 label files",
    ),
    "sequence without images": (
        lambda root: shutil.rmtree(images_of(root)),
        "cohn-kanade-images/S005/001: no images",
    ),
    "apex missing": (
        lambda root: (images_of(root) / "S005_001_00000008.png").unlink(),
        "S005_001_00000008.png: no such image",
    ),
    "only the apex": (
        lambda root: [(images_of(root) / f"S005_001_{n:08d}.png").unlink() for n in range(1, 8)],
        "only the apex",
    ),
    "67 landmarks": (
        lambda root: (root / "Landmarks/S005/001/S005_001_00000002_landmarks.txt").write_text(
            "1 2\n" * 67
        ),
        "S005_001_00000002_landmarks.txt",
    ),
    "broken landmarks": (
        lambda root: (root / "Landmarks/S005/001/S005_001_00000002_landmarks.txt").write_text(
            "1 2\n" * 67 + "1"
        ),
        "S005_001_00000002_landmarks.txt",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_database_is_one_line_saying_what_is_missing(root, capsys, damage):
    inflict, expected = DAMAGES[damage]
    inflict(root)
    output = root.parent / "out"
    assert main(["index", "ckplus", str(root), "-o", str(output)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert str(root) in error
    assert expected in error
    assert not output.exists()


def test_synthetic_faces_are_laid_out_as_ckplus(tmp_path, capsys):
    root = tmp_path / "synthetic"
    write_ckplus(root, subjects=2, sequences_per_subject=2, frames=5, landmarks=True, workers=1)
    rows, _ = table(root, capsys)
    assert {row.subject for row in rows} == {path.name for path in (root / "Emotion").iterdir()}
    for row in rows:
        height, width = cv2.imread(row.image).shape[:2]
        assert all(0 < x < width and 0 < y < height for x, y in row.landmarks)
