"""Aligned faces -> the train and test LMDB of one fold.

In the output folder:

=============  ===================================================================================
`train/`       LMDB of the training pairs, shuffled: each labelled face as it is, and `copies` times
               augmented
`test/`        LMDB of the test pairs as they are, in the order of the index
`train.csv`    one row per record of `train/` in key order: RECORD_COLUMNS
`test.csv`     the same for `test/`
`fold.json`    what it was made from ("inputs"), its classes, subjects and counts
=============  ===================================================================================

Which faces become samples: every image whose label is one of the classes. So with "6" or "7" classes
neutral images only serve as references. The folds are drawn over all subjects of the index, so they
are the same for every number of classes.

A face without a reference can be tested, not trained on: in `test/` it stands in as its own
reference. Only the metric-learning CNN and the losses read the reference; the accuracy of the CNN
and of the GCNets does not depend on it.
"""

import contextlib
import csv
import errno
import hashlib
import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_prep import FACE_SIZE, augment, index
from data_prep.arguments import at_least
from data_prep.atomic import replacing
from data_prep.decode import decode
from data_prep.pairs import PAIR_SHAPE, read_pairs, write_pairs
from gcnet.errors import InputError
from gcnet.protocol import CLASSES, FOLDS, folds

RECORD_COLUMNS = (
    "key", "image", "reference", "subject", "sequence", "frame", "label", "class_id", "copy"
)  # fmt: skip

# 11 records of each training face: about 10,000 for a CK+ fold with three apex frames a sequence,
# so that 300,000 iterations of 64 see each record, in a new crop each time, 2,000 times.
COPIES = 10

_CONTENT = {"train", "test", "train.csv", "test.csv", "fold.json"}


def build(index_path, out, fold, classes, copies=COPIES, seed=0):
    """Build one fold's LMDBs in the folder `out`; fold None means that every image is for testing.

    Returns (fold.json's content as a dict, whether anything had to be built). Everything is made in
    a hidden folder of this process beside `out` and renamed at the end, so `out` is never half a
    fold, also when several processes build it at once; a killed process leaves its hidden folder.
    An `out` that was made from the same inputs and still reads well is left as it is.

    Raises InputError: the index is wrong; a face is no 66x66 image; a class has no training sample;
    a training face has no reference; the disk is full; `out` holds something else, or is the
    current folder.
    """
    table = index.read(index_path)
    faces = _read_faces(table)
    test_subjects, train_subjects = _subjects(table, fold)
    names = CLASSES[classes]
    train_rows = _samples(table, train_subjects, names)
    test_rows = _samples(table, test_subjects, names)
    _check_samples(table, fold, names, train_rows, test_rows)

    plan = _plan(train_rows, copies, seed)
    description = {
        "index": str(table.path),
        "inputs": {
            "index_sha256": hashlib.sha256(table.path.read_bytes()).hexdigest(),
            "faces_sha256": hashlib.sha256(b"".join(faces.values())).hexdigest(),
            "fold": fold,
            "classes": classes,
            "copies": copies,
            "seed": seed,
            "augmentation": {
                "scale": list(augment.SCALE),
                "rotation": list(augment.ROTATION),
                "intensity": list(augment.INTENSITY),
                "flip_probability": augment.FLIP_PROBABILITY,
            },
        },
        "class_names": list(names),
        "train": _counts(train_rows, names, len(plan)),
        "test": _counts(test_rows, names, len(test_rows)),
    }
    out = Path(out)
    if _is_finished(out, description):
        return description, False

    place = out.resolve()
    if Path.cwd().is_relative_to(place):
        raise InputError(f"{out}: is the current folder, which cannot be replaced; choose another")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=place.parent, prefix=f".{place.name}.", ignore_cleanup_errors=True
    ) as private:
        # A folder inside, because the private one itself is closed to other users.
        new = Path(private) / place.name
        new.mkdir()
        if fold is not None:
            _write_part(new, "train", plan, faces, names, seed)
        _write_part(new, "test", [(row, 0) for row in test_rows], faces, names, seed)
        with replacing(new / "fold.json") as file:
            json.dump(description, file, indent=1)
        check(new)
        _replace(new, place, private)
    return description, True


def _read_faces(table):
    """{image: bytes of its 66x66 pixels}."""
    faces = {}
    for row in tqdm(table.rows, desc="faces", unit="image", leave=False, disable=None):
        pixels = decode(table.file(row.image), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.shape != (FACE_SIZE, FACE_SIZE) or pixels.dtype != np.uint8:
            raise table.error(
                row,
                f"{table.file(row.image)} is no gray {FACE_SIZE}x{FACE_SIZE} face; "
                "make it with python -m data_prep align",
            )
        faces[row.image] = pixels.tobytes()
    return faces


def _subjects(table, fold):
    """(test subjects, training subjects) as sets."""
    everybody = {row.subject for row in table.rows}
    if fold is None:
        return everybody, set()
    try:
        test = set(folds(everybody)[fold])
    except InputError as error:
        raise InputError(f"{table.path}: {error}; or use it as --test-only") from None
    return test, everybody - test


def _samples(table, subjects, names):
    return [row for row in table.rows if row.subject in subjects and row.label in names]


def _check_samples(table, fold, names, train_rows, test_rows):
    if not test_rows:
        where = "" if fold is None else f" of fold {fold}'s test subjects"
        raise InputError(
            f"{table.path}: no image{where} has a label to test on; "
            f"fill in the column label with {', '.join(names)}"
        )
    if fold is None:
        return
    shared = {row.subject for row in train_rows} & {row.subject for row in test_rows}
    if shared:
        raise InputError(f"{table.path}: fold {fold} trains and tests {', '.join(sorted(shared))}")
    missing = [name for name in names if name not in {row.label for row in train_rows}]
    if missing:
        raise InputError(
            f"{table.path}: fold {fold} has no training image of {', '.join(missing)}; "
            "add some of other subjects or choose other --classes"
        )
    for row in train_rows:
        if not row.reference:
            raise table.error(
                row,
                f"{row.image} has no reference, so it cannot be trained on; "
                "give a neutral image of its subject, or use the index as --test-only",
            )


def _plan(rows, copies, seed):
    """Shuffled (row, copy) of all training records; copy 0 is the face as it is."""
    records = [(row, copy) for row in rows for copy in range(copies + 1)]
    return [records[i] for i in np.random.default_rng(seed).permutation(len(records))]


def _counts(rows, names, records):
    labels = Counter(row.label for row in rows)
    return {
        "records": records,
        "samples": {name: labels[name] for name in names},
        "subjects": sorted({row.subject for row in rows}),
    }


def _write_part(folder, part, plan, faces, names, seed):
    """Write the LMDB `part` and its table of records."""
    with replacing(folder / f"{part}.csv", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(RECORD_COLUMNS)
        for number, (row, copy) in enumerate(plan):
            writer.writerow(
                [f"{number:08d}", row.image, row.reference, row.subject, row.sequence, row.frame]
                + [row.label, names.index(row.label), copy]
            )

    def records():
        for row, copy in tqdm(plan, desc=part, unit="pair", leave=False, disable=None):
            planes = faces[row.image] + faces[row.reference or row.image]
            pair = np.frombuffer(planes, np.uint8).reshape(PAIR_SHAPE)
            if copy:
                pair = augment.apply(augment.draw(seed, f"{row.image}\n{copy}"), pair)
            yield pair, names.index(row.label)

    write_pairs(folder / part, records())


def _is_finished(out, description):
    """Whether `out` already holds this very fold. Raises InputError if it holds something else."""
    try:
        foreign = {entry.name for entry in out.iterdir()} - _CONTENT
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        foreign = {out.name}
    if foreign:
        raise InputError(
            f"{out}: holds {sorted(foreign)[0]}, which this command did not write; "
            "choose another folder"
        )
    try:
        existing = json.loads((out / "fold.json").read_text())
        check(out)
    except (OSError, ValueError, KeyError, InputError):
        return False
    return existing["inputs"] == description["inputs"]


def _replace(new, out, private):
    """Put the finished folder in the place of `out`, which, if it exists, moves into `private`."""
    while True:
        if out.exists():
            # Another process that builds `out` may move it away first.
            with contextlib.suppress(FileNotFoundError):
                os.rename(out, tempfile.mkdtemp(dir=private))
        try:
            os.rename(new, out)
            return
        except OSError as error:
            # Another process put its own there in between.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def check(folder):
    """Check a folder that `build` made: every record readable and as its table says.

    Returns fold.json's content. Raises InputError naming the file that is missing, truncated or
    does not fit the others.
    """
    folder = Path(folder)
    remedy = "build it again with python -m data_prep lmdb"
    try:
        description = json.loads((folder / "fold.json").read_text())
        fold = description["inputs"]["fold"]
        expected = {part: description[part]["records"] for part in ("train", "test")}
    except FileNotFoundError:
        raise InputError(f"{folder}: no fold.json, so no fold's LMDBs; {remedy}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder / 'fold.json'}: does not describe a fold; {remedy}") from None
    subjects = {}
    for part in ("train", "test") if fold is not None else ("test",):
        rows = read_records(folder, part)
        _, labels = read_pairs(folder / part)
        if len(rows) != len(labels) or len(rows) != expected[part]:
            raise InputError(
                f"{folder / part}: {len(labels)} records, but {part}.csv has {len(rows)} and "
                f"fold.json says {expected[part]}; {remedy}"
            )
        for row, label in zip(rows, labels, strict=True):
            if int(row["class_id"]) != label:
                raise InputError(
                    f"{folder / part}: record {row['key']} has class {label}, "
                    f"but {part}.csv says {row['class_id']}; {remedy}"
                )
        subjects[part] = {row["subject"] for row in rows}
    shared = subjects.get("train", set()) & subjects["test"]
    if shared:
        raise InputError(f"{folder}: trains and tests {', '.join(sorted(shared))}; {remedy}")
    return description


def read_records(folder, part):
    """Rows of `<part>.csv` as dicts by RECORD_COLUMNS, all values text, in the LMDB's key order.

    Raises InputError if the file is missing or not as `build` wrote it.
    """
    path = Path(folder) / f"{part}.csv"
    remedy = "build it again with python -m data_prep lmdb"
    if not path.is_file():
        raise InputError(f"{path}: is missing; {remedy}")
    rows = []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                if not _is_record(row):
                    raise InputError(f"{path}, line {reader.line_num}: no whole record; {remedy}")
                rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: damaged ({error}); {remedy}") from None
    return rows


def _is_record(row):
    return (
        tuple(row) == RECORD_COLUMNS
        and None not in row.values()
        and row["class_id"].isdecimal()
        and row["copy"].isdecimal()
    )


def add_arguments(parser):
    parser.add_argument("index", help="index.csv that align wrote")
    parser.add_argument("-o", "--output", required=True, help="folder for train/ and test/")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--fold", type=int, choices=range(FOLDS), help="the fold whose subjects are the test set"
    )
    which.add_argument(
        "--test-only", action="store_true", help="no training: every image goes into test/"
    )
    parser.add_argument("--classes", choices=CLASSES, required=True)
    parser.add_argument(
        "--copies",
        type=at_least(0),
        default=COPIES,
        help="augmented copies of each face (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="of shuffling and augmentation (%(default)s)"
    )


def run(arguments):
    fold = None if arguments.test_only else arguments.fold
    description, built = build(
        arguments.index,
        arguments.output,
        fold,
        arguments.classes,
        copies=arguments.copies,
        seed=arguments.seed,
    )
    for part in ("train", "test"):
        counts = description[part]
        if counts["records"]:
            samples = ", ".join(f"{name} {count}" for name, count in counts["samples"].items())
            subjects = len(counts["subjects"])
            print(f"{part}: {counts['records']} pairs of {subjects} subjects ({samples})")
    print(f"{arguments.output}: " + ("written" if built else "already built from the same inputs"))


def add_check_arguments(parser):
    parser.add_argument("folder", help="folder that lmdb wrote")


def run_check(arguments):
    description = check(arguments.folder)
    counts = ", ".join(
        f"{part} {description[part]['records']} pairs"
        for part in ("train", "test")
        if description[part]["records"]
    )
    print(f"{arguments.folder}: whole ({counts})")
