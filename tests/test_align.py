"""Alignment: geometry, a real photograph, resuming after a kill, and damaged images."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import skimage.data

from data_prep import FACE_SIZE, align, index
from data_prep.__main__ import main

# Read off an enlarged print of the photograph: eyes, nose tip, mouth corners.
ASTRONAUT_POINTS = ((203, 101.5), (246.5, 103.5), (223, 127), (202.5, 140), (244.5, 141.5))


@pytest.fixture(scope="module")
def astronaut():
    return cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)


def pose(scale, degrees, x, y):
    """Five points like TEMPLATE's, turned, scaled and moved, so that its centre comes to (x, y)."""
    turn = scale * np.exp(1j * np.radians(degrees))
    points = (align.TEMPLATE - 32.5) @ (1, 1j) * turn
    return np.column_stack([points.real + x, points.imag + y])


@pytest.mark.parametrize(("scale", "degrees"), [(6.3, 15), (2, -30), (1, 0), (0.5, 10)])
def test_points_come_to_their_place_in_the_template(scale, degrees):
    points = pose(scale, degrees, 301.3, 249.8)
    ys, xs = np.mgrid[:500, :600]
    for point, goal in zip(points, align.TEMPLATE, strict=True):
        # Wide enough to be seen in the 66 pixels, narrow enough to lie within them.
        distance = np.hypot(xs - point[0], ys - point[1]) / (2 * scale)
        image = np.rint(250 * np.exp(-(distance**2) / 2)).astype(np.uint8)
        face = align.crop(image, points).astype(float)
        v, u = np.mgrid[:FACE_SIZE, :FACE_SIZE]
        found = (u * face).sum() / face.sum(), (v * face).sum() / face.sum()
        assert found == pytest.approx(tuple(goal), abs=0.1)


def test_similarity_is_the_least_squares_one():
    seed = int(os.environ["TEST_SEED"])
    print("seed", seed)
    random = np.random.default_rng(seed)
    source = random.uniform(0, 100, (5, 2))

    def error(matrix):
        return ((source @ matrix[:, :2].T + matrix[:, 2] - align.TEMPLATE) ** 2).sum()

    best = align.similarity(source, align.TEMPLATE)
    assert best[0, 0] == best[1, 1]
    assert best[0, 1] == -best[1, 0]
    for a, b, x, y in random.normal(0, 1, (100, 4)) * (0.01, 0.01, 0.5, 0.5):
        assert error(best + [[a, -b, x], [b, a, y]]) > error(best)


def test_shrinking_does_not_alias():
    ys, xs = np.mgrid[:500, :600]
    checkerboard = ((xs + ys) % 2 * 255).astype(np.uint8)
    face = align.crop(checkerboard, pose(3.3, 7, 300, 250))
    assert abs(face.mean() - 127.5) < 1
    assert face.std() < 10


def test_equalisation_lifts_contrast_and_commutes_with_the_mirror(astronaut):
    gray = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
    face = align.crop(gray // 3, ASTRONAUT_POINTS)
    equal = align.equalize(face)
    assert equal.std() > 1.5 * face.std()
    mirrored = align.equalize(np.ascontiguousarray(face[:, ::-1]))[:, ::-1]
    assert np.abs(mirrored.astype(int) - equal).max() <= 2  # rounding


def photographs(folder, images, landmarks=None):
    """A user's index of {name: image}; all of subject "me", the first one is the reference."""
    folder.mkdir()
    first = next(iter(images))
    rows = []
    for name, image in images.items():
        cv2.imwrite(str(folder / name), image)
        points = (landmarks or {}).get(name)
        reference = str(folder / first)
        rows.append(index.Row(str(folder / name), "me", reference=reference, landmarks=points))
    index.write(folder / "index.csv", rows)
    return folder / "index.csv"


def test_real_photograph_through_mtcnn(tmp_path, astronaut, capsys):
    # Turned as far as heads are, and in a larger picture beside a smaller copy of itself.
    turn = cv2.getRotationMatrix2D((224, 120), 12, 1.5)
    turned = cv2.warpAffine(astronaut, turn, (512, 512))
    pair = np.zeros((512, 800, 3), np.uint8)
    pair[:, :512] = astronaut
    pair[:256, 520:776] = cv2.resize(astronaut, None, fx=0.5, fy=0.5)
    images = {"as.it.is.png": astronaut, "turned.jpg": turned, "pair.png": pair}
    path = photographs(tmp_path / "photos", images)

    assert main(["align", str(path), "-o", str(tmp_path / "faces"), "--workers", "1"]) == 0

    assert "3 faces" in capsys.readouterr().out
    upright = np.array(ASTRONAUT_POINTS)
    for row, truth in zip(
        index.read(tmp_path / "faces" / "index.csv").rows,
        [upright, upright @ turn[:, :2].T + turn[:, 2], upright],
        strict=True,
    ):
        eye_distance = np.hypot(*(truth[1] - truth[0]))
        error = np.hypot(*(np.array(row.landmarks) - truth).T)
        assert error.max() < 0.08 * eye_distance, row.image

        face = cv2.imread(str(tmp_path / "faces" / row.image), cv2.IMREAD_UNCHANGED)
        assert face.shape == (FACE_SIZE, FACE_SIZE)
        gray = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
        expected = align.equalize(align.crop(gray, upright))
        assert np.corrcoef(face.ravel(), expected.ravel())[0, 1] > 0.9


def test_images_without_a_face_are_listed_and_left_out(tmp_path, astronaut, capsys):
    wall = np.full((120, 160, 3), 128, np.uint8)
    path = photographs(tmp_path / "a", {"a.png": astronaut, "wall.png": wall, "b.png": astronaut})
    out = tmp_path / "faces"
    assert main(["align", str(path), "-o", str(out), "--workers", "1"]) == 0
    assert [row.image for row in index.read(out / "index.csv").rows] == [
        "images/me/a.png",
        "images/me/b.png",
    ]
    left_out = [["image", "reason"], ["wall.png", "MTCNN finds no face"]]
    assert read_csv(out / "no_face.csv") == left_out
    assert "1 images without face" in capsys.readouterr().out

    # With the wall as everybody's reference nobody is left.
    path = photographs(tmp_path / "b", {"wall.png": wall, "a.png": astronaut})
    assert main(["align", str(path), "-o", str(tmp_path / "none"), "--workers", "1"]) == 1
    assert "no face found in any of its 2 images" in capsys.readouterr().err
    assert not (tmp_path / "none" / "index.csv").exists()


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path, astronaut):
    points = {name: ASTRONAUT_POINTS for name in ("x.png", "x.jpg", "X.bmp")}
    path = photographs(tmp_path / "a", dict.fromkeys(points, astronaut), points)
    rows, _ = align.align(path, tmp_path / "faces", workers=1)
    assert [row.image for row in rows] == [f"images/me/{n}.png" for n in ("x", "x-2", "X-3")]


def test_strange_subject_names_stay_inside_the_folder(tmp_path, astronaut):
    cv2.imwrite(str(tmp_path / "a.png"), astronaut)
    rows = [index.Row(str(tmp_path / "a.png"), "../x y", landmarks=ASTRONAUT_POINTS)]
    index.write(tmp_path / "index.csv", rows)
    kept, _ = align.align(tmp_path / "index.csv", tmp_path / "out" / "faces", workers=1)
    assert (kept[0].image, kept[0].subject) == ("images/_._x_y/a.png", "../x y")
    assert (tmp_path / "out/faces/images/_._x_y/a.png").is_file()


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_killed_run_continues_and_repeats_nothing(tmp_path, astronaut):
    images = {f"{n:02d}.png": astronaut[:240, n + 90 : n + 350] for n in range(20)}
    path = photographs(tmp_path / "photos", images)
    command = [sys.executable, "-m", "data_prep", "align", str(path), "--workers", "2", "-o"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    process = subprocess.Popen([*command, str(killed)])
    journal = killed / "journal.jsonl"
    deadline = time.monotonic() + 30
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 4):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        workers = file.read().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive the killed command"
        time.sleep(0.05)
    assert not (killed / "index.csv").exists()
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(entries) < 20
    done = sorted(killed.rglob("*.png"))[: len(entries)]
    before = {file: file.stat().st_mtime_ns for file in done}
    with open(journal, "a") as file:
        file.write('{"half a li')
    (killed / "images/me/.00.png.1.partial").write_bytes(b"half a face")

    align.align(path, killed, workers=1)
    align.align(path, whole, workers=1)

    assert {file: file.stat().st_mtime_ns for file in done} == before
    assert content(killed) == content(whole)
    assert len(index.read(killed / "index.csv").rows) == 20


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_only_what_changed_is_done_again(tmp_path, astronaut):
    points = dict.fromkeys(("a.png", "b.png"), ASTRONAUT_POINTS)
    path = photographs(tmp_path / "photos", dict.fromkeys(points, astronaut), points)
    out = tmp_path / "faces"
    align.align(path, out, workers=1)
    before = content(out)
    faces = [out / "images/me" / name for name in points]
    times = [face.stat().st_mtime_ns for face in faces]

    align.align(path, out, workers=1)
    assert content(out) == before
    assert [face.stat().st_mtime_ns for face in faces] == times

    cv2.imwrite(str(tmp_path / "photos/b.png"), astronaut[:, :400] // 2)
    align.align(path, out, workers=1)
    assert faces[0].stat().st_mtime_ns == times[0]
    assert faces[1].read_bytes() != before[faces[1].relative_to(out)]


DAMAGES = [
    (".png", 0, "is empty (0 bytes)"),
    (".png", 0.5, "is damaged or no image"),
    (".png", 0.99, "is damaged or no image"),
    (".jpg", 0.5, "is damaged or no image"),
    (".bmp", 0.5, "is damaged or no image"),
    (".tif", 0.5, "is damaged or no image"),
    (".txt", 1, "is damaged or no image"),
]


def with_damaged_image(folder, astronaut, kind, share):
    """A user's index whose second image, in line 3, holds only `share` of its bytes."""
    names = ("a.png", f"b{kind}", "c.png")
    path = photographs(folder, {"a.png": astronaut, "c.png": astronaut})
    rows = [index.Row(str(folder / name), "me", landmarks=ASTRONAUT_POINTS) for name in names]
    index.write(path, rows)
    whole = b"hello" if kind == ".txt" else cv2.imencode(kind, astronaut)[1].tobytes()
    (folder / names[1]).write_bytes(whole[: int(share * len(whole))])
    return path


@pytest.mark.parametrize(("kind", "share", "problem"), DAMAGES)
def test_damaged_image_is_one_line_naming_file_and_row(
    tmp_path, astronaut, capfd, kind, share, problem
):
    path = with_damaged_image(tmp_path / "photos", astronaut, kind, share)
    out = tmp_path / "faces"
    assert main(["align", str(path), "-o", str(out), "--workers", "1"]) == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1, error
    assert f"{path}, line 3: {tmp_path / 'photos' / f'b{kind}'} {problem}" in error
    assert not (out / "index.csv").exists()

    cv2.imwrite(str(tmp_path / "photos" / "b.png"), astronaut)
    if kind == ".png":
        assert main(["align", str(path), "-o", str(out), "--workers", "1"]) == 0


def test_damaged_image_among_several_workers(tmp_path, astronaut):
    path = with_damaged_image(tmp_path / "photos", astronaut, ".jpg", 0.5)
    command = [sys.executable, "-m", "data_prep", "align", str(path), "-o", str(tmp_path / "out")]
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"{path}, line 3: {tmp_path / 'photos/b.jpg'} is damaged" in done.stderr
    assert not (tmp_path / "out" / "index.csv").exists()
    assert not list(tmp_path.rglob("*.partial"))


def test_the_index_itself_is_never_overwritten(tmp_path, astronaut, capsys):
    path = photographs(tmp_path / "a", {"a.png": astronaut}, {"a.png": ASTRONAUT_POINTS})
    before = content(tmp_path)
    assert main(["align", str(path), "-o", str(tmp_path / "a")]) == 1
    assert f"{path}: would be overwritten" in capsys.readouterr().err
    assert content(tmp_path) == before


def test_landmarks_of_another_image_are_refused(tmp_path, astronaut, capsys):
    path = photographs(tmp_path / "a", {"a.png": astronaut}, {"a.png": ASTRONAUT_POINTS})
    align.align(path, tmp_path / "faces", workers=1)
    # Landmarks in the new index are those of the original image, not of the 66x66 face.
    again = tmp_path / "faces" / "index.csv"
    assert main(["align", str(again), "-o", str(tmp_path / "again"), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert f"{again}, line 2: its landmarks are outside of" in error
    assert "66x66" in error
