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
import hashlib
import math
import os
import time
from array import array
from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from itertools import chain
from pathlib import Path

import cv2
from tqdm import tqdm

from data_prep import FACE_SIZE, index
from data_prep.faces import contact_sheet
from data_prep.faces.crop import CLAHE_CLIP_LIMIT, CLAHE_TILES, FINEST, TEMPLATE
from data_prep.faces.detect import (
    CENTRALITY,
    LANDMARKS_BEYOND,
    SMALL_ENLARGED,
    SMALL_IMAGE,
    SMALL_MARGIN,
    SMALLEST_FACE,
    SMALLEST_FACE_SHARE,
    read_face,
    status,
)
from data_prep.faces.file_names import distinct, plain
from data_prep.faces.journal import Journal, Task
from gcnet_base.atomic import replacing
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.workers import Workers

# A batch's outcomes come back together, and at the latest after SECONDS_PER_BATCH, the rest of the
# batch undone: what a kill can lose is a batch in each worker. 64 small images take 0.1 s.
IMAGES_PER_BATCH = 64
SECONDS_PER_BATCH = 0.25

# Changes whenever the same image would come out differently, so that no old face is kept.
_SETTINGS = repr(
    (TEMPLATE.tolist(), FACE_SIZE, CLAHE_CLIP_LIMIT, CLAHE_TILES, SMALLEST_FACE)
    + (SMALLEST_FACE_SHARE, CENTRALITY, LANDMARKS_BEYOND, FINEST)
    + (SMALL_IMAGE, SMALL_MARGIN, SMALL_ENLARGED)
).encode()


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
    with Journal(out / "journal.jsonl") as journal:
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
        for done in _outcomes(todo, out, available_cores() if workers is None else workers):
            journal.add(done)
            found = {task.image: outcome for task, outcome in done}
            outcomes.update(found)
            if strict:
                _refuse_dropped(table, found)
        return _write_results(table, out, faces, outcomes)


def _faces(table):
    """{image: file of its face, relative to the output folder}, no two the same in any case."""
    images = [row.image for row in table.rows]
    stems = (os.path.splitext(os.path.basename(image))[0] for image in images)
    names = distinct(
        f"{plain(row.subject)}/{plain(stem)}" for row, stem in zip(table.rows, stems, strict=True)
    )
    return {image: f"images/{name}.png" for image, name in zip(images, names, strict=True)}


def _tasks(table, faces):
    """One Task per image, as a list, and {image: reason} of those that cannot be opened.

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
            tasks.append(Task(key, row.image, file, row.landmarks, face))
    return tasks, reasons


def _key(row, face, status):
    """A digest of all that decides an image's outcome: 32 characters."""
    points = chain.from_iterable(row.landmarks or ())
    text = repr((row.image, face, status.st_size, status.st_mtime_ns))
    decisive = _SETTINGS + array("d", points).tobytes() + text.encode()
    return hashlib.blake2b(decisive, digest_size=16).hexdigest()


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


def align_and_say(index_path, out, workers=None, strict=False):
    """`align`, and print what was written and left out."""
    kept, dropped = align(index_path, out, workers, strict)
    print(f"{out / 'index.csv'}: written, {len(kept)} faces")
    if dropped:
        print(f"{out / 'dropped.csv'}: {len(dropped)} images left out, and why")
