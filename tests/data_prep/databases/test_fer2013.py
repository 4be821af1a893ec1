"""FER2013 as CSV and as folders into index.csv."""

import csv
import os
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest

from data_prep import index
from data_prep.__main__ import main
from data_prep.databases import fer2013
from data_prep.synthetic import fer2013 as synthetic
from data_prep.synthetic.writing import Camera
from gcnet_base.protocol import CLASSES

SMALL = Camera(size=(64, 64), people=2)
SIZES = {"train": 14, "test": 7}


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """{"csv", "icml", "folders": a root that may only be read}."""
    roots = {}
    for form in ("csv", "icml", "folders"):
        roots[form] = tmp_path_factory.mktemp(form) / "FER 2013"
        synthetic.write(roots[form], SMALL, workers=1, form=form, **SIZES)
    return roots


@pytest.fixture
def root(forms, tmp_path):
    """fer2013.csv to damage: line 1, then lines 2 to 15 Training, to 22 Public, to 29 Private."""
    return shutil.copytree(forms["csv"], tmp_path / "FER 2013")


@pytest.fixture
def folders(forms, tmp_path):
    """train and test, to damage."""
    return shutil.copytree(forms["folders"], tmp_path / "FER 2013")


def run(root, output, *options):
    return main(["index", "fer2013", str(root), "-o", str(output), *options])


def table(root, output, *options):
    assert run(root, output, *options) == 0
    return index.read(output / "index.csv").rows


def expected(split):
    total = Counter()
    for usage in fer2013.USAGES[split]:
        total.update(fer2013.COUNTS[usage])
    return total


def test_a_full_csv_is_read_to_its_counts(tmp_path, capsys):
    root = tmp_path / "FER 2013"
    assert synthetic.write(root, SMALL, full=True, workers=2) == 35_887
    rows = table(root, tmp_path / "out", "--strict")
    assert Counter(row.label for row in rows) == expected("private")
    assert len({row.subject for row in rows}) == len(rows) == 3589
    text = capsys.readouterr().out
    assert "note" not in text and text.splitlines()[-2].split() == ["all"] + ["3589"] * 4


def test_full_folders_are_read_to_their_counts(tmp_path, capsys):
    """The test parts as they are on Kaggle: 7178 links to one image, made in a second."""
    root = tmp_path / "FER 2013"
    (tmp_path / "face.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((48, 48), np.uint8))[1])
    for name, label in fer2013.FOLDERS.items():
        (root / "test" / name).mkdir(parents=True)
        for usage in ("PublicTest", "PrivateTest"):
            for number in range(fer2013.COUNTS[usage][label]):
                os.link(tmp_path / "face.jpg", root / "test" / name / f"{usage}_{number}.jpg")
    for split, total in (("private", 3589), ("public", 3589), ("test", 7178)):
        rows = table(root, tmp_path / "out", "--strict", "--split", split)
        assert Counter(row.label for row in rows) == expected(split)
        assert set(expected(split)) == set(CLASSES[fer2013.CLASSES])
        assert len({row.subject for row in rows}) == len(rows) == total
        assert "note" not in capsys.readouterr().out


@pytest.mark.parametrize("form", ("csv", "icml", "folders"))
def test_every_form_gives_the_chosen_part(forms, form, tmp_path, capsys):
    images = {}
    for split, own in (("private", 7), ("public", 7), ("test", 14), ("train", 14)):
        rows = table(forms[form], tmp_path / split, "--strict", "--split", split)
        assert len(rows) == own
        assert Counter(row.label for row in rows) == dict.fromkeys(fer2013.CODES, own // 7)
        assert not any(row.reference or row.landmarks for row in rows)
        images[split] = {os.path.basename(row.image) for row in rows}
    assert images["private"] | images["public"] == images["test"]
    assert not images["train"] & images["test"]
    assert "expected 3589" in capsys.readouterr().out


def test_pixels_and_labels_are_those_of_the_line(root, tmp_path):
    with open(root / "fer2013.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = table(root, tmp_path / "out", "--split", "train")
    for row in rows:
        number = int(row.subject.removeprefix("fer"))
        assert row.image == f"images/fer{number:07d}.png"
        assert row.label == fer2013.CODES[int(lines[number]["emotion"])]
        pixels = cv2.imread(str(tmp_path / "out" / row.image), cv2.IMREAD_UNCHANGED)
        values = list(map(int, lines[number]["pixels"].split()))
        assert np.array_equal(pixels, np.reshape(values, (48, 48)))
    assert [int(row.subject.removeprefix("fer")) for row in rows] == list(range(14))


def test_quoted_pixels_and_windows_line_ends(root, tmp_path):
    before = table(root, tmp_path / "before")
    file = root / "fer2013.csv"
    lines = [line.split(",") for line in file.read_text().splitlines()]
    file.write_bytes("".join(f'{a},"{b}",{c}\r\n' for a, b, c in lines).encode())
    assert table(root, tmp_path / "after", "--strict") == before


def test_blank_lines_and_a_byte_order_mark_change_nothing(root, tmp_path):
    before = table(root, tmp_path / "before")
    file = root / "fer2013.csv"
    lines = file.read_text().splitlines(keepends=True)
    lines[3:3], lines[20:20] = ["\n"], ["\r\n", "  \n"]
    file.write_text("".join(lines) + "\n\n", encoding="utf-8-sig")
    assert table(root, tmp_path / "after", "--strict") == before


def test_a_stopped_run_goes_on_where_it_was(root, tmp_path):
    output = tmp_path / "out"
    rows = table(root, output)
    images = [output / row.image for row in rows]
    contents = [image.read_bytes() for image in images]
    images[0].unlink()
    images[1].write_bytes(contents[1][:100])
    unfinished = output / "images" / ".fer0000022.png.4711.partial"
    unfinished.write_bytes(contents[1][:100])
    (output / "index.csv").unlink()
    moments = [image.stat().st_mtime_ns for image in images[2:]]

    assert table(root, output) == rows
    assert [image.read_bytes() for image in images] == contents
    assert [image.stat().st_mtime_ns for image in images[2:]] == moments
    assert not unfinished.exists()


def test_untidy_folders_give_the_same_rows(folders, tmp_path):
    untidy = tmp_path / "untidy"
    synthetic.write(untidy, SMALL, untidy=True, workers=1, form="folders", **SIZES)
    assert list(untidy.rglob("*.JPG"))
    tables = [
        [(row.image.removeprefix(str(at)).lower(), row.label) for row in rows]
        for at in (folders, untidy)
        for rows in [table(at, tmp_path / "out", "--strict", "--split", "test")]
    ]
    assert tables[0] == tables[1]


def test_an_untidy_csv_gives_the_same_rows(root, tmp_path):
    untidy = tmp_path / "untidy"
    synthetic.write(untidy, SMALL, untidy=True, workers=1, **SIZES)
    assert (untidy / "fer2013.CSV").is_file()
    assert table(untidy, tmp_path / "two", "--strict") == table(root, tmp_path / "one")


def test_folders_whose_names_tell_no_part(folders, tmp_path, capsys):
    for place in (folders / "test").iterdir():
        for number, file in enumerate(sorted(place.iterdir())):
            file.rename(place / f"im{number}.png")
    for name, other in (("disgust", "disgusted"), ("fear", "fearful"), ("surprise", "surprised")):
        (folders / "test" / name).rename(folders / "test" / other)
    assert run(folders, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "give --split test" in error
    # Something that is skipped does not hide what is to be done.
    (folders / "test" / "angry" / "im9.png").symlink_to(tmp_path)
    (folders / "test" / "holiday").mkdir()
    assert run(folders, tmp_path / "out") == 1
    assert "give --split test" in capsys.readouterr().err
    (folders / "test" / "angry" / "im9.png").unlink()
    (folders / "test" / "holiday").rmdir()
    rows = table(folders, tmp_path / "out", "--strict", "--split", "test")
    assert Counter(row.label for row in rows) == dict.fromkeys(fer2013.CODES, 2)


def change(number, **values):
    """A damage to fer2013.csv: other values in the line of that number."""

    def inflict(root):
        file = root / "fer2013.csv"
        lines = file.read_text().splitlines()
        line = dict(zip(("emotion", "pixels", "Usage"), lines[number - 1].split(","), strict=True))
        line |= {name: new(line[name]) for name, new in values.items()}
        lines[number - 1] = ",".join(line.values())
        file.write_text("\n".join(lines) + "\n")

    return inflict


def cut(characters):
    def inflict(root):
        file = root / "fer2013.csv"
        file.write_text(file.read_text()[:-characters])

    return inflict


# What is done to the last part, what is said about it. Another part's pixels are not looked at.
SKIPPED = {
    "2303 pixels": (
        change(25, pixels=lambda text: text.rsplit(" ", 1)[0]),
        "line 25: 2303 pixels; expected 2304, download the file again",
    ),
    "pixel 256": (
        change(25, pixels=lambda text: "256" + text[text.index(" ") :]),
        "line 25: pixel 256; expected 0 to 255",
    ),
    "pixel -1": (
        change(25, pixels=lambda text: "-1" + text[text.index(" ") :]),
        "line 25: pixel -1; expected 0 to 255",
    ),
    "letters": (
        change(25, pixels=lambda text: "x" + text),
        "line 25: pixels that are no whole numbers",
    ),
    "no pixels": (change(25, pixels=lambda text: ""), "line 25: 0 pixels; expected 2304"),
    "code 7": (
        change(25, emotion=lambda text: "7"),
        "line 25: emotion code '7'; expected 0 to 6",
    ),
    "unknown usage": (
        change(25, Usage=lambda text: "Validation"),
        "line 25: Usage 'Validation'; expected Training, PublicTest, PrivateTest",
    ),
    "cut usage": (cut(5), "line 29: Usage 'Private'; expected"),
    "cut pixels": (cut(500), "line 29: 2 values; expected emotion, pixels and Usage"),
    "a lost line end": (
        lambda root: change(25, Usage=lambda text: text + "5,1 2")(root),
        "line 25: 4 values; expected emotion, pixels and Usage",
    ),
}


@pytest.mark.parametrize("damage", SKIPPED)
def test_lines_that_cannot_be_used_are_listed(root, tmp_path, capsys, damage):
    inflict, problem = SKIPPED[damage]
    inflict(root)
    strict = tmp_path / "strict"
    assert run(root, strict, "--strict") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{root / 'fer2013.csv'}, {problem}" in error
    # Images before the line are there for the next run, but no index.
    assert not (strict / "index.csv").exists()

    output = tmp_path / "out"
    assert len(table(root, output)) == 6
    assert len(list((output / "images").iterdir())) == 6
    with open(output / "skipped.csv", newline="") as file:
        skipped = list(csv.DictReader(file))
    assert len(skipped) == 1
    assert f"{skipped[0]['path']}: {skipped[0]['reason']}".startswith(
        f"{root / 'fer2013.csv'}, {problem}"
    )


def empty_classes(root):
    (root / "fer2013.csv").unlink()
    (root / "test" / "holiday").mkdir(parents=True)


WRONG = {
    "folders without images": (empty_classes, "test: no images in folders named angry, disgust"),
    "wrong root": (lambda root: (root / "fer2013.csv").unlink(), "neither fer2013.csv nor"),
    "file without Usage": (
        lambda root: (root / "fer2013.csv").write_text("emotion,pixels\n"),
        "line 1: 'emotion,pixels'; expected emotion,pixels,Usage",
    ),
    "empty file": (
        lambda root: (root / "fer2013.csv").write_text(""),
        "line 1: ''; expected emotion,pixels,Usage",
    ),
    "half a download": (
        lambda root: (root / "fer2013.csv").write_text(
            "".join((root / "fer2013.csv").read_text().splitlines(keepends=True)[:20])
        ),
        "19 rows, none of PrivateTest; download it again",
    ),
}


@pytest.mark.parametrize("damage", WRONG)
def test_a_wrong_root_or_file_is_one_line(root, tmp_path, capsys, damage):
    inflict, problem = WRONG[damage]
    inflict(root)
    assert run(root, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(root) in error and problem in error
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_class_is_listed(folders, tmp_path, capsys):
    (folders / "test" / "angry").rename(folders / "test" / "contempt")
    assert run(folders, tmp_path / "strict", "--strict") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "test/contempt: no class; expected angry, disgust" in error
    assert not (tmp_path / "strict").exists()
    assert len(table(folders, tmp_path / "out")) == 6
    assert (tmp_path / "out" / "skipped.csv").is_file()
