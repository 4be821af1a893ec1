"""Read LMDBs back and compare all of them with what they were made from.

The index that their description names tells again which record should be where, the faces and the
augmentation's seed what should be in it. Where index or faces are gone or have changed since, that
part cannot be compared, which is said and is no mistake of the LMDBs.
"""

import hashlib
import itertools
import os
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep import index
from data_prep.lmdbs import aligned_faces, augment, contents, samples
from data_prep.lmdbs.build import WORTH_WORKERS, draws_of, records_of, value_of
from data_prep.lmdbs.records import key_of, open_pairs
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.workers import Workers

_SAMPLES_PER_TASK = 50


def verify(folder, workers=None):
    """Check a folder that `build` made as contents.check does, and every pixel in it.

    Each record's face and reference are compared with the aligned faces, augmented ones with the
    augmentation made again; the tables with the index, which also says that a reference shows the
    face's own subject. Returns (description, what could not be compared and why, or None), with
    `workers` processes (None: one per CPU).

    Raises InputError naming the LMDB or table that is damaged or not what its index gives.
    """
    folder = Path(folder)
    description = contents.check(folder)
    try:
        table = index.read(description["index"], check_images=False, landmarks=False)
        changed = _digest(table.path) != description["inputs"]["index_sha256"]
    except (InputError, OSError) as error:
        return description, f"faces and references: {error}"
    if changed:
        return description, f"faces and references: {table.path} has changed since"
    if description["inputs"]["augmentation"] != augment.settings():
        return description, "faces and references: made with other ranges of augmentation"

    plan = _plan(description, table)
    class_ids = {name: number for number, name in enumerate(plan.class_names)}
    for name, part in plan.parts.items():
        _compare_table(folder, name, records_of(plan, part, class_ids))
    work = len(table.rows) + sum(len(part.order) for part in plan.parts.values())
    with Workers((workers or available_cores()) if work >= WORTH_WORKERS else 1) as pool:
        differences = _differences(folder, table, plan, class_ids, description, pool)
        first = next(differences, None)
        if first is None:
            return description, None
        part, key, image = first
        if not _same_faces(table, description, pool):
            count = 1 + sum(1 for _ in differences)
            return description, (
                f"{count} records, the first {part}/{key}: the faces of {table.path} are gone or "
                f"have changed since, as {image} or its reference"
            )
    raise InputError(
        f"{folder / part}: record {key} is not what {image} and its reference give; "
        f"{contents.REMEDY}"
    )


def _plan(description, table):
    inputs = description["inputs"]
    if "fold" in inputs:
        choice = (inputs["fold"], inputs["classes"])
        return samples.of_fold(table, *choice, inputs["copies"], inputs["seed"])
    choice = (inputs["hold_out"], inputs["least"])
    return samples.of_identities(table, *choice, inputs["copies"], inputs["seed"])


def _compare_table(folder, part, expected):
    rows = contents.iterate_records(folder, part)
    for number, (wanted, found) in enumerate(itertools.zip_longest(expected, rows)):
        if found is None or wanted is None or tuple(map(str, wanted)) != found:
            raise InputError(
                f"{folder / part}.csv: record {key_of(number).decode()} is not what the index "
                f"gives; {contents.REMEDY}"
            )


def _differences(folder, table, plan, class_ids, description, pool):
    """Yield (part, key, image) of each record that is not what its face and reference give.

    Faces are gone through in the order of the index, so that each is decoded once for all of its
    copies; the records are read from anywhere in the LMDB.
    """
    for name, part in plan.parts.items():
        tasks = _tasks(table, plan, part, class_ids)
        progress = tqdm(
            tasks, total=-(-len(part.rows) // _SAMPLES_PER_TASK), desc=f"check {name}",
            leave=False, disable=None,
        )  # fmt: skip
        compare = partial(_compare, folder / name, description["inputs"]["seed"])
        for found in pool.map(compare, progress):
            for key, image in found:
                yield name, key, image


def _tasks(table, plan, part, class_ids):
    """Yield lists of (files of a record's faces, image, class id, keys of copy 0, 1, ...)."""
    keys = np.empty_like(part.order)
    keys[part.order] = np.arange(len(part.order))
    keys = keys.reshape(len(part.rows), part.copies + 1)
    for start in range(0, len(part.rows), _SAMPLES_PER_TASK):
        task = []
        for sample in range(start, min(start + _SAMPLES_PER_TASK, len(part.rows))):
            row = part.rows[sample]
            images = (row.image, row.reference or row.image) if plan.pairs else (row.image,)
            files = [os.fspath(table.file(image)) for image in images]
            class_id = class_ids[plan.class_name(row)]
            task.append((files, row.image, class_id, keys[sample].tolist()))
        yield task


def _compare(lmdb, seed, task):
    """(key, image) of the records of a task that are not as they should be."""
    files = list({file for sample in task for file in sample[0]})
    decoded = dict(zip(files, aligned_faces.decode_faces(files), strict=True))
    drawn = iter(
        draws_of(seed, [(image, copy) for _, image, _, keys in task for copy in range(len(keys))])
    )
    different = []
    with open_pairs(lmdb) as database, database.begin() as transaction:
        for files, image, class_id, keys in task:
            planes = [decoded[file] for file in files]
            there = all(plane is not None for plane in planes)
            pair = np.stack(planes) if there else None
            for key in map(key_of, keys):
                draw = next(drawn)
                if not there or transaction.get(key) != value_of(pair, draw, class_id):
                    different.append((key.decode(), image))
    return different


def _same_faces(table, description, pool):
    try:
        digest = aligned_faces.digest(table, pool)
    except (InputError, OSError):
        return False
    return digest == description["inputs"]["faces_sha256"]


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
