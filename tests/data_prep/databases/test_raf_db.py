"""RAF-DB's layout, real quirks included, into index.csv."""

import functools
import os
import shutil
import stat
from collections import Counter

import cv2
import indexing
import pytest

from data_prep.databases import raf_db
from data_prep.synthetic import raf_db as synthetic
from data_prep.synthetic.writing import Camera
from gcnet_base.protocol import CLASSES

SMALL = Camera(size=(48, 48), colour=True, people=2)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    root = tmp_path_factory.mktemp("full") / "RAF DB"
    assert synthetic.write(root, SMALL, full=True, workers=2) == 15_339
    return root


@pytest.fixture(scope="module")
def tidy(tmp_path_factory):
    """14 training and 7 test images below a folder with a space in its name."""
    root = tmp_path_factory.mktemp("tidy") / "RAF DB"
    synthetic.write(root, SMALL, train=14, test=7, workers=1)
    return root


@pytest.fixture
def root(tidy, tmp_path):
    """A copy to damage."""
    return shutil.copytree(tidy, tmp_path / "RAF DB")


run = functools.partial(indexing.run, "raf_db")
table = functools.partial(indexing.rows, "raf_db")


@pytest.mark.parametrize("images", ("original", "aligned"))
@pytest.mark.parametrize("split, expected", (("test", 3068), ("train", 12271)))
def test_a_full_tree_is_read_to_the_authors_counts(full, capsys, split, expected, images):
    rows = table(full, "--strict", "--split", split, "--images", images)
    labels = Counter(row.label for row in rows)
    assert labels == raf_db.COUNTS[split]
    assert set(labels) == set(CLASSES[raf_db.CLASSES])
    assert len(rows) == len({row.subject for row in rows}) == expected
    assert not any(row.reference for row in rows)
    assert all((row.landmarks is None) == (images == "aligned") for row in rows)
    text = capsys.readouterr().out
    assert "note" not in text and "skipped" not in text
    assert text.splitlines()[-2].split() == ["all"] + [str(expected)] * 4


def test_labels_and_landmarks_are_those_of_the_image(root):
    codes = dict(line.split() for line in (root / "basic" / raf_db.LABELS).read_text().splitlines())
    for row in table(root):
        name = row.image.rsplit("/", 1)[1]
        assert row.label == raf_db.CODES[codes[name]]
        assert name == f"{row.subject}.jpg"
        text = (root / "basic" / raf_db.MANUAL / f"{row.subject}_manu_attri.txt").read_text()
        points = [tuple(map(float, line.split("\t"))) for line in text.splitlines()[:5]]
        assert list(row.landmarks) == points
        height, width = cv2.imread(row.image).shape[:2]
        assert all(0 < x < width and 0 < y < height for x, y in row.landmarks)


def test_left_is_the_smaller_x_whatever_the_file_calls_left(root):
    before = table(root)
    for file in (root / "basic" / raf_db.MANUAL).iterdir():
        eye, other, nose, corner, last, *rest = file.read_text().splitlines()
        file.write_text("\n".join([other, eye, nose, last, corner, *rest]).replace("\t", " "))
    assert table(root) == before


def test_the_folder_basic_is_a_root_too(root):
    rows = table(root)
    shutil.rmtree(root.parent / "out")
    assert table(root / "basic") == rows == table(root.parent / "RAF DB")


def test_the_label_file_may_be_spelled_right(root):
    before = table(root)
    labels = root / "basic" / raf_db.LABELS
    labels.rename(labels.with_name("list_partition_label.txt"))
    assert table(root, "--strict") == before


def test_untidy_copies_give_the_same_rows(root, tmp_path):
    untidy = tmp_path / "untidy" / "RAF-DB"
    synthetic.write(untidy, SMALL, untidy=True, train=14, test=7, workers=1)
    assert {".JPG", ".TXT"} <= {file.suffix for file in untidy.rglob("*")}
    for images in ("original", "aligned"):
        tables = [
            [(row.image.removeprefix(str(at)).lower(), row.label, row.landmarks) for row in rows]
            for at in (root, untidy)
            for rows in [table(at, "--strict", "--images", images)]
        ]
        assert tables[0] == tables[1]
        assert len(tables[0]) == 7


def test_without_landmarks_the_images_stay(root, capsys):
    shutil.rmtree(root / "basic" / "Annotation")
    rows = table(root, "--strict")
    assert len(rows) == 7 and not any(row.landmarks for row in rows)
    note = "note: Annotation/manual has 0 landmark files (test); expected 3068"
    assert note in capsys.readouterr().out


def lines(root, change):
    file = root / "basic" / raf_db.LABELS
    file.write_text("".join(change(file.read_text().splitlines(keepends=True))))


def manual(root):
    return root / "basic" / raf_db.MANUAL / "test_0003_manu_attri.txt"


def make_unreadable(file):
    """A file that even an administrator cannot open."""
    file.unlink()
    os.mknod(file, stat.S_IFSOCK)


# Name: what is done to the database, what is said about it, rows that remain of 7.
SKIPPED = {
    "code 8": (
        lambda root: lines(root, lambda given: [*given[:-1], "test_0007.jpg 8\n"]),
        "list_patition_label.txt, line 21: emotion code '8'; expected 1 to 7",
        6,
    ),
    "cut line": (
        lambda root: lines(root, lambda given: [*given[:-1], "test_0007.jp"]),
        "list_patition_label.txt, line 21: 'test_0007.jp'; expected a line like",
        6,
    ),
    "a path that leaves the root": (
        lambda root: lines(root, lambda given: [*given, "../../../../secret.jpg 5\n"]),
        "/secret.jpg: leads out of the database's folder; correct the entry",
        7,
    ),
    "a link that leaves the root": (
        lambda root: [
            (root.parent / "secret.jpg").touch(),
            (root / "basic/secret.jpg").symlink_to(root.parent / "secret.jpg"),
            lines(root, lambda given: [*given, "../../secret.jpg 5\n"]),
        ],
        "basic/secret.jpg: a symbolic link out of the database's folder",
        7,
    ),
    "twice": (
        lambda root: lines(root, lambda given: [*given, "test_0007.jpg 1\n"]),
        "line 22: test_0007.jpg is already in line 21",
        7,
    ),
    "missing image": (
        lambda root: (root / "basic/Image/original/test_0003.jpg").unlink(),
        "Image/original/test_0003.jpg: no such file; unpack the archive",
        6,
    ),
    "four points": (
        lambda root: manual(root).write_text("1 2\n" * 4),
        "test_0003_manu_attri.txt: expected 5 lines 'x y'",
        7,
    ),
    "one point five times": (
        lambda root: manual(root).write_text("1 2\n" * 5),
        "test_0003_manu_attri.txt: expected 5 lines 'x y'",
        7,
    ),
    "unreadable landmarks": (
        lambda root: make_unreadable(manual(root)),
        "test_0003_manu_attri.txt: cannot be read",
        7,
    ),
    "no numbers": (
        lambda root: manual(root).write_text("nan 2\n" * 5),
        "test_0003_manu_attri.txt: expected 5 lines 'x y'",
        7,
    ),
}


@pytest.mark.parametrize("damage", SKIPPED)
def test_what_cannot_be_used_is_listed(root, capsys, damage):
    inflict, problem, remaining = SKIPPED[damage]
    inflict(root)
    assert run(root, "--strict") == 1
    error = indexing.refusal(root, capsys)
    assert str(root.parent) in error and problem in error

    assert len(table(root)) == remaining
    (skipped,) = indexing.skipped(root)
    assert problem in f"{skipped['path']}: {skipped['reason']}"


HALF_EXTRACTED = {
    "wrong root": (lambda root: shutil.rmtree(root / "basic"), "no folder EmoLabel"),
    "no label file": (
        lambda root: (root / "basic" / raf_db.LABELS).unlink(),
        "EmoLabel: no list_patition_label.txt",
    ),
    "unreadable label file": (
        lambda root: make_unreadable(root / "basic" / raf_db.LABELS),
        "cannot be read",
    ),
    "archive not unpacked": (
        lambda root: shutil.rmtree(root / "basic/Image/original"),
        "unpack Image/original.zip",
    ),
    "empty folder": (
        lambda root: [file.unlink() for file in (root / "basic/Image/original").glob("test*")],
        "has 0 images of the test part; expected 3068",
    ),
}


@pytest.mark.parametrize("damage", HALF_EXTRACTED)
def test_a_half_extracted_database_is_one_line(root, capsys, damage):
    inflict, problem = HALF_EXTRACTED[damage]
    inflict(root)
    assert run(root) == 1
    error = indexing.refusal(root, capsys)
    assert str(root) in error and problem in error


def test_missing_images_are_told_in_the_counts(root, capsys):
    table(root)
    text = capsys.readouterr().out
    assert "note: Image/original has 7 images (test); expected 3068" in text
    assert "note: EmoLabel/list_patition_label.txt has 7 labels (test); expected 3068" in text
