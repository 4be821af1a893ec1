"""index.csv: what is accepted, and how each mistake in it is told."""

import csv
import os

import cv2
import numpy as np
import pytest

from data_prep import index
from data_prep.__main__ import main
from gcnet_base.errors import InputError

POINTS = ["30", "40", "70", "41", "50", "60", "35", "80", "66", "80"]
HEADER = [*index.COLUMNS, *index.LANDMARK_COLUMNS]


def good_rows():
    """Two people, each with a neutral and a happy image."""
    return [
        ["a0.png", "A", "A1", "1", "neutral", "a0.png", *POINTS],
        ["a1.png", "A", "A1", "2", "happiness", "a0.png", *POINTS],
        ["b0.png", "B", "B1", "1", "", "", *POINTS],
        ["b1.png", "B", "B1", "2", "happiness", "b0.png", *[""] * 10],
    ]


def write(folder, rows, header=HEADER, images=("a0", "a1", "b0", "b1")):
    for name in images:
        cv2.imwrite(str(folder / f"{name}.png"), np.full((100, 100), 90, np.uint8))
    path = folder / "index.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_reads_what_is_there(tmp_path):
    table = index.read(write(tmp_path, good_rows()))

    assert [row.label for row in table.rows] == ["neutral", "happiness", "", "happiness"]
    assert table.rows[1].reference == "a0.png"
    assert table.rows[1].landmarks[0] == (30.0, 40.0)
    assert table.rows[3].landmarks is None
    assert table.rows[3].line == 5
    assert table.file("a0.png") == tmp_path / "a0.png"


def test_photographs_need_subject_and_label_only(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    write(tmp_path, [])
    rows = [["../a0.png", "A", "", "", "fear", ""], [str(tmp_path / "a1.png"), "A", "", "", "", ""]]
    # Excel writes a byte order mark and may add columns of its own.
    path = write(folder, [[*row, "mine"] for row in rows], [*index.COLUMNS, "remark"], images=())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    table = index.read(path)

    assert [row.sequence for row in table.rows] == ["../a0.png", str(tmp_path / "a1.png")]
    assert all(os.path.samefile(table.file(row.image).parent, tmp_path) for row in table.rows)


def test_written_index_reads_the_same(tmp_path):
    table = index.read(write(tmp_path, good_rows()))
    index.write(tmp_path / "again.csv", table.rows)
    assert index.read(tmp_path / "again.csv").rows == table.rows


def test_written_paths_are_relative_inside_the_folder_and_absolute_outside(tmp_path):
    inner = tmp_path / "in"
    inner.mkdir()
    write(tmp_path, [], images=("out",))
    write(inner, [], images=("in",))
    rows = [index.Row(str(tmp_path / "out.png"), "A"), index.Row(str(inner / "in.png"), "A")]

    index.write(inner / "index.csv", rows)

    found = [row.image for row in index.read(inner / "index.csv").rows]
    assert found == [str(tmp_path / "out.png"), "in.png"]


def test_interrupted_write_leaves_the_old_index(tmp_path):
    path = write(tmp_path, good_rows())
    before = path.read_bytes()

    def rows():
        yield index.Row("a0.png", "A")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.write(path, rows())
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a0.png", "a1.png", "b0.png", "b1.png", "index.csv"]


def change(row, column, value):
    def edit(rows):
        rows[row][HEADER.index(column)] = value

    return edit


MISTAKES = {
    "unknown label": (change(1, "label", "happy"), "line 3", "'happy'", "happiness"),
    "label in capitals": (change(1, "label", "Fear"), "line 3", "'Fear'", "fear"),
    "other's reference": (change(1, "reference", "b0.png"), "line 3", "subject B", "b0.png"),
    "reference no row": (change(1, "reference", "x.png"), "line 3", "x.png", "add a row"),
    "reference happy": (change(2, "label", "happiness"), "line 5", "b0.png", "neutral image"),
    "duplicate image": (lambda rows: rows.append(["./a1.png", *rows[1][1:]]), "line 6", "line 3"),
    "duplicate frame": (change(1, "frame", "01"), "line 3", "line 2", "frame 01"),
    "no subject": (change(2, "subject", " "), "line 4", "subject is empty"),
    "no image": (change(2, "image", ""), "line 4", "image is empty"),
    "frame no number": (change(0, "frame", "first"), "line 2", "'first'"),
    "landmark no number": (change(0, "nose_y", "6O"), "line 2", "nose_y", "'6O'"),
    "landmark infinite": (change(0, "nose_y", "inf"), "line 2", "nose_y", "'inf'"),
    "landmark missing": (change(0, "nose_y", ""), "line 2", "nose_y"),
    "eyes swapped": (change(0, "left_eye_x", "90"), "line 2", "left_eye_x", "smaller x"),
    "mouth swapped": (change(0, "mouth_left_x", "90"), "line 2", "mouth_left_x"),
    "value too many": (lambda rows: rows[0].append("1"), "line 2", "16 values"),
    "value too few": (lambda rows: rows[0].pop(), "line 2", "16 values"),
    "no rows": (lambda rows: rows.clear(), "no rows"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_one_line_naming_file_and_row(tmp_path, capsys, mistake):
    edit, *expected = MISTAKES[mistake]
    rows = good_rows()
    edit(rows)
    path = write(tmp_path, rows)
    check_refused(path, capsys, expected)


def test_missing_image(tmp_path):
    # `align` lists it in dropped.csv and goes on; every other reader of an index needs its files.
    rows = good_rows()
    change(1, "image", "gone.png")(rows)
    with pytest.raises(InputError, match=r"line 3: no such image: .*gone\.png"):
        index.read(write(tmp_path, rows))


@pytest.mark.parametrize("column", ["subject", "reference", "nose_x"])
def test_missing_column(tmp_path, capsys, column):
    at = HEADER.index(column)
    rows = [row[:at] + row[at + 1 :] for row in [HEADER, *good_rows()]]
    path = write(tmp_path, rows[1:], rows[0])
    check_refused(path, capsys, ["line 1", "columns" if column == "nose_x" else column])


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n\x00\xff", "image\n\xfc".encode("latin1"), b'"a\n']
)
def test_no_csv_at_all(tmp_path, capsys, content):
    path = tmp_path / "index.csv"
    path.write_bytes(content)
    check_refused(path, capsys, [])


def test_no_index(tmp_path, capsys):
    check_refused(tmp_path / "index.csv", capsys, ["no such file"])


def check_refused(path, capsys, expected):
    """`align` ends with status 1, one line that names the file, and no output folder."""
    before = sorted(os.listdir(path.parent))
    assert main(["align", str(path), "-o", str(path.parent / "faces")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    for part in [str(path), *expected]:
        assert part in error, error
    assert sorted(os.listdir(path.parent)) == before
    with pytest.raises(InputError):
        index.read(path)
