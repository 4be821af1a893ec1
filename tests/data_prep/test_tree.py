"""A database's folder as readers walk it: what they pass by, what they list, what stops them."""

import csv
import os

import pytest

from data_prep.__main__ import main
from data_prep.tree import Tree
from gcnet_base.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Three people with a picture each, named as CASIA-WebFace names them."""
    for name in ("0000045", "0000099", "0000100"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        (tmp_path / "faces" / name / "001.jpg").write_bytes(b"\xff\xd8")
    return tmp_path / "faces"


def index(root, *options):
    return main(["index", "casia_webface", str(root), "-o", str(root.parent / "out"), *options])


def listed(root):
    with open(root.parent / "out" / "index.csv", newline="") as file:
        return [os.path.relpath(row["image"], root) for row in csv.DictReader(file)]


def skipped(root):
    path = root.parent / "out" / "skipped.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [(os.path.relpath(row["path"], root), row["reason"]) for row in csv.DictReader(file)]


WHOLE = [f"{name}/001.jpg" for name in ("0000045", "0000099", "0000100")]


def test_litter_is_passed_by(root):
    for name in (".DS_Store", "Thumbs.db", "._001.jpg", ".hidden.jpg", "desktop.ini"):
        (root / "0000045" / name).write_bytes(b"")
    for name in ("__MACOSX", ".Trashes", "@eaDir"):
        (root / name).mkdir()
        (root / name / "001.jpg").write_bytes(b"")
    (root / "readme.txt").write_text("")
    assert index(root, "--strict") == 0
    assert listed(root) == WHOLE
    assert skipped(root) == []


def test_upper_case_suffixes_and_spaces(root):
    (root / "0000045" / "002.JPG").write_bytes(b"\xff\xd8")
    (root / "0000099" / "my picture.Jpeg").write_bytes(b"\xff\xd8")
    assert index(root, "--strict") == 0
    assert {"0000045/002.JPG", "0000099/my picture.Jpeg"} < set(listed(root))


def loop(root):
    (root / "0000101").symlink_to("0000101")
    return "0000101", "symbolic link to nothing or to itself"


def upward(root):
    (root / "all").symlink_to(root)
    return "all", "symbolic link to a folder above itself"


def outward(root):
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "001.jpg").write_bytes(b"\xff\xd8")
    (root / "0000046").symlink_to(root.parent / "elsewhere")
    return "0000046", "out of the database's folder"


def outward_file(root):
    (root.parent / "secret.jpg").write_bytes(b"\xff\xd8")
    (root / "0000045" / "002.jpg").symlink_to("../../secret.jpg")
    return "0000045/002.jpg", "out of the database's folder"


def not_utf8(root):
    os.mkdir(os.fsencode(root) + b"/S\xfcd")
    return r"S\xfcd", "not UTF-8"


@pytest.mark.parametrize("spoil", [loop, upward, outward, outward_file, not_utf8])
def test_what_cannot_be_used_is_listed_or_stops(root, capsys, spoil):
    path, problem = spoil(root)
    assert index(root) == 0
    assert listed(root) == WHOLE
    ((skipped_path, reason),) = skipped(root)
    assert skipped_path == path and problem in reason
    assert "skipped.csv: 1 files" in capsys.readouterr().out

    before = (root.parent / "out" / "index.csv").read_bytes()
    assert index(root, "--strict") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and path in error and problem in error
    assert (root.parent / "out" / "index.csv").read_bytes() == before


def test_a_link_within_the_database_is_followed(root):
    (root / "0000200").symlink_to("0000045")
    assert index(root, "--strict") == 0
    assert listed(root) == [*WHOLE, "0000200/001.jpg"]


def test_a_stale_list_of_skipped_files_goes(root):
    _, _ = upward(root)
    assert index(root) == 0 and skipped(root)
    (root / "all").unlink()
    assert index(root) == 0 and not skipped(root)


@pytest.mark.parametrize(
    "text", ["../secret.jpg", "0000045/../../secret.jpg", "/etc/passwd", "up/secret.jpg"]
)
def test_an_entry_of_a_list_cannot_leave_the_root(root, text):
    (root.parent / "secret.jpg").write_bytes(b"")
    (root / "up").symlink_to(root.parent)
    tree = Tree(root)
    assert tree.file(text) is None
    ((_, problem),) = tree.skipped
    assert "leads out" in problem or "out of the database's folder" in problem
    assert Tree(root).file("0000045/001.jpg") == root / "0000045/001.jpg"


def test_folders_are_found_in_any_case(root):
    (root / "Emotion").mkdir()
    tree = Tree(root)
    assert tree.folder("emotion", "unpack it") == root / "Emotion"
    with pytest.raises(InputError, match="no folder FACS; unpack it"):
        tree.folder("FACS", "unpack it")


def test_output_inside_the_database_is_refused(root, capsys):
    assert main(["index", "casia_webface", str(root), "-o", str(root / "out")]) == 1
    assert "which is only read" in capsys.readouterr().err
    assert not (root / "out").exists()


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("")])
def test_no_folder_is_one_line(tmp_path, capsys, make):
    make(tmp_path / "CK+")
    for database in ("casia_webface", "ckplus"):
        assert main(["index", database, str(tmp_path / "CK+"), "-o", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "no such folder" in error
    assert not (tmp_path / "out").exists()
