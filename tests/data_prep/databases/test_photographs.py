"""A folder of one's own photographs into index.csv."""

import csv
import functools
import os
import unicodedata
from collections import Counter
from pathlib import Path

import cv2
import indexing
import numpy as np
import pytest

from data_prep.databases import photographs
from data_prep.synthetic import photographs as synthetic
from data_prep.synthetic.writing import Camera
from gcnet_base.protocol import LABELS

SMALL = Camera(size=(48, 48), colour=True, people=2)
PICTURE = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()


@pytest.fixture
def add(tmp_path):
    """add("anna_happy.jpg", ...): pictures in the folder, which is returned."""

    def add(*names):
        for name in names:
            file = tmp_path / "my photographs" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(PICTURE)
        return tmp_path / "my photographs"

    return add


run = functools.partial(indexing.run, "photographs")
table = functools.partial(indexing.rows, "photographs")


def meanings(rows):
    """{name: (subject, label, name of the reference)}."""
    return {
        Path(row.image).name: (row.subject, row.label, Path(row.reference).name) for row in rows
    }


def test_names_say_subject_and_label(add):
    root = add(
        "anna_neutral.jpg", "anna_happiness_02.jpg", "anna_Happy2.JPG", "anna_sad-1.jpeg",
        "anna_angry.PNG", "anna_holiday.jpg", "anna_happyface.jpg", "anna_.jpg", "anna_3.jpg",
        "anna.jpg", "Jörg Peter_surprised.png", "Jörg Peter_NEUTRAL b.bmp",
        "Jörg Peter_neutral a.tif", "M. Li_afraid.jpg", "さくら_disgusted.jpg", "IMG 4711.jpg",
        "mary_ann_happy.jpg", "o'neil_contempt_.jpg",
    )  # fmt: skip
    assert meanings(table(root, "--strict")) == {
        "anna_neutral.jpg": ("anna", "neutral", "anna_neutral.jpg"),
        "anna_happiness_02.jpg": ("anna", "happiness", "anna_neutral.jpg"),
        "anna_Happy2.JPG": ("anna", "happiness", "anna_neutral.jpg"),
        "anna_sad-1.jpeg": ("anna", "sadness", "anna_neutral.jpg"),
        "anna_angry.PNG": ("anna", "anger", "anna_neutral.jpg"),
        "anna_holiday.jpg": ("anna", "", "anna_neutral.jpg"),
        "anna_happyface.jpg": ("anna", "", "anna_neutral.jpg"),
        "anna_.jpg": ("anna", "", "anna_neutral.jpg"),
        "anna_3.jpg": ("anna", "", "anna_neutral.jpg"),
        "anna.jpg": ("anna", "", "anna_neutral.jpg"),
        "Jörg Peter_surprised.png": ("Jörg Peter", "surprise", "Jörg Peter_NEUTRAL b.bmp"),
        "Jörg Peter_NEUTRAL b.bmp": ("Jörg Peter", "neutral", "Jörg Peter_NEUTRAL b.bmp"),
        "Jörg Peter_neutral a.tif": ("Jörg Peter", "neutral", "Jörg Peter_NEUTRAL b.bmp"),
        "M. Li_afraid.jpg": ("M. Li", "fear", ""),
        "さくら_disgusted.jpg": ("さくら", "disgust", ""),
        "IMG 4711.jpg": ("IMG 4711", "", ""),
        "mary_ann_happy.jpg": ("mary", "", ""),
        "o'neil_contempt_.jpg": ("o'neil", "contempt", ""),
    }


def test_folders_say_the_label(add):
    root = add(
        "happiness/anna_1.jpg", "happiness/anna_sad.jpg", "Neutral/anna.jpg", "sad/zoë 2.jpg",
        "anna_anger.jpg", "sad/older/anna_9.jpg",
    )  # fmt: skip
    assert meanings(table(root, "--strict")) == {
        "anna_anger.jpg": ("anna", "anger", "anna.jpg"),
        "anna.jpg": ("anna", "neutral", "anna.jpg"),
        "anna_1.jpg": ("anna", "happiness", "anna.jpg"),
        "anna_sad.jpg": ("anna", "happiness", "anna.jpg"),
        "zoë 2.jpg": ("zoë 2", "sadness", ""),
    }


def test_one_name_in_two_spellings_of_unicode_is_one_subject(add):
    spellings = [unicodedata.normalize(form, "zoë") for form in ("NFC", "NFD")]
    assert spellings[0] != spellings[1]
    root = add(f"{spellings[0]}_neutral.jpg", f"{spellings[1]}_happy.jpg")
    rows = table(root)
    assert [row.subject for row in rows] == ["zoë"] * 2
    assert {Path(row.reference).name for row in rows} == {f"{spellings[0]}_neutral.jpg"}


def test_every_label_has_its_words_in_the_docstring():
    assert set(photographs.WORDS.values()) == set(LABELS)
    assert all(word in photographs.__doc__ for word in photographs.WORDS)


@pytest.mark.parametrize("folders", (False, True))
def test_synthetic_pictures_tidy_or_not(tmp_path, folders, capsys):
    tables = []
    for untidy in (False, True):
        root = tmp_path / str(untidy) / "photographs"
        images = synthetic.write(
            root, SMALL, untidy=untidy, workers=1, subjects=7, takes=1, folders=folders
        )
        rows = table(root, "--strict")
        assert len(rows) == images == 7 * (8 if folders else 9)
        assert len({row.subject for row in rows}) == 7
        assert all(row.reference for row in rows)
        labels = Counter(row.label for row in rows if row.label)
        assert labels == dict.fromkeys(LABELS, 7)
        assert any(" " in row.subject for row in rows)
        assert any(row.image.endswith(" copy.jpg") for row in rows) == untidy
        tables.append({(row.subject, row.label) for row in rows})
    assert tables[0] == tables[1]
    # Nobody knows how many pictures there should be.
    assert "paper" not in capsys.readouterr().out


# What is in the folder beside anna_happy.jpg, and what is said about it.
SKIPPED = {
    "another format": ("anna_sad.HEIC", "anna_sad.HEIC: HEIC files are not read; save it as JPEG"),
    "no subject": ("_happy.jpg", "_happy.jpg: no subject before the first '_'"),
    "a folder of another name": ("holiday/anna_happy.jpg", "holiday: its name is no label; use"),
}


@pytest.mark.parametrize("case", SKIPPED)
def test_what_cannot_be_used_is_listed(add, capsys, case):
    name, problem = SKIPPED[case]
    root = add("anna_happy.jpg", name)
    assert run(root, "--strict") == 1
    error = indexing.refusal(root, capsys)
    assert f"{root}/{problem}" in error

    assert list(meanings(table(root))) == ["anna_happy.jpg"]
    (skipped,) = indexing.skipped(root)
    assert f"{root}/{problem}" in f"{skipped['path']}: {skipped['reason']}"


def test_links_out_of_the_folder_and_strange_names_are_listed(add, tmp_path):
    root = add("anna_happy.jpg")
    (tmp_path / "else.jpg").write_bytes(PICTURE)
    (root / "zoë_happy.jpg").symlink_to(tmp_path / "else.jpg")
    (root / "sad").symlink_to(root)
    Path(os.fsdecode(os.fsencode(root) + b"/j\xf6rg_happy.jpg")).write_bytes(PICTURE)
    assert list(meanings(table(root))) == ["anna_happy.jpg"]
    with open(tmp_path / "out" / "skipped.csv", newline="") as file:
        reasons = {row["path"].rsplit("/", 1)[1]: row["reason"] for row in csv.DictReader(file)}
    assert reasons.keys() == {"zoë_happy.jpg", "sad", "j\\xf6rg_happy.jpg"}
    assert "out of the database's folder" in reasons["zoë_happy.jpg"]


def test_a_folder_without_pictures_is_one_line(tmp_path, capsys):
    root = tmp_path / "empty"
    root.mkdir()
    (root / "letter.txt").write_text("")
    assert run(root) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{root}: no picture" in error
    assert not (tmp_path / "out").exists()

    # Something that is skipped does not hide what is to be done.
    (root / "anna_happy.heic").write_bytes(b"")
    assert run(root) == 1
    error = capsys.readouterr().err
    assert "give a folder with names like anna_happiness_02.jpg" in error
    assert "(1 files skipped, --strict says why)" in error
    assert run(tmp_path / "nowhere") == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
