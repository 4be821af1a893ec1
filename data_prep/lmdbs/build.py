"""Aligned faces -> the train and test LMDB of one fold, or of identities for pre-training.

In the output folder:

=================  ===============================================================================
`train/`           LMDB of the training records, shuffled: each face as it is, and `copies` times
                   augmented
`test/`            LMDB of the test records, as they are
`train.csv`        one row per record of `train/` in key order: contents.RECORD_COLUMNS
`test.csv`         the same for `test/`
`fold.json`        of a fold: what it was made from ("inputs"), its classes, subjects and counts
`identities.json`  of identities: the same, and which subjects were left out
=================  ===============================================================================

A record of a fold is a pair (face, reference) with an expression as its class; one of identities is
a single face with its subject as its class. samples.py says which faces become records.
"""

import contextlib
import csv
import errno
import hashlib
import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep import index
from data_prep.lmdbs import aligned_faces, augment, contents, samples
from data_prep.lmdbs.records import encode, key_of, write_values
from gcnet_base.atomic import remove_abandoned, replacing, replacing_folder
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.workers import Workers

# 11 records of each training face: about 10,000 for a CK+ fold with three apex frames a sequence,
# so that 300,000 iterations of 64 see each record, in a new crop each time, 2,000 times.
COPIES = 10
# CASIA-WebFace has 47 images of each identity; the paper names no augmentation for pre-training.
IDENTITY_COPIES = 0
# What data and trainings are drawn with unless somebody asks for another one.
SEED = 1
HOLD_OUT = 1
LEAST = 2

# From so many faces and records on, worker processes save more time than they take to start. Two
# busy cores: 20,000 took 4 s in one process and 5 s with two workers, 37,000 took 7 s and 5 s.
WORTH_WORKERS = 25_000
RECORDS_PER_TASK = 250


def build(index_path, out, fold, classes, copies=COPIES, seed=0, workers=None):
    """Build one fold's LMDBs in the folder `out`; fold None means that every image is for testing.

    Returns (fold.json's content as a dict, whether anything had to be built), made by `workers`
    processes (None: one per CPU), whose number changes nothing in the result. Everything is made in
    a hidden folder beside `out` and renamed at the end, so `out` is never half a fold, also when
    several processes build it at once. An `out` that was made from the same inputs and is whole
    (contents.check) is left as it is.

    Raises InputError: the index is wrong; a face is no 66x66 image; a class has no training sample;
    a training face has no reference; the disk is full; `out` holds something else, or is the
    current folder.
    """
    table = index.read(index_path, check_images=False, landmarks=False)
    plan = samples.of_fold(table, fold, classes, copies, seed)
    return _build(table, plan, contents.FOLD, out, copies, seed, workers)


def build_identities(
    index_path, out, hold_out=HOLD_OUT, least=LEAST, copies=IDENTITY_COPIES, seed=0, workers=None
):
    """Build the LMDBs in which every subject with `least` images or more is a class.

    `hold_out` images of each are for testing. Returns (identities.json's content, whether anything
    had to be built). Everything else as `build`; raises InputError also if no subject has so many
    images, or none is left to train on.
    """
    table = index.read(index_path, check_images=False, landmarks=False)
    plan = samples.of_identities(table, hold_out, least, copies, seed)
    return _build(table, plan, contents.IDENTITIES, out, copies, seed, workers)


def _build(table, plan, kind, out, copies, seed, workers):
    out = Path(out)
    _refuse_foreign(out, kind)
    description = _description(table, plan, copies, seed)
    work = len(table.rows) + sum(len(part.order) for part in plan.parts.values())
    place = out.resolve()
    with Workers((workers or available_cores()) if work >= WORTH_WORKERS else 1) as pool:
        existing = _existing(out, description)
        if existing:
            description["inputs"]["faces_sha256"] = aligned_faces.digest(table, pool)
            if existing["inputs"] == description["inputs"]:
                remove_abandoned(place)
                return description, False

        if Path.cwd().is_relative_to(place):
            raise InputError(
                f"{out}: is the current folder, which cannot be replaced; choose another"
            )
        with _full_disk_told(), replacing_folder(place) as new:
            flat = new.parent / f"{new.name}.faces"
            description["inputs"]["faces_sha256"] = aligned_faces.write(flat, table, pool)
            numbers = {row.image: number for number, row in enumerate(table.rows)}
            class_ids = {name: number for number, name in enumerate(plan.class_names)}
            for name, part in plan.parts.items():
                records = records_of(plan, part, class_ids)
                with replacing(new / f"{name}.csv", newline="", encoding="utf-8") as file:
                    tasks = _tasks(_listed(records, file), numbers, plan.pairs)
                    values = pool.map(partial(_values, flat, seed), tasks)
                    progress = tqdm(
                        itertools.chain.from_iterable(values), total=len(part.order), desc=name,
                        unit="record", leave=False, disable=None,
                    )  # fmt: skip
                    write_values(new / name, progress)
            with replacing(new / kind, encoding="utf-8") as file:
                json.dump(description, file, indent=1)
    return description, True


@contextlib.contextmanager
def _full_disk_told():
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(
            f"{error.filename}: cannot write it ({error.strerror}); is the disk full? Free some "
            "space or choose another folder"
        ) from None


def _description(table, plan, copies, seed):
    """What fold.json or identities.json says; the faces' digest is filled in when it is known."""
    description = {
        "index": str(table.path.absolute()),
        "inputs": {
            "index_sha256": hashlib.sha256(table.path.read_bytes()).hexdigest(),
            "faces_sha256": None,
            **plan.inputs,
            "copies": copies,
            "seed": seed,
            "augmentation": augment.settings(),
        },
        "class_names": list(plan.class_names),
        "train": plan.counts("train"),
        "test": plan.counts("test"),
    }
    if not plan.pairs:
        description["left_out"] = plan.left_out
    return description


def records_of(plan, part, class_ids):
    """Yield the contents.Record of each record of a part in key order."""
    for number, (row, copy) in enumerate(part):
        reference = row.reference if plan.pairs else ""
        yield contents.Record(
            key_of(number).decode(), row.image, reference, row.subject, row.sequence, row.frame,
            row.label, class_ids[plan.class_name(row)], copy
        )  # fmt: skip


def _listed(records, file):
    """Yield records as they are, each written into the table in `file`, too."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(contents.RECORD_COLUMNS)
    for record in records:
        writer.writerow(record)
        yield record


def _tasks(records, numbers, pairs):
    """Yield lists of (numbers of the faces in a record, image, copy, class id)."""
    while batch := list(itertools.islice(records, RECORDS_PER_TASK)):
        task = []
        for record in batch:
            planes = [numbers[record.image]]
            if pairs:
                planes.append(numbers[record.reference or record.image])
            task.append((planes, record.image, record.copy, record.class_id))
        yield task


def _values(flat, seed, task):
    """The values of a task's records, of faces in the file `flat`."""
    values = []
    drawn = draws_of(seed, [(image, copy) for _, image, copy, _ in task])
    with aligned_faces.reading(flat) as read:
        for (planes, _, _, class_id), draw in zip(task, drawn, strict=True):
            pixels = np.frombuffer(b"".join(map(read, planes)), np.uint8)
            values.append(
                value_of(pixels.reshape(len(planes), *aligned_faces.SHAPE), draw, class_id)
            )
    return values


def draws_of(seed, records):
    """The augmentation of each of (image, copy): an augment.Draw, or None for copy 0."""
    draws = iter(augment.draws(seed, [f"{image}\n{copy}" for image, copy in records if copy]))
    return [next(draws) if copy else None for _, copy in records]


def value_of(pair, drawn, class_id):
    """The value of a record: the pair, or single face, after its augmentation, if any."""
    return encode(pair if drawn is None else augment.apply(drawn, pair), class_id)


def _refuse_foreign(out, kind):
    try:
        foreign = {entry.name for entry in out.iterdir()} - contents.contents(kind)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        foreign = {out.name}
    if foreign:
        raise InputError(
            f"{out}: holds {min(foreign)}, which is not of a {Path(kind).stem} that this command "
            "wrote; choose another folder"
        )


def _existing(out, description):
    """The description in `out` if that is whole and of the same inputs, faces aside; else None."""
    try:
        _, existing = contents.describe(out)
        same = {**description["inputs"], "faces_sha256": existing["inputs"]["faces_sha256"]}
        return contents.check(out) if existing["inputs"] == same else None
    except (OSError, InputError):
        return None
