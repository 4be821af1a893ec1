"""SFEW 2.0's layouts into index.csv."""

import functools
import os
import shutil
from pathlib import Path

import cv2
import indexing
import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.databases import sfew
from data_prep.synthetic import litter
from data_prep.synthetic import sfew as synthetic
from data_prep.synthetic.writing import Camera

IMAGE = cv2.imencode(".png", np.full((24, 32, 3), 90, np.uint8))[1].tobytes()


def add(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(IMAGE)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "SFEW 2"
    add(
        root,
        "Val/Angry/21_001108440_00000025.png",
        "Val/Happy/21_001703120_00000012.png",
        "Val/Neutral/HarryPotter_Deathly_Hallows_1_003239120_00000001.png",
        "Val/Surprise/21_001703120_00000012.png",
        "Train/Disgust/1.png",
        "Train/Disgust/OceansThirteen-010619400_00000087.png",
        "Train/Sad/IAmSam_013827920__00000055.png",
        "Train/Happy/50_50_001805320_00000009.png",
        "Train/Train_Aligned_Faces/Sad/IAmSam_013827920__00000055.png",
        "Test/AfterTheSunSet_010648120_00000051.png",
    )
    return root


run = functools.partial(indexing.run, "sfew")
table = functools.partial(indexing.table, "sfew")


def named(root, rows):
    return [(row.image.removeprefix(f"{root}/"), row.subject, row.label) for row in rows]


def test_validation_images_are_those_of_the_paper(root, capsys):
    before = sorted(root.rglob("*"))
    rows, _ = table(root, capsys, "--strict")
    assert sorted(root.rglob("*")) == before
    assert named(root, rows) == [
        ("Val/Angry/21_001108440_00000025.png", "21", "anger"),
        ("Val/Happy/21_001703120_00000012.png", "21", "happiness"),
        ("Val/Neutral/HarryPotter_Deathly_Hallows_1_003239120_00000001.png",
         "HarryPotter_Deathly_Hallows_1", "neutral"),
        ("Val/Surprise/21_001703120_00000012.png", "21", "surprise"),
    ]  # fmt: skip
    assert not any(row.reference or row.landmarks for row in rows)
    assert len({row.sequence for row in rows}) == 4


def test_training_images_of_all_spellings(root, capsys):
    rows, _ = table(root, capsys, "--strict", "--split", "train")
    assert named(root, rows) == [
        ("Train/Disgust/1.png", "unnamed", "disgust"),
        ("Train/Disgust/OceansThirteen-010619400_00000087.png", "OceansThirteen", "disgust"),
        ("Train/Happy/50_50_001805320_00000009.png", "50_50", "happiness"),
        ("Train/Sad/IAmSam_013827920__00000055.png", "IAmSam", "sadness"),
    ]


@pytest.mark.parametrize("place", ["Val", "Val/Val", "Val_SFEW_2_0", "VAL"])
def test_places_of_the_original_frames(root, capsys, place):
    (root / "Val").rename(root / "here")
    (root / place).parent.mkdir(exist_ok=True)
    (root / "here").rename(root / place)
    rows, text = table(root, capsys, "--strict")
    assert len(rows) == 4
    assert f"note: {place}/Angry has 1 images; expected 77" in text


@pytest.mark.parametrize(
    "place",
    [
        "Val/Val_Aligned_Faces_new/Val_Aligned_Faces",
        "Val/Val_Aligned_Faces",
        "Val_Aligned_Faces_new",
        "Val_Aligned_Faces",
    ],
)
def test_places_of_the_aligned_faces(root, capsys, place):
    add(root, f"{place}/Fear/21_012152480_00000001.png")
    rows, text = table(root, capsys, "--strict", "--images", "aligned")
    assert named(root, rows) == [(f"{place}/Fear/21_012152480_00000001.png", "21", "fear")]
    assert f"note: {place}/Fear has 1 images; expected 46" in text
    # They do not get among the original frames.
    assert len(table(root, capsys, "--strict")[0]) == 4


def test_summary_counts_beside_the_challenges(root, capsys):
    _, text = table(root, capsys)
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["anger"] == ["1", "1", "1", "77"]
    assert lines["fear"] == ["0", "0", "0", "47"]
    assert lines["neutral"] == ["1", "1", "1", "86"]
    assert lines["all"] == ["2", "4", "4", "436"]
    assert "note: Val/Fear has 0 images; expected 47" in text


def test_numbers_add_up_to_those_of_the_challenge():
    totals = {key: sum(numbers.values()) for key, numbers in sfew.COUNTS.items()}
    assert totals == {
        ("original", "train"): 958,
        ("original", "val"): 436,
        ("aligned", "train"): 891,
        ("aligned", "val"): 431,
    }


def pack_again(root):
    shutil.rmtree(root / "Val")
    (root / "Val").mkdir()
    (root / "Val/Angry.zip").write_bytes(b"PK")


NO_DATABASE = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no validation images": (lambda root: shutil.rmtree(root / "Val"), "no folder Val with"),
    "archives in the archive": (pack_again, "unpack the archive Val of SFEW 2.0 and those in it"),
    "empty classes": (
        lambda root: [path.unlink() for path in (root / "Val").rglob("*.png")],
        "nothing in it can be used; the first of 7 reasons: Val/Angry has 0 images",
    ),
}


@pytest.mark.parametrize("damage", NO_DATABASE)
def test_a_wrong_or_half_extracted_folder_is_one_line_saying_what_is_missing(root, capsys, damage):
    inflict, expected = NO_DATABASE[damage]
    inflict(root)
    assert run(root) == 1
    error = indexing.refusal(root, capsys)
    assert str(root) in error and expected in error


def test_aligned_faces_that_are_not_there_are_one_line(root, capsys):
    assert run(root, "--images", "aligned") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Val_Aligned_Faces" in error and "--images original" in error


# What is done, the place that is named, and the problem.
UNUSABLE = {
    "another class": (
        lambda root: add(root, "Val/Contempt/21_001108440_00000025.png"),
        "Val/Contempt", "no class; expected Angry, Disgust",
    ),
    "a link out of the database": (
        lambda root: (root / "Val/Angry/b.png").symlink_to("/dev/null"),
        "Val/Angry/b.png", "a symbolic link out of the database's folder",
    ),
    "a name that is not UTF-8": (
        lambda root: Path(os.fsdecode(os.fsencode(root) + b"/Val/Angry/\xff.png")).touch(),
        "Val/Angry/\\xff.png", "its name is not UTF-8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", UNUSABLE)
def test_what_cannot_be_used_is_skipped_and_listed(root, capsys, damage):
    inflict, place, problem = UNUSABLE[damage]
    inflict(root)
    rows, text = table(root, capsys)
    assert len(rows) == 4
    (row,) = indexing.skipped(root)
    assert row["path"] == f"{root}/{place}" and problem in row["reason"]
    assert f"{root.parent}/out/skipped.csv: 1 files that cannot be used, skipped" in text


@pytest.mark.parametrize("damage", UNUSABLE)
def test_strict_stops_at_what_cannot_be_used(root, capsys, damage):
    inflict, place, problem = UNUSABLE[damage]
    inflict(root)
    assert run(root, "--strict") == 1
    error = indexing.refusal(root, capsys)
    assert error.startswith(f"error: {root}/{place}: ") and problem in error


def test_the_full_tree_has_the_challenges_counts_and_litter_changes_nothing(tmp_path, capsys):
    root = tmp_path / "SFEW_2"
    camera = Camera(size=(24, 18), colour=True, people=2, seed=int(os.environ["TEST_SEED"]))
    assert synthetic.write(root, camera, full=True, workers=2) == 958 + 436 + 372
    assert len(list((root / "Test").iterdir())) == 372

    def plain(rows):
        return [(row.image.lower(), row.subject, row.label) for row in rows]

    tidy = {}
    for split in ("train", "val"):
        rows, text = table(root, capsys, "--strict", "--split", split)
        labels = [row.label for row in rows]
        assert {label: labels.count(label) for label in labels} == sfew.COUNTS["original", split]
        assert "note" not in text
        tidy[split] = rows
    assert "unnamed" in {row.subject for row in tidy["train"]}
    twins = [Path(row.image).name for row in tidy["val"]]
    assert len(set(twins)) == len(twins) - 1
    assert not {row.subject for row in tidy["train"]} & {row.subject for row in tidy["val"]}

    litter.scatter(root)
    for split in ("train", "val"):
        rows, text = table(root, capsys, "--strict", "--split", split)
        assert [Path(row.image).suffix for row in rows].count(".PNG") == 7
        assert sorted(plain(rows)) == sorted(plain(tidy[split]))
        assert "note" not in text


def test_synthesized_by_the_command_in_colour_and_the_same_again(tmp_path, capsys):
    for name in ("one", "two"):
        assert main(["synthesize", "sfew", str(tmp_path / name), "--images", "2",
                     "--size", "64x48", "--people", "2"]) == 0  # fmt: skip
    assert capsys.readouterr().out.count("written, 30 images") == 2
    files = [sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
             for name in ("one", "two")]  # fmt: skip
    assert len(files[0]) == 2 * 7 + 2 * 7 + 2
    for first, second in zip(*files, strict=True):
        assert first.relative_to(tmp_path / "one") == second.relative_to(tmp_path / "two")
        assert first.read_bytes() == second.read_bytes()
    image = cv2.imread(str(files[0][-1]))
    assert image.shape == (48, 64, 3) and (image[..., 0] != image[..., 2]).any()
