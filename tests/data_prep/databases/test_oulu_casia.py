"""The layout of Oulu-CASIA's original images into index.csv."""

import functools
import os
import shutil
from pathlib import Path

import cv2
import indexing
import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.databases import oulu_casia
from data_prep.synthetic import litter
from data_prep.synthetic import oulu_casia as synthetic
from data_prep.synthetic.writing import Camera

STRONG = "OriginalImg/VL/Strong"
IMAGE = cv2.imencode(".jpeg", np.full((24, 32, 3), 90, np.uint8))[1].tobytes()


def add_sequence(root, place, frames):
    folder = root / place
    folder.mkdir(parents=True)
    for frame in frames:
        (folder / f"{frame:03d}.jpeg").write_bytes(IMAGE)


@pytest.fixture
def root(tmp_path):
    """Two subjects, one of them with one sequence; the other camera and light beside them."""
    root = tmp_path / "Oulu CASIA"
    add_sequence(root, f"{STRONG}/P001/Anger", range(6))
    add_sequence(root, f"{STRONG}/P001/Surprise", range(8, 12))
    add_sequence(root, f"{STRONG}/P070/Happiness", range(3))
    for other in ("VL/Weak", "VL/Dark", "NI/Strong"):
        add_sequence(root, f"OriginalImg/{other}/P001/Anger", range(4))
    add_sequence(root, "PreProcess_Img/VL_Acropped/Strong/P001/Anger", range(4))
    return root


run = functools.partial(indexing.run, "oulu_casia")
table = functools.partial(indexing.table, "oulu_casia")


def test_sequences_of_strong_visible_light_from_neutral_to_apex(root, capsys):
    before = sorted(root.rglob("*"))
    rows, _ = table(root, capsys, "--strict")
    assert sorted(root.rglob("*")) == before

    assert indexing.labels(rows) == {
        ("P001", "P001_anger"): ["neutral", "", "", *["anger"] * 3],
        ("P001", "P001_surprise"): ["neutral", *["surprise"] * 3],
        ("P070", "P070_happiness"): ["neutral", "happiness", "happiness"],
    }
    assert all(str(root / STRONG) in row.image for row in rows)
    assert [row.frame for row in rows if row.sequence == "P001_surprise"] == ["8", "9", "10", "11"]
    for row in rows:
        first = "008.jpeg" if row.sequence == "P001_surprise" else "000.jpeg"
        assert Path(row.reference) == Path(row.image).with_name(first)


def test_number_of_apex_frames(root, capsys):
    rows, _ = table(root, capsys, "--apex", "1")
    expressions = [row.label for row in rows if row.label not in ("", "neutral")]
    assert expressions == ["anger", "surprise", "happiness"]


def test_frames_are_in_the_order_of_their_numbers(root, capsys):
    anger = root / STRONG / "P001/Anger"
    for frame in range(6):
        (anger / f"{frame:03d}.jpeg").rename(anger / f"{2 * frame + 1}.jpeg")
    rows, _ = table(root, capsys)
    assert [row.frame for row in rows[:6]] == ["1", "3", "5", "7", "9", "11"]


def test_a_missing_first_frame_and_gaps_are_noted(root, capsys):
    late = "note: VL/Strong: 1 sequences do not start with frame 0"
    _, text = table(root, capsys, "--strict")
    assert late in text and "the first is P001/Surprise" in text and "gaps" not in text
    (root / STRONG / "P001/Anger/003.jpeg").unlink()
    _, text = table(root, capsys, "--strict")
    assert "note: VL/Strong: 1 sequences have gaps" in text and "the first is P001/Anger" in text


def test_a_copy_numbered_from_1_throughout_lacks_no_first_frame(root, capsys):
    shutil.rmtree(root / STRONG / "P001/Surprise")
    for folder in (root / STRONG / "P001/Anger", root / STRONG / "P070/Happiness"):
        for file in sorted(folder.iterdir(), reverse=True):
            file.rename(folder / f"{int(file.stem) + 1:03d}.jpeg")
    _, text = table(root, capsys, "--strict")
    assert "do not start" not in text and "gaps" not in text


def test_other_depths_of_the_same_tree(root, capsys):
    expected = indexing.labels(table(root, capsys)[0])
    for place in ("B_OriginalImg/OriginalImg", "B_OriginalImg"):
        copy = root.parent / place.replace("/", " ")
        shutil.copytree(root / "OriginalImg", copy / place)
        assert indexing.labels(table(copy, capsys)[0]) == expected
    assert indexing.labels(table(root / "OriginalImg", capsys)[0]) == expected


def test_summary_counts_beside_the_papers(root, capsys):
    _, text = table(root, capsys)
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["anger"] == ["1", "1", "3", "80"]
    assert lines["fear"] == ["0", "0", "0", "80"]
    assert lines["all"] == ["2", "3", "13", "480", "of", "80", "subjects"]
    for note in (
        "VL/Strong has 2 subjects; expected 80",
        "VL/Strong has 3 sequences; expected 480",
        "P001 has 2 expressions; expected 6",
        "P070 has 1 expressions; expected 6",
    ):
        assert f"note: {note}" in text


def empty(folder):
    for path in folder.iterdir():
        shutil.rmtree(path)


NO_DATABASE = {
    "no folder": (shutil.rmtree, "no such folder"),
    "only the cropped archive": (
        lambda root: shutil.rmtree(root / "OriginalImg"), "no folder OriginalImg/VL/Strong",
    ),
    "only near infra-red": (
        lambda root: shutil.rmtree(root / "OriginalImg/VL"), "no folder OriginalImg/VL/Strong",
    ),
    "no subjects": (
        lambda root: empty(root / STRONG), "has 0 sequences like P001/Anger; expected 480",
    ),
    "empty folders": (
        lambda root: [path.unlink() for path in (root / STRONG).rglob("*.jpeg")],
        "nothing in it can be used; the first of ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", NO_DATABASE)
def test_a_wrong_or_half_extracted_folder_is_one_line_saying_what_is_missing(root, capsys, damage):
    inflict, expected = NO_DATABASE[damage]
    inflict(root)
    assert run(root) == 1
    error = indexing.refusal(root, capsys)
    assert str(root) in error and expected in error


# What is done, the place that is named, the problem, and how many of the 13 images are left.
UNUSABLE = {
    "another expression": (
        lambda root: (root / STRONG / "P001/Anger").rename(root / STRONG / "P001/Contempt"),
        "P001/Contempt", "no expression; expected Anger, Disgust", 7,
    ),
    "no subject": (
        lambda root: (root / STRONG / "P070").rename(root / STRONG / "new folder"),
        "new folder", "no subject", 10,
    ),
    "an empty sequence": (
        lambda root: [path.unlink() for path in (root / STRONG / "P001/Anger").iterdir()],
        "P001/Anger", "has 0 images", 7,
    ),
    "a single image": (
        lambda root: [path.unlink() for path in (root / STRONG / "P070/Happiness").glob("00[12]*")],
        "P070/Happiness", "has 1 images", 10,
    ),
    "a number twice": (
        lambda root: (root / STRONG / "P070/Happiness/1.jpg").write_bytes(IMAGE),
        "P070/Happiness", "two images of the same number", 10,
    ),
    "a link in circles": (
        lambda root: (root / STRONG / "P001/Fear").symlink_to(root / STRONG),
        "P001/Fear", "a symbolic link to a folder above itself", 13,
    ),
    "a name that is not UTF-8": (
        lambda root: os.mkdir(os.fsencode(root / STRONG) + b"/P0\xff"),
        "P0\\xff", "its name is not UTF-8", 13,
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", UNUSABLE)
def test_what_cannot_be_used_is_skipped_and_listed(root, capsys, damage):
    inflict, place, problem, left = UNUSABLE[damage]
    inflict(root)
    rows, text = table(root, capsys)
    assert len(rows) == left
    (row,) = indexing.skipped(root)
    assert row["path"] == f"{root / STRONG}/{place}" and problem in row["reason"]
    assert f"{root.parent}/out/skipped.csv: 1 files that cannot be used, skipped" in text


@pytest.mark.parametrize("damage", UNUSABLE)
def test_strict_stops_at_what_cannot_be_used(root, capsys, damage):
    inflict, place, problem, _ = UNUSABLE[damage]
    inflict(root)
    assert run(root, "--strict") == 1
    error = indexing.refusal(root, capsys)
    assert error.startswith(f"error: {root / STRONG}/{place}: ") and problem in error


def test_the_full_tree_has_the_papers_counts_and_litter_changes_nothing(tmp_path, capsys):
    root = tmp_path / "Oulu-CASIA"
    camera = Camera(size=(24, 18), colour=True, people=1, seed=int(os.environ["TEST_SEED"]))
    images = synthetic.write(root, camera, full=True, frames=2, workers=2)
    rows, text = table(root, capsys, "--strict")
    assert len(rows) == images
    assert {row.subject for row in rows} == {f"P{number:03d}" for number in range(1, 81)}
    assert len(indexing.labels(rows)) == oulu_casia.SEQUENCES == 480
    counted = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    for expression in oulu_casia.EXPRESSION_FOLDERS.values():
        assert counted[expression][:2] == ["80", "80"] and counted[expression][3:] == ["80"]
    assert "note" not in text

    litter.scatter(root)
    untidy, text = table(root, capsys, "--strict")
    assert [Path(row.image).suffix for row in untidy].count(".JPEG") == 480
    assert "note" not in text

    def plain(rows):
        return [
            (row.image.lower(), row.subject, row.sequence, row.frame, row.label) for row in rows
        ]

    assert plain(untidy) == plain(rows)


def test_synthesized_by_the_command_in_colour_and_the_same_again(tmp_path, capsys):
    for name in ("one", "two"):
        assert main(["synthesize", "oulu_casia", str(tmp_path / name), "--subjects", "2",
                     "--frames", "3", "--size", "64x48"]) == 0  # fmt: skip
    capsys.readouterr()
    files = [sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
             for name in ("one", "two")]  # fmt: skip
    for first, second in zip(*files, strict=True):
        assert first.relative_to(tmp_path / "one") == second.relative_to(tmp_path / "two")
        assert first.read_bytes() == second.read_bytes()
    image = cv2.imread(str(files[0][-1]))
    assert image.shape == (48, 64, 3) and (image[..., 0] != image[..., 2]).any()
    assert main(["synthesize", "oulu_casia", str(tmp_path / "many"), "--subjects", "1000"]) == 1
    assert "--subjects 1000: must be at most 999" in capsys.readouterr().err
