"""The CK+ layout, real quirks included, into index.csv."""

import functools
import os
import shutil
import stat
from pathlib import Path

import cv2
import indexing
import numpy as np
import pytest

from data_prep.databases import ckplus
from data_prep.synthetic import ckplus as synthetic
from data_prep.synthetic import litter
from data_prep.synthetic.writing import Camera


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
    root = tmp_path / "my CK+"
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


run = functools.partial(indexing.run, "ckplus")
table = functools.partial(indexing.table, "ckplus")


def test_labelled_sequences_from_neutral_to_apex(root, capsys):
    before = sorted(root.rglob("*"))
    rows, _ = table(root, capsys, "--strict")
    assert sorted(root.rglob("*")) == before

    assert indexing.labels(rows) == {
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


def test_landmark_files_in_whatever_case(root, capsys):
    before, _ = table(root, capsys)
    landmarks = root / "Landmarks/S005/001"
    for file in list(landmarks.iterdir()):
        file.rename(file.with_name(file.name.upper()))
    (root / "Landmarks/S005").rename(root / "Landmarks/s005")
    (root / "Landmarks").rename(root / "LANDMARKS")
    rows, _ = table(root, capsys, "--strict")
    assert rows == before and rows[0].landmarks


def test_a_half_unpacked_archive_of_landmarks_is_noted(root, capsys):
    note = "note: Landmarks has {} files for the frames in the index; expected 16"
    assert note.format(8) in table(root, capsys)[1]
    landmark_file(root).unlink()
    rows, text = table(root, capsys, "--strict")
    assert [row.frame for row in rows if row.landmarks] == ["1", *map(str, range(3, 9))]
    assert note.format(7) in text
    shutil.rmtree(root / "Landmarks")
    assert "Landmarks" not in table(root, capsys)[1]


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
    assert lines["all"] == ["3", "3", "15", "327", "of", "118", "subjects"]
    assert "cohn-kanade-images/S005/001: frames are not numbered 1, 2, 3 ..." in text
    for note in (
        "cohn-kanade-images has 3 subjects; expected 123",
        "cohn-kanade-images has 5 sequences; expected 593",
        "Emotion has 3 label files; expected 327",
    ):
        assert f"note: {note}" in text
    assert f"{root.parent / 'out' / 'index.csv'}: written, 15 images" in text


def test_a_sequence_that_does_not_start_with_frame_1_is_noted(root, capsys):
    (images_of(root) / "S005_001_00000001.png").unlink()
    rows, text = table(root, capsys, "--strict")
    assert [row.label for row in rows[:3]] == ["neutral", "", ""] and rows[0].frame == "2"
    assert "cohn-kanade-images/S005/001: frames are not numbered 1, 2, 3 ..." in text


def label_file(root):
    return root / "Emotion/S005/001/S005_001_00000008_emotion.txt"


def images_of(root):
    return root / "cohn-kanade-images/S005/001"


def landmark_file(root):
    return root / "Landmarks/S005/001/S005_001_00000002_landmarks.txt"


def point_elsewhere(root, place):
    elsewhere = root.parent / "elsewhere"
    place(root).rename(elsewhere)
    place(root).symlink_to(elsewhere)


def make_unreadable(file):
    """A file that even an administrator cannot open."""
    file.unlink()
    os.mknod(file, stat.S_IFSOCK)


NO_DATABASE = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no images": (lambda root: shutil.rmtree(root / ckplus.IMAGES), "extended-cohn-kanade-images"),
    "no labels": (lambda root: shutil.rmtree(root / ckplus.EMOTION), "Emotion_labels"),
    "empty labels": (
        lambda root: [file.unlink() for file in root.rglob("*_emotion.txt")],
        "has 0 label files",
    ),
    "one of its folders": (
        lambda root: [shutil.rmtree(root / "Emotion"), images_of(root).rename(root / "Emotion")],
        "has 0 label files",
    ),
    "empty images": (
        lambda root: [shutil.rmtree(root / ckplus.IMAGES), (root / ckplus.IMAGES).mkdir()],
        "nothing in it can be used; the first of ",
    ),
}


@pytest.mark.parametrize("damage", NO_DATABASE)
def test_a_wrong_or_half_extracted_folder_is_one_line_saying_what_is_missing(root, capsys, damage):
    inflict, expected = NO_DATABASE[damage]
    inflict(root)
    assert run(root) == 1
    error = indexing.refusal(root, capsys)
    assert str(root) in error and expected in error


# What is done to the sequence S005_001, the file that is named, the problem, and the images left.
UNUSABLE = {
    "code 8": (
        lambda root: label_file(root).write_text("8.0"), label_file, "emotion code '8.0'", 0,
    ),
    "no code": (lambda root: label_file(root).write_text(""), label_file, "emotion code ''", 0),
    "a code in letters": (
        lambda root: label_file(root).write_bytes(b"\xff"), label_file, "emotion code", 0,
    ),
    "two labels": (
        lambda root: shutil.copy(
            label_file(root), label_file(root).with_name("S005_001_00000007_emotion.txt")
        ),
        lambda root: label_file(root).parent, "has 2 label files", 0,
    ),
    "label out of the database": (
        lambda root: point_elsewhere(root, label_file), label_file,
        "a symbolic link out of the database's folder", 0,
    ),
    "unreadable label": (
        lambda root: make_unreadable(label_file(root)), label_file, "cannot be read", 0,
    ),
    "sequence without images": (
        lambda root: shutil.rmtree(images_of(root)),
        lambda root: images_of(root) / "S005_001_00000008.png", "no such image", 0,
    ),
    "apex missing": (
        lambda root: (images_of(root) / "S005_001_00000008.png").unlink(),
        lambda root: images_of(root) / "S005_001_00000008.png", "no such image", 0,
    ),
    "only the apex": (
        lambda root: [(images_of(root) / f"S005_001_{n:08d}.png").unlink() for n in range(1, 8)],
        images_of, "only the apex", 0,
    ),
    "unreadable landmarks": (
        lambda root: make_unreadable(landmark_file(root)), landmark_file, "cannot be read", 8,
    ),
    "landmarks out of the database": (
        lambda root: point_elsewhere(root, landmark_file), landmark_file,
        "a symbolic link out of the database's folder", 8,
    ),
    "a folder of landmarks out of the database": (
        lambda root: point_elsewhere(root, lambda root: landmark_file(root).parent),
        lambda root: landmark_file(root).parent, "a symbolic link out of the database's folder", 8,
    ),
    "67 landmarks": (
        lambda root: landmark_file(root).write_text("1 2\n" * 67),
        landmark_file, "expected 68 lines", 8,
    ),
    "broken landmarks": (
        lambda root: landmark_file(root).write_text("1 2\n" * 67 + "1"),
        landmark_file, "expected 68 lines", 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", UNUSABLE)
def test_what_cannot_be_used_is_skipped_and_listed(root, capsys, damage):
    inflict, place, problem, left = UNUSABLE[damage]
    inflict(root)
    rows, text = table(root, capsys)
    assert len(rows) == 8 + left
    (row,) = indexing.skipped(root)
    assert row["path"] == str(place(root)) and problem in row["reason"]
    assert f"{root.parent}/out/skipped.csv: 1 files that cannot be used, skipped" in text


@pytest.mark.parametrize("damage", UNUSABLE)
def test_strict_stops_at_what_cannot_be_used(root, capsys, damage):
    inflict, place, problem, _ = UNUSABLE[damage]
    inflict(root)
    assert run(root, "--strict") == 1
    error = indexing.refusal(root, capsys)
    assert error.startswith(f"error: {place(root)}: ") and problem in error


def test_skipped_csv_goes_when_nothing_is_skipped_any_more(root, capsys):
    label = label_file(root).read_text()
    label_file(root).write_text("8.0")
    table(root, capsys)
    label_file(root).write_text(label)
    table(root, capsys)
    assert [path.name for path in (root.parent / "out").iterdir()] == ["index.csv"]


def test_the_full_tree_has_the_papers_counts_and_litter_changes_nothing(tmp_path, capsys):
    root = tmp_path / "CK+"
    camera = Camera(size=(24, 18), people=2, seed=int(os.environ["TEST_SEED"]))
    synthetic.write(root, camera, full=True, frames=2, landmarks=True, workers=2)
    rows, text = table(root, capsys, "--strict")
    counted = {line.split()[0]: line.split()[2:] for line in text.splitlines()[1:10]}
    for emotion, sequences in ckplus.SEQUENCES.items():
        assert counted[emotion][::2] == [str(sequences)] * 2
    assert counted["all"][0] == counted["neutral"][0] == "327"
    assert len({row.subject for row in rows}) == 118
    assert "note" not in text

    litter.scatter(root)
    assert len(list(root.rglob("*_emotion.TXT"))) == 327
    untidy, text = table(root, capsys, "--strict")
    assert [Path(row.image).suffix for row in untidy].count(".PNG") == 327
    assert "note" not in text

    def plain(rows):
        return [
            (row.image.lower(), row.subject, row.sequence, row.frame, row.label, row.landmarks)
            for row in rows
        ]

    assert plain(untidy) == plain(rows)


def test_synthetic_faces_are_laid_out_as_ckplus(tmp_path, capsys):
    root = tmp_path / "synthetic"
    synthetic.write(root, Camera(), subjects=2, sequences=2, frames=5, landmarks=True, workers=1)
    rows, _ = table(root, capsys)
    assert {row.subject for row in rows} == {path.name for path in (root / "Emotion").iterdir()}
    for row in rows:
        height, width = cv2.imread(row.image).shape[:2]
        assert all(0 < x < width and 0 < y < height for x, y in row.landmarks)
