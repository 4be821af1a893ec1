"""Alignment: geometry, real photographs, resuming after a kill, and bad images."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from conftest import REPOSITORY

from data_prep import FACE_SIZE, index
from data_prep.__main__ import main
from data_prep.faces import align, crop, detect, journal

# Read off an enlarged print of the photograph: eyes, nose tip, mouth corners.
ASTRONAUT_POINTS = ((203, 101.5), (246.5, 103.5), (223, 127), (202.5, 140), (244.5, 141.5))


@pytest.fixture(scope="module")
def astronaut():
    return cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)


def pose(scale, degrees, x, y):
    """Five points like TEMPLATE's, turned, scaled and moved, so that its centre comes to (x, y)."""
    turn = scale * np.exp(1j * np.radians(degrees))
    points = (crop.TEMPLATE - 32.5) @ (1, 1j) * turn
    return np.column_stack([points.real + x, points.imag + y])


@pytest.mark.parametrize(("scale", "degrees"), [(6.3, 15), (2, -30), (1, 0), (0.5, 10)])
def test_points_come_to_their_place_in_the_template(scale, degrees):
    points = pose(scale, degrees, 301.3, 249.8)
    ys, xs = np.mgrid[:500, :600]
    for point, goal in zip(points, crop.TEMPLATE, strict=True):
        # Wide enough to be seen in the 66 pixels, narrow enough to lie within them.
        distance = np.hypot(xs - point[0], ys - point[1]) / (2 * scale)
        image = np.rint(250 * np.exp(-(distance**2) / 2)).astype(np.uint8)
        face = crop.crop(image, points).astype(float)
        v, u = np.mgrid[:FACE_SIZE, :FACE_SIZE]
        found = (u * face).sum() / face.sum(), (v * face).sum() / face.sum()
        assert found == pytest.approx(tuple(goal), abs=0.1)


def test_similarity_is_the_least_squares_one():
    seed = int(os.environ["TEST_SEED"])
    print("seed", seed)
    random = np.random.default_rng(seed)
    source = random.uniform(0, 100, (5, 2))

    def error(matrix):
        return ((source @ matrix[:, :2].T + matrix[:, 2] - crop.TEMPLATE) ** 2).sum()

    best = crop.similarity(source, crop.TEMPLATE)
    assert best[0, 0] == best[1, 1]
    assert best[0, 1] == -best[1, 0]
    for a, b, x, y in random.normal(0, 1, (100, 4)) * (0.01, 0.01, 0.5, 0.5):
        assert error(best + [[a, -b, x], [b, a, y]]) > error(best)


def test_shrinking_does_not_alias():
    ys, xs = np.mgrid[:500, :600]
    checkerboard = ((xs + ys) % 2 * 255).astype(np.uint8)
    face = crop.crop(checkerboard, pose(3.3, 7, 300, 250))
    assert abs(face.mean() - 127.5) < 1
    assert face.std() < 10


def test_equalisation_lifts_contrast_and_commutes_with_the_mirror(astronaut):
    gray = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
    face = crop.crop(gray // 3, ASTRONAUT_POINTS)
    equal = crop.equalize(face)
    assert equal.std() > 1.5 * face.std()
    mirrored = crop.equalize(np.ascontiguousarray(face[:, ::-1]))[:, ::-1]
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
        expected = crop.equalize(crop.crop(gray, upright))
        assert np.corrcoef(face.ravel(), expected.ravel())[0, 1] > 0.9


# Read off enlarged prints of the photographs, as above. Both are in the public domain or CC0.
HOPPER_POINTS = ((220, 190), (307, 184), (268, 236), (231, 282), (306, 277))


def test_other_real_photographs(tmp_path):
    hopper = cv2.imread(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    cat = cv2.cvtColor(skimage.data.chelsea(), cv2.COLOR_RGB2BGR)
    images = {f"{n:03d}.png": small_portrait(n) for n in range(100)}
    path = photographs(tmp_path / "photos", {"hopper.png": hopper, "cat.png": cat} | images)
    kept, dropped = align.align(path, tmp_path / "faces", workers=1)
    assert dropped["cat.png"] == "MTCNN finds no face"
    hopper_points = np.array(kept[0].landmarks)
    assert np.hypot(*(hopper_points - HOPPER_POINTS).T).max() < 0.08 * 87
    # 100 people of LFW in pictures as small as FER2013's, of which MTCNN alone finds 96.
    assert len(kept) - 1 >= 99


def small_portrait(number):
    """One of scikit-image's 100 faces of LFW (25 x 25 pixels, gray) as 48 x 48 pixels."""
    gray = np.rint(skimage.data.lfw_subset()[number] * 255).astype(np.uint8)
    gray = cv2.resize(gray, (48, 48))
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


def beside(astronaut, *places):
    """A picture of 800 x 600 with the head of the photograph pasted in: (scale, centre x and y)."""
    picture = np.full((600, 800, 3), 128, np.uint8)
    head = astronaut[20:220, 124:324]
    for scale, x, y in places:
        side = round(200 * scale)
        left, top = x - side // 2, y - side // 2
        picture[top : top + side, left : left + side] = cv2.resize(
            head, (side, side), interpolation=cv2.INTER_AREA
        )
    return picture


CENTRE = (400, 300)


@pytest.mark.parametrize(
    ("chosen", "other"),
    [
        ((0.8, *CENTRE), (1.4, 650, 150)),  # the central one, though the other is 3 times as large
        ((1.4, 300, 250), (0.6, 650, 500)),  # larger and more central
        ((1.4, 280, 250), (0.9, 550, 300)),  # the larger one of two that are about as central
        ((1, 500, 300), (1, 200, 300)),  # the more central one of two that are equal
    ],
)
def test_the_largest_or_most_central_of_two_faces_is_taken(astronaut, chosen, other):
    detector = detect.Detector()
    picture = beside(astronaut, chosen, other)
    assert len(detector._detect(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))) == 2
    scale, x, y = chosen
    nose = np.array(detector.faces(picture)[0])[2]
    # The nose tip is at (-1, 7) from the centre of what is pasted.
    assert nose == pytest.approx((x - scale, y + 7 * scale), abs=6)


def test_images_without_a_face_are_listed_and_left_out(tmp_path, astronaut, capsys):
    wall = np.full((120, 160, 3), 128, np.uint8)
    path = photographs(tmp_path / "a", {"a.png": astronaut, "wall.png": wall, "b.png": astronaut})
    out = tmp_path / "faces"
    command = ["align", str(path), "-o", str(out), "--workers", "1"]
    assert main(command) == 0
    assert [row.image for row in index.read(out / "index.csv").rows] == [
        "images/me/a.png",
        "images/me/b.png",
    ]
    dropped = [["image", "reason"], ["wall.png", "MTCNN finds no face"]]
    assert read_csv(out / "dropped.csv") == dropped
    assert f"{out / 'dropped.csv'}: 1 images left out" in capsys.readouterr().out

    # What is known from an earlier run stops a strict one just as well.
    assert main([*command, "--strict"]) == 1
    refusal = f"{path}, line 3: {tmp_path / 'a' / 'wall.png'}: MTCNN finds no face; "
    assert refusal in capsys.readouterr().err

    # With the wall as everybody's reference nobody is left.
    path = photographs(tmp_path / "b", {"wall.png": wall, "a.png": astronaut})
    assert main(["align", str(path), "-o", str(tmp_path / "none"), "--workers", "1"]) == 1
    assert "no face found in any of its 2 images" in capsys.readouterr().err
    assert not (tmp_path / "none" / "index.csv").exists()


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path, astronaut):
    points = dict.fromkeys(("x.png", "x.jpg", "X.bmp"), ASTRONAUT_POINTS)
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


def test_run_that_was_killed_twice_equals_an_undisturbed_one(tmp_path, astronaut):
    # Every fifth one is left to MTCNN, every fifteenth has no face, one is damaged.
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = []
    for n in range(300):
        left = 60 + n % 90
        image = astronaut[20:220, left : left + 200] if n % 15 else astronaut[300:400, :100]
        cv2.imwrite(f"{folder}/{n:03d}.jpg", image)
        points = tuple((x - left, y - 20) for x, y in ASTRONAUT_POINTS) if n % 5 else None
        rows.append(index.Row(f"{n:03d}.jpg", f"S{n // 100}", landmarks=points))
    cut(".jpg", 0.5)(folder / "017.jpg", astronaut)
    index.write(folder / "index.csv", rows)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "data_prep", "align", str(folder / "index.csv"), "-o"]
    journal = killed / "journal.jsonl"

    done_by = []  # after each run: {face: time of writing} of what it has journalled
    for enough in (50, 130):
        kill_when(journal, enough, [*command, str(killed), "--workers", "2"])
        assert not (killed / "index.csv").exists()
        done_by.append({face: (killed / face).stat().st_mtime_ns for face in journalled(killed)})
        # What a kill in the middle of writing would leave.
        with open(journal, "a") as file:
            file.write('{"half a li')
        (killed / "images/S0/.000.png.1.partial").write_bytes(b"half a face")
    written = {p.relative_to(killed) for p in killed.glob("images/*/*.png")}
    assert len(done_by[1]) < 300 - 21, "ended before it could be killed"
    # Faces that were written and not journalled are done again: a batch of each worker.
    assert len(written - set(done_by[1])) <= 2 * align.IMAGES_PER_BATCH

    align.align(folder / "index.csv", killed, workers=2)
    align.align(folder / "index.csv", whole, workers=1)

    for before in done_by:
        assert {face: (killed / face).stat().st_mtime_ns for face in before} == before
    assert len(journal.read_bytes().splitlines()) == 300
    a, b = content(killed), content(whole)
    lines = [sorted(folder.pop(Path("journal.jsonl")).splitlines()) for folder in (a, b)]
    assert lines[0] == lines[1]
    assert a == b
    assert len(read_csv(killed / "dropped.csv")) == 1 + 21


def kill_when(journal, enough, command):
    """Start the command; SIGKILL it when it has journalled so many images; see its workers end."""
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= enough):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive the killed command"
        time.sleep(0.05)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def test_ctrl_c_while_workers_start_is_one_line(tmp_path, astronaut):
    path = photographs(tmp_path / "a", {f"{n:02d}.png": astronaut for n in range(40)})
    command = [sys.executable, "-m", "data_prep", "align", str(path), "-o", str(tmp_path / "faces")]
    process = subprocess.Popen(
        [*command, "--workers", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    # The first child is multiprocessing's own, the second one a worker.
    while len(children(process.pid)) < 2:
        assert process.poll() is None
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (error, process.returncode) == ("stopped\n", 130)
    assert not list(tmp_path.rglob("*.partial"))


def journalled(out):
    """Faces, relative to `out`, that are in its journal: those whose keys an own run would give."""
    lines = (out / "journal.jsonl").read_bytes().split(b"\n")[:-1]
    done = {face: value for line in lines for face, value in json.loads(line).items()}
    table = index.read(out.parent / "photos" / "index.csv")
    tasks, _ = align._tasks(table, align._faces(table))
    keys = {task.face: task.key for task in tasks}
    return {
        Path(face)
        for face, (key, outcome) in done.items()
        if isinstance(outcome, list) and keys.get(face) == key
    }


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


def test_a_face_that_others_have_written_over_is_made_again(tmp_path, astronaut):
    """Two pictures of one name, of which the second is there at times; points that come and go."""
    path = photographs(tmp_path / "photos", {"a.png": astronaut, "a.jpg": astronaut[:, ::-1]})
    moved = tuple((x + 20, y) for x, y in ASTRONAUT_POINTS)
    out, face = tmp_path / "faces", tmp_path / "faces" / "images" / "me" / "a.png"

    def aligned(name, points):
        index.write(path, [index.Row(str(path.parent / name), "me", landmarks=points)])
        align.align(path, out, workers=1)
        return face.read_bytes()

    first = aligned("a.png", ASTRONAUT_POINTS)
    for other in (("a.png", moved), ("a.jpg", ASTRONAUT_POINTS)):
        assert aligned(*other) != first
        assert aligned("a.png", ASTRONAUT_POINTS) == first


def cut(suffix, share):
    """A maker of a file that holds only this share of the photograph's bytes."""

    def make(file, astronaut):
        whole = cv2.imencode(suffix, astronaut)[1].tobytes()
        file.write_bytes(whole[: int(share * len(whole))])

    return make


BAD_FILES = {
    "empty": (".png", cut(".png", 0), "empty (0 bytes)"),
    "half a png": (".png", cut(".png", 0.5), "damaged or no image"),
    "nearly a png": (".png", cut(".png", 0.99), "damaged or no image"),
    "half a jpg": (".jpg", cut(".jpg", 0.5), "damaged or no image"),
    "half a bmp": (".bmp", cut(".bmp", 0.5), "damaged or no image"),
    "half a tif": (".tif", cut(".tif", 0.5), "damaged or no image"),
    "text": (".txt", lambda file, _: file.write_bytes(b"hello"), "damaged or no image"),
    "missing": (".png", lambda file, _: None, "no such file or directory"),
    "folder": (".png", lambda file, _: file.mkdir(), "a folder, not an image"),
    "loop": (".png", lambda file, _: file.symlink_to(file), "too many levels of symbolic links"),
    "pipe": (".png", lambda file, _: os.mkfifo(file), "a device, not an image"),
}


def with_bad_file(folder, astronaut, kind):
    """A user's index with landmarks whose second image, in line 3, is a bad file: (index, file)."""
    suffix, make, _ = BAD_FILES[kind]
    names = ("a.png", f"b{suffix}", "c.png")
    path = photographs(folder, {"a.png": astronaut, "c.png": astronaut})
    rows = [index.Row(str(folder / name), "me", landmarks=ASTRONAUT_POINTS) for name in names]
    index.write(path, rows)
    make(folder / names[1], astronaut)
    return path, folder / names[1]


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_is_listed_and_left_out_until_it_is_restored(tmp_path, astronaut, capfd, kind):
    path, file = with_bad_file(tmp_path / "photos", astronaut, kind)
    reason = BAD_FILES[kind][-1]
    out = tmp_path / "faces"
    command = ["align", str(path), "-o", str(out), "--workers", "1"]
    assert main(command) == 0
    assert capfd.readouterr().err == ""
    assert read_csv(out / "dropped.csv") == [["image", "reason"], [file.name, reason]]
    assert [row.line for row in index.read(out / "index.csv").rows] == [2, 3]
    assert (out / "dropped.png").is_file()

    if file.is_dir():
        file.rmdir()
    file.unlink(missing_ok=True)
    cv2.imwrite(f"{tmp_path}/whole.png", astronaut)
    os.replace(f"{tmp_path}/whole.png", file)
    assert main([*command, "--strict"]) == 0
    assert len(index.read(out / "index.csv").rows) == 3
    assert read_csv(out / "dropped.csv") == [["image", "reason"]]
    assert not (out / "dropped.png").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("kind", ["half a jpg", "loop"])
def test_bad_file_ends_a_strict_run_in_one_line(tmp_path, astronaut, kind, workers):
    path, file = with_bad_file(tmp_path / "photos", astronaut, kind)
    out = tmp_path / "faces"
    command = [sys.executable, "-m", "data_prep", "align", str(path), "-o", str(out), "--strict"]
    done = subprocess.run([*command, "--workers", workers], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"error: {path}, line 3: {file}: {BAD_FILES[kind][-1]}; " in done.stderr
    assert not (out / "index.csv").exists()
    assert not list(tmp_path.rglob("*.partial"))


def test_row_whose_reference_is_dropped_is_dropped(tmp_path, astronaut):
    path, _ = with_bad_file(tmp_path / "photos", astronaut, "half a png")
    rows = [index.Row("a.png", "me"), index.Row("b.png", "me")]
    index.write(path, [*rows, index.Row("c.png", "me", reference="b.png")])
    kept, dropped = align.align(path, tmp_path / "faces", workers=1)
    assert [row.image for row in kept] == ["images/me/a.png"]
    assert dropped == {
        "b.png": "damaged or no image",
        "c.png": "its reference b.png is dropped",
    }


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_the_machine_lacks_is_no_outcome(tmp_path, astronaut, workers):
    names = [f"{n}.png" for n in range(4)]
    path = photographs(
        tmp_path / "photos", dict.fromkeys(names, astronaut), dict.fromkeys(names, ASTRONAUT_POINTS)
    )
    out = tmp_path / "faces"
    # A limit on the size of files stands in for a full disk: a face has some 3,500 bytes.
    command = ["align", str(path), "-o", str(out), "--workers", workers]
    code = (
        "import resource, signal, sys; from data_prep.__main__ import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY));"
        f"sys.exit(main({command}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "File too large" in done.stderr
    assert f"{out}/images/me" in done.stderr
    assert (out / "journal.jsonl").read_bytes() == b""
    assert not list(out.rglob("*.p*"))  # no face, no half a face

    assert main(command) == 0
    assert len(index.read(out / "index.csv").rows) == 4


def test_two_runs_into_one_folder_do_not_meet(tmp_path, astronaut, capsys):
    path = photographs(tmp_path / "a", {"a.png": astronaut}, {"a.png": ASTRONAUT_POINTS})
    out = tmp_path / "faces"
    align.align(path, out, workers=1)
    before = content(out)
    with journal.Journal(out / "journal.jsonl"):
        assert main(["align", str(path), "-o", str(out), "--workers", "1"]) == 1
    assert f"{out}: another align is writing into this folder" in capsys.readouterr().err
    assert content(out) == before


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
    assert f"{again}, line 2: " in error
    assert "landmarks outside of the image (66x66 pixels)" in error


@pytest.mark.parametrize("factor", [3, 1000, 1e300])
def test_absurd_landmarks_are_a_reason_to_drop(tmp_path, astronaut, factor):
    # Their centre stays in the picture.
    centre = np.mean(ASTRONAUT_POINTS, axis=0)
    far = tuple(map(tuple, (ASTRONAUT_POINTS - centre) * 4 * factor + centre))
    points = {"a.png": ASTRONAUT_POINTS, "b.png": far}
    path = photographs(tmp_path / "a", dict.fromkeys(points, astronaut), points)
    _, dropped = align.align(path, tmp_path / "faces", workers=1)
    assert dropped == {"b.png": "landmarks outside of the image (512x512 pixels)"}


def test_points_that_the_new_index_could_not_hold_are_a_reason_to_drop(
    tmp_path, astronaut, monkeypatch
):
    # Two decimals are written, so these eyes would come to one place.
    left, _, *rest = ASTRONAUT_POINTS
    together = (left, (left[0] + 0.001, left[1]), *rest)
    points = {"a.png": ASTRONAUT_POINTS, "b.png": None, "c.png": None}
    path = photographs(tmp_path / "a", dict.fromkeys(points, astronaut), points)
    text = path.read_text().splitlines()
    numbers = ",".join(str(value) for point in together for value in point)
    text[3] = f"c.png,me,,,,a.png,{numbers}"
    path.write_text("\n".join(text))
    # A face that MTCNN takes to be upside down.
    right_to_left = [ASTRONAUT_POINTS[number] for number in (1, 0, 2, 4, 3)]
    monkeypatch.setattr(detect.Detector, "faces", lambda *_: [right_to_left])
    assert main(["align", str(path), "-o", str(tmp_path / "faces"), "--workers", "1"]) == 0
    reason = "left and right landmarks swapped or in one place"
    assert read_csv(tmp_path / "faces/dropped.csv")[1:] == [["b.png", reason], ["c.png", reason]]
    assert len(index.read(tmp_path / "faces/index.csv").rows) == 1
