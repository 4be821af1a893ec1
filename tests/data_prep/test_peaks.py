"""Peaks of sequences: proposed by measure, kept when corrected, shown in a page."""

import base64
import json
import os
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from data_prep import index, peaks
from data_prep.__main__ import main
from data_prep.synthetic import mmi
from data_prep.synthetic.writing import Camera, draw_sequence, encode

SEED = int(os.environ["TEST_SEED"])
CAMERA = Camera(size=(144, 180), seed=SEED)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """(aligned index of whole synthetic sequences, {sequence: true peak})."""
    folder = tmp_path_factory.mktemp("faces")
    rows, truth = [], {}
    planned = [s for s in mmi.plan(False, SEED, 6, 2, 20) if s.view == "0" and s.code in mmi.CODES]
    for session in planned:
        truth[session.name] = session.peak
        renderings = draw_sequence(
            CAMERA, session.person, session.recording, mmi.CODES[session.code],
            lambda rng, session=session: mmi.time_course(session),
        )  # fmt: skip
        for frame, rendering in enumerate(renderings, start=1):
            image = folder / f"{session.name}_{frame:05d}.png"
            image.write_bytes(encode(rendering.image, ".png"))
            label = {1: "neutral", session.frames // 2: mmi.CODES[session.code]}.get(frame, "")
            points = tuple((float(x), float(y)) for x, y in rendering.five_points)
            rows.append(
                index.Row(
                    str(image),
                    session.subject,
                    session.name,
                    str(frame),
                    label,
                    str(folder / f"{session.name}_00001.png"),
                    points,
                )  # fmt: skip
            )
    index.write(folder / "index.csv", rows)
    assert main(["align", str(folder / "index.csv"), "-o", str(folder / "out")]) == 0
    return folder / "out" / "index.csv", truth


def run(faces, path):
    return main(["peaks", str(faces), "-o", str(path)])


def first_sequence(faces):
    """Rows of the first sequence, with absolute images and no references."""
    rows = index.read(faces[0]).rows
    return [
        replace(row, image=str(faces[0].parent / row.image), reference="")
        for row in rows
        if row.sequence == rows[0].sequence
    ]


def page_data(page):
    pattern = r'<script type="application/json" id="data">(.*?)</script>'
    return json.loads(re.search(pattern, page.read_text())[1])


def test_proposals_are_near_the_true_peaks(faces, tmp_path, capsys):
    path = tmp_path / "mmi_peaks.csv"
    assert run(faces[0], path) == 0
    found, truth = peaks.read(path), faces[1]
    assert found.keys() == truth.keys() and len(truth) == 12
    errors = sorted(abs(found[name] - truth[name]) for name in truth)
    assert errors[len(errors) // 2] <= 2 and errors[-2] <= 5, (errors, SEED)
    assert "12 peaks proposed, 0 kept" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mmi_peaks.csv", "mmi_peaks.html"]


def test_rows_that_are_there_are_kept(faces, tmp_path, capsys):
    path = tmp_path / "mmi_peaks.csv"
    run(faces[0], path)
    proposed = peaks.read(path)
    first, second = list(proposed)[:2]
    corrected = {first: proposed[first] + 1, "S099-001": 77}
    peaks.write(path, corrected)
    assert run(faces[0], path) == 0
    assert peaks.read(path) == proposed | corrected
    assert "11 peaks proposed, 2 kept" in capsys.readouterr().out
    data = page_data(path.with_suffix(".html"))
    assert data["others"] == {"S099-001": 77}
    entries = {entry["name"]: entry for entry in data["sequences"]}
    assert entries[first]["chosen"] == proposed[first] + 1
    assert entries[first]["proposed"] == proposed[first]
    assert entries[second]["chosen"] == entries[second]["proposed"] == proposed[second]


def test_sequences_that_are_not_whole_are_left_out_and_counted(faces, tmp_path, capsys):
    whole = first_sequence(faces)
    rows = list(whole)
    for sequence, label, those in (("short", "", whole[:2]), ("labelled", "fear", whole[:4])):
        for row in those:
            image = shutil.copy(row.image, tmp_path / f"{sequence}{row.frame}.png")
            rows.append(replace(row, image=str(image), sequence=sequence, label=label))
    index.write(tmp_path / "index.csv", rows)
    assert run(tmp_path / "index.csv", tmp_path / "p.csv") == 0
    assert len(peaks.read(tmp_path / "p.csv")) == 1
    assert "note: 2 sequences are left out" in capsys.readouterr().out


def test_page_holds_every_face_and_nothing_from_elsewhere(faces, tmp_path):
    path = tmp_path / "peaks of mine.csv"
    assert run(faces[0], path) == 0
    text = path.with_suffix(".html").read_text()
    assert not re.search(r"https?:|src=|<link|@import", text)
    strips = [
        cv2.imdecode(np.frombuffer(base64.b64decode(strip), np.uint8), cv2.IMREAD_GRAYSCALE)
        for strip in re.findall(r"url\(data:image/jpeg;base64,([^)]+)\)", text)
    ]
    data = page_data(path.with_suffix(".html"))
    rows = index.read(faces[0]).rows
    assert data["file"] == "peaks of mine.csv"
    assert [entry["name"] for entry in data["sequences"]] == sorted(faces[1])
    for entry, strip in zip(data["sequences"], strips, strict=True):
        shown = np.hsplit(strip, len(entry["frames"]))
        of_it = [row for row in rows if row.sequence == entry["name"]]
        assert entry["frames"] == [int(row.frame) for row in of_it]
        for face, row, distance in zip(shown, of_it, entry["distances"], strict=True):
            true = cv2.imread(str(faces[0].parent / row.image), cv2.IMREAD_GRAYSCALE)
            assert np.abs(face.astype(int) - true).mean() < 6, (row, SEED)
            neutral = cv2.imread(str(faces[0].parent / of_it[0].image), cv2.IMREAD_GRAYSCALE)
            assert distance == pytest.approx(np.abs(true - neutral.astype(float)).mean(), abs=0.01)


def test_names_cannot_break_out_of_the_page(faces, tmp_path):
    name = '</script><b>"&,'
    rows = [replace(row, sequence=name) for row in first_sequence(faces)]
    index.write(tmp_path / "index.csv", rows)
    assert run(tmp_path / "index.csv", tmp_path / "p.csv") == 0
    assert list(peaks.read(tmp_path / "p.csv")) == [name]
    assert page_data(tmp_path / "p.html")["sequences"][0]["name"] == name
    assert "</script><b>" not in (tmp_path / "p.html").read_text()


def test_from_videos_to_labels_at_the_corrected_peaks(tmp_path):
    root, out = tmp_path / "MMI", tmp_path / "out"
    size = Camera(size=(360, 288), colour=True, seed=SEED)
    mmi.write(root, size, subjects=2, sequences=1, frames=12, workers=2)
    command = ["index", "mmi", str(root), "-o", str(out)]
    assert main([*command, "--every", "2"]) == 0
    assert main(["align", str(out / "index.csv"), "-o", str(out / "faces")]) == 0
    path = tmp_path / "mmi_peaks.csv"
    assert run(out / "faces" / "index.csv", path) == 0
    chosen = peaks.read(path)
    assert chosen.keys() == {"S001-001", "S053-001"}
    chosen["S001-001"] = 3
    peaks.write(path, chosen)
    assert main([*command, "--peaks", str(path), "--apex", "1"]) == 0
    rows = index.read(out / "index.csv").rows
    labelled = {r.sequence: int(r.frame) for r in rows if r.label not in ("", "neutral")}
    assert labelled == chosen


WRONG = {
    "only labelled frames": (
        lambda rows, other: [replace(row, label="anger") for row in rows], "index mmi --every 2"
    ),
    "two subjects": (
        lambda rows, other: [replace(rows[0], subject="S999"), *rows[1:]], "is of 2 subjects"
    ),
    "no aligned face": (
        lambda rows, other: [replace(rows[0], image=other), *rows[1:]], "no face of 66x66"
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_an_index_that_does_not_serve_is_one_line(faces, tmp_path, capsys, wrong):
    change, told = WRONG[wrong]
    other = str(tmp_path / "big.png")
    cv2.imwrite(other, np.zeros((100, 100), np.uint8))
    index.write(tmp_path / "index.csv", change(first_sequence(faces), other))
    assert run(tmp_path / "index.csv", tmp_path / "p.csv") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(tmp_path) in error and told in error, error
    assert not (tmp_path / "p.csv").exists() and not (tmp_path / "p.html").exists()


def test_a_damaged_peaks_file_is_not_overwritten(faces, tmp_path, capsys):
    path = tmp_path / "p.csv"
    path.write_text("sequence,frame\nS001-001,?\n")
    assert run(faces[0], path) == 1
    assert f"{path}, line 2: frame '?'" in capsys.readouterr().err
    assert path.read_text() == "sequence,frame\nS001-001,?\n"
    assert run(faces[0], tmp_path / "p.html") == 1
    assert "give one that ends with .csv" in capsys.readouterr().err
