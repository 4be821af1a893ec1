"""MMI's layout, videos and XML files, into index.csv and frames."""

import functools
import os
import shutil

import cv2
import indexing
import numpy as np
import pytest

from data_prep import index
from data_prep.__main__ import main
from data_prep.databases import mmi
from data_prep.synthetic import mmi as synthetic
from data_prep.synthetic.writing import Camera

SMALL = Camera(size=(60, 48), colour=True, people=2, seed=int(os.environ["TEST_SEED"]))
SESSION_XML = '<session><track filename="x.avi" view="{}"/></session>'
EMOTION_XML = '<Annotation><Metatag Name="Comment" Value="9x"/>{}</Annotation>'


def add_session(root, number, name, code=1, view=0, frames=9, size=(64, 48)):
    """A session whose frames get brighter, ten gray levels a frame from 10 on."""
    place = root / "Sessions" / str(number)
    place.mkdir(parents=True)
    (place / "session.xml").write_text(SESSION_XML.format(view))
    tag = "" if code is None else f'<Metatag Name="Emotion" Value="{code}" />'
    (place / f"{name}.xml").write_text(EMOTION_XML.format(tag))
    writer = cv2.VideoWriter(
        str(place / f"{name}.avi"), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*"MJPG"), 24, size
    )
    for frame in range(1, frames + 1):
        writer.write(np.full((size[1], size[0], 3), 10 * frame, np.uint8))
    writer.release()
    return place


@pytest.fixture
def root(tmp_path):
    """Three subjects, one with a single sequence, and sessions that are not of the paper's kind."""
    root = tmp_path / "MMI database"
    add_session(root, 1767, "S028-001", code=4)
    add_session(root, 1768, "S028-002", code=1, frames=12)
    add_session(root, 1770, "S030-001", code=6)
    add_session(root, 1790, "S001-100", code=3, view=2)
    add_session(root, 1800, "S021-003", code=2, view=1)
    add_session(root, 1801, "S028-003", code=7)
    add_session(root, 1802, "S028-004", code=None)
    (root / "Sessions/1803").mkdir()
    (root / "Sessions/1803/S028-005.JPG").write_bytes(b"")
    return root


run = functools.partial(indexing.run, "mmi")
table = functools.partial(indexing.rows, "mmi")


def labels(rows):
    found = {}
    for row in rows:
        found.setdefault(row.sequence, {})[int(row.frame)] = row.label
    return found


def gray(row, output):
    return float(cv2.imread(str(output / row.image), cv2.IMREAD_GRAYSCALE).mean())


def test_full_synthetic_tree_has_the_papers_counts(tmp_path, capsys):
    root = tmp_path / "MMI"
    assert synthetic.write(root, SMALL, full=True, untidy=True, frames=5) >= 312 * 5
    rows = table(root, "--strict")
    text = capsys.readouterr().out
    sequences = {row.sequence for row in rows}
    assert len(sequences) == 205
    assert len({row.subject for row in rows}) == 30
    assert len(rows) == 205 * 4
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["all"][:4] == ["30", "205", "820", "205"]
    assert {int(lines[label][1]) for label in mmi.CODES.values()} == {34, 35}
    assert "expected" not in text
    assert "99 sessions in dual view" in text and "8 sessions in profile" in text
    per_subject = [len({r.sequence for r in rows if r.subject == s}) for s in ("S028", "S053")]
    assert per_subject[1] == 1 < per_subject[0]


def test_frames_are_those_that_were_drawn_upright_and_gray(tmp_path):
    root = tmp_path / "MMI"
    synthetic.write(root, SMALL, subjects=2, sequences=1, frames=8, workers=1)
    planned = {s.name: s for s in synthetic.plan(False, SMALL.seed, 2, 1, 8)}
    rows = table(root, "--every", "3", "--dual")
    shapes = {}
    for row in rows:
        session = planned[row.sequence]
        drawn = cv2.cvtColor(synthetic.draw(SMALL, session)[int(row.frame) - 1], cv2.COLOR_BGR2GRAY)
        if session.view == mmi.DUAL:
            drawn = drawn[:, 30:]  # S001 is frontal in the right half
        elif session.subject != "S053":
            drawn = cv2.rotate(drawn, cv2.ROTATE_90_CLOCKWISE)
        found = cv2.imread(str(root.parent / "out" / row.image), cv2.IMREAD_UNCHANGED)
        assert found.shape == drawn.shape
        assert np.abs(found.astype(int) - drawn).mean() < 4, (row, SMALL.seed)
        shapes[row.subject, session.view] = found.shape
    assert shapes == {("S001", "0"): (60, 48), ("S053", "0"): (40, 53), ("S001", "2"): (48, 30)}


def test_labels_from_neutral_over_the_middle(root, capsys):
    before = sorted(root.rglob("*"))
    rows = table(root)
    assert sorted(root.rglob("*")) == before
    assert labels(rows) == {
        "S028-001": {1: "neutral", 4: "happiness", 5: "happiness", 6: "happiness"},
        "S028-002": {1: "neutral", 5: "anger", 6: "anger", 7: "anger"},
        "S030-001": {1: "neutral", 4: "surprise", 5: "surprise", 6: "surprise"},
    }
    assert {row.subject for row in rows} == {"S028", "S030"}
    assert all(row.reference == f"images/{row.sequence}/{row.sequence}_00001.png" for row in rows)
    for row in rows:
        assert gray(row, root.parent / "out") == pytest.approx(10 * int(row.frame), abs=2)
    text = capsys.readouterr().out
    for note in (
        "1 sessions in profile are left out",
        "1 sessions in dual view (--dual takes their frontal halves) are left out",
        "2 sessions of none of the six emotions are left out",
        "1 sessions with still images are left out",
        "Sessions has 5 sequences of the six emotions; expected 312",
        "Sessions has 3 frontal sequences of them; expected 205",
    ):
        assert f"note: {note}" in text.replace("note: Sessions: ", "note: "), note
    assert not (root.parent / "out" / "skipped.csv").exists()


def test_number_of_apex_frames_and_frames_between(root):
    found = labels(table(root, "--apex", "1", "--every", "4"))
    assert found["S028-001"] == {1: "neutral", 5: "happiness", 9: ""}
    assert found["S028-002"] == {1: "neutral", 5: "", 6: "anger", 9: ""}
    short = labels(table(root, "--apex", "40"))["S030-001"]
    assert short == {1: "neutral"} | dict.fromkeys(range(2, 10), "surprise")


def test_peaks_override_the_middle(root, capsys):
    peaks = root.parent / "mmi_peaks.csv"
    peaks.write_text("sequence,frame\nS028-001,9\nS030-001,2\nS099-001,5\n")
    found = labels(table(root, "--peaks", peaks))
    assert [n for n, label in found["S028-001"].items() if label == "happiness"] == [7, 8, 9]
    assert [n for n, label in found["S030-001"].items() if label == "surprise"] == [2, 3, 4]
    assert [n for n, label in found["S028-002"].items() if label == "anger"] == [5, 6, 7]
    text = capsys.readouterr().out
    assert "mmi_peaks.csv names 1 sequences that are not used, the first is S099-001" in text
    assert "mmi_peaks.csv has no peak of 1 sequences, the first is S028-002" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no such file"),
        ("S028-001,9\n", "line 1: the columns must be sequence,frame"),
        ("sequence,frame\nS028-001,ten\n", "line 2: frame 'ten'"),
        ("sequence,frame\nS028-001,0\n", "line 2: frame '0'"),
        ("sequence,frame\nS028-001\n", "line 2: frame ''"),
        ("sequence,frame\n,4\n", "line 2: sequence is empty"),
        ("sequence,frame\nS028-001,3\nS028-001,4\n", "line 3: S028-001 is there twice"),
        ("sequence,frame\nS028-001,10\n", "frame 10 of S028-001; its video has the frames 2 to 9"),
        ("sequence,frame\nS028-001,1\n", "frame 1 of S028-001"),
    ],
)
def test_wrong_peaks_are_one_line(root, capsys, text, told):
    peaks = root.parent / "my peaks.csv"
    if text is not None:
        peaks.write_text(text)
    assert run(root, "--peaks", peaks) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(peaks) in error and told in error, error
    assert not (root.parent / "out" / "index.csv").exists()


def test_dual_views_give_their_frontal_half(root):
    rows = [row for row in table(root, "--dual") if row.subject == "S001"]
    assert [row.label for row in rows] == ["neutral", "fear", "fear", "fear"]
    image = cv2.imread(str(root.parent / "out" / rows[0].image), cv2.IMREAD_UNCHANGED)
    assert image.shape == (48, 32)


def test_a_dual_view_of_an_unknown_side_is_skipped(root):
    add_session(root, 1900, "S006-108", view=2)
    assert "S006" not in {row.subject for row in table(root, "--dual")}
    assert "S006-108.avi" in (root.parent / "out/skipped.csv").read_text()


def test_frames_that_are_there_are_kept_and_missing_ones_written_again(root):
    rows = table(root)
    files = {row.image: root.parent / "out" / row.image for row in rows}
    times = {}
    for image, file in files.items():
        os.utime(file, ns=(1, 1))
        times[image] = 1
    lost, empty = list(files)[2], list(files)[5]
    content = files[lost].read_bytes(), files[empty].read_bytes()
    files[lost].unlink()
    files[empty].write_bytes(b"")
    left = files[lost].with_name(".S028-001_00005.png.123.partial")
    left.write_bytes(b"half")
    assert table(root) == rows
    assert (files[lost].read_bytes(), files[empty].read_bytes()) == content
    assert not left.exists()
    again = {image for image, file in files.items() if file.stat().st_mtime_ns != 1}
    assert again == {lost, empty}


def test_frames_of_a_replaced_video_are_decoded_anew(root):
    table(root)
    shutil.rmtree(root / "Sessions/1767")
    add_session(root, 1767, "S028-001", code=4, frames=15)
    rows = [row for row in table(root) if row.sequence == "S028-001"]
    assert [row.frame for row in rows] == ["1", "7", "8", "9"]
    assert gray(rows[2], root.parent / "out") == pytest.approx(80, abs=2)


def test_upper_case_names_and_litter(root):
    rows = table(root)
    for folder in (root / "Sessions").iterdir():
        for file in list(folder.iterdir()):
            file.rename(file.with_name(file.name.upper()))
        (folder / ".DS_Store").write_bytes(b"\0")
        (folder / "._S028-001.avi").write_bytes(b"\0")
    (root / "Sessions/1767/S028-001-OAO_AUCS.XML").write_text("<ActionUnits/>")
    shutil.rmtree(root.parent / "out")
    assert table(root, "--strict") == rows


def test_untidy_copies_give_the_same_rows(tmp_path):
    tables = []
    for untidy in (False, True):
        root = tmp_path / str(untidy) / "MMI"
        synthetic.write(root, SMALL, untidy=untidy, subjects=3, sequences=1, frames=5, workers=1)
        assert {".AVI", ".XML"} <= {file.suffix for file in root.rglob("*")} or not untidy
        tables.append(table(root, "--strict"))
    assert tables[0] == tables[1]


def test_the_folder_of_sessions_itself_can_be_given(root):
    rows = table(root)
    assert main(["index", "mmi", str(root / "Sessions"), "-o", str(root.parent / "other")]) == 0
    assert index.read(root.parent / "other/index.csv").rows == rows


def session(root):
    return root / "Sessions/1767"


def cut(root):
    video = session(root) / "S028-001.avi"
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])


def make_folder(file):
    """What can be read by nobody as a file."""
    file.unlink()
    file.mkdir()


def point_elsewhere(root, file):
    elsewhere = root.parent / file.name
    file.replace(elsewhere)
    file.symlink_to(elsewhere)


def write(name, text):
    return lambda root: (session(root) / name).write_text(text)


def emotion(code):
    return write("S028-001.xml", EMOTION_XML.format(f'<Metatag Name="Emotion" Value="{code}"/>'))


DAMAGES = {
    "no session.xml": (
        lambda root: (session(root) / "session.xml").unlink(), "session.xml", "no such file"
    ),
    "no emotion file": (
        lambda root: (session(root) / "S028-001.xml").unlink(), "S028-001.xml", "no such file"
    ),
    "no video": (lambda root: (session(root) / "S028-001.avi").unlink(), "1767", "no video"),
    "unreadable xml": (
        lambda root: make_folder(session(root) / "S028-001.xml"), "S028-001.xml", "cannot be read"
    ),
    "xml out of the database": (
        lambda root: point_elsewhere(root, session(root) / "session.xml"),
        "session.xml",
        "a symbolic link out of the database's folder",
    ),
    "broken xml": (write("S028-001.xml", "<Annotation>"), "S028-001.xml", "is no XML"),
    "unknown encoding": (
        write("session.xml", '<?xml version="1.0" encoding="x"?><a/>'), "session.xml", "is no XML"
    ),
    "code 10": (emotion("10"), "S028-001.xml", "emotion code '10'; expected 0 to 9"),
    "code that is no number": (emotion("happy"), "S028-001.xml", "emotion code 'happy'"),
    "view 3": (
        write("session.xml", SESSION_XML.format(3)), "session.xml", "view of the track: '3'"
    ),
    "no view": (write("session.xml", "<session><track/></session>"), "session.xml", "missing"),
    "two views": (
        write("session.xml", '<s><track view="0"/><track view="1"/></s>'), "session.xml", "'0' and"
    ),
    "empty video": (write("S028-001.avi", ""), "S028-001.avi", "no frame can be decoded"),
    "no AVI": (write("S028-001.avi", "<html>" * 99), "S028-001.avi", "no frame can be decoded"),
    "broken off video": (cut, "S028-001.avi", "breaks off after frame"),
    "one frame": (
        lambda root: (
            shutil.rmtree(session(root)),
            add_session(root, 1767, "S028-001", frames=1),
        ),
        "S028-001.avi",
        "only one frame",
    ),
    "sequence twice": (
        lambda root: shutil.copytree(session(root), root / "Sessions/1766"),
        "1767/S028-001.avi",
        "is also in session 1766",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unusable_session_is_skipped_or_stops(root, capfd, damage):
    inflict, name, told = DAMAGES[damage]
    inflict(root)
    rows = table(root)
    assert ("S028-001" in {row.sequence for row in rows}) == (damage == "sequence twice")
    assert {"S028-002", "S030-001"} < {row.sequence for row in rows} | {""}
    skipped = (root.parent / "out/skipped.csv").read_text().splitlines()[1:]
    assert len(skipped) == 1 and name in skipped[0] and told in skipped[0], skipped
    assert capfd.readouterr().err == ""
    shutil.rmtree(root.parent / "out")

    assert run(root, "--strict") == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and str(root) in error and name in error and told in error, error
    assert not (root.parent / "out").exists()


def test_sessions_without_use_are_told_though_files_were_skipped(root, capsys):
    for folder in (root / "Sessions").iterdir():
        if folder.name not in ("1790", "1801"):
            shutil.rmtree(folder)
    (root / "Sessions/1801/session.xml").unlink()
    assert run(root) == 1
    error = capsys.readouterr().err
    assert "none of its 2 sessions is a frontal one of the six emotions; download those" in error
    assert "(1 files skipped, --strict says why)" in error


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "has no session with a video, like Sessions/1767/S028-001.avi"),
        (("1790", "1800", "1801"), "none of its 3 sessions is a frontal one"),
    ],
)
def test_a_folder_without_usable_sessions_is_one_line(root, capsys, names, told):
    for folder in (root / "Sessions").iterdir():
        if folder.name not in names:
            shutil.rmtree(folder)
    assert run(root) == 1
    error = indexing.refusal(root, capsys)
    assert str(root) in error and told in error, error
