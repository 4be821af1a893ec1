"""What is in a folder that `build` made, and a quick look whether it is whole."""

import csv
import json
from collections import Counter, namedtuple
from pathlib import Path

from data_prep.lmdbs.records import FACE_SHAPE, PAIR_SHAPE, REMEDY, read_records
from gcnet_base.errors import InputError
from gcnet_base.protocol import CLASSES, FOLDS

RECORD_COLUMNS = (
    "key", "image", "reference", "subject", "sequence", "frame", "label", "class_id", "copy"
)  # fmt: skip
Record = namedtuple("Record", RECORD_COLUMNS)

FOLD = "fold.json"
IDENTITIES = "identities.json"
PARTS = ("train", "test")


def contents(kind):
    """Names of all that `build` may write beside the description `kind`, which is included."""
    return {kind, *PARTS, *(f"{part}.csv" for part in PARTS)}


def describe(folder):
    """(FOLD or IDENTITIES, the content of that file as a dict).

    Raises InputError if there is none, or it does not describe what `build` makes.
    """
    folder = Path(folder)
    kind = next((kind for kind in (FOLD, IDENTITIES) if (folder / kind).is_file()), None)
    if kind is None:
        raise InputError(f"{folder}: no {FOLD} or {IDENTITIES}, so no LMDBs; {REMEDY}")
    try:
        description = json.loads((folder / kind).read_text(encoding="utf-8"))
        if _looks_whole(kind, description):
            return kind, description
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"{folder / kind}: does not describe LMDBs; {REMEDY}")


def _looks_whole(kind, description):
    inputs = description["inputs"]
    if kind == FOLD:
        wanted = inputs["fold"] in (None, *range(FOLDS)) and inputs["classes"] in CLASSES
    else:
        wanted = isinstance(inputs["hold_out"], int) and isinstance(inputs["least"], int)
    return (
        wanted
        and {"index_sha256", "faces_sha256", "seed", "augmentation"} <= inputs.keys()
        and isinstance(description["index"], str)
        and isinstance(inputs["copies"], int)
        and all(
            isinstance(description[part]["records"], int)
            and sum(description[part]["samples"].values()) >= 0
            and isinstance(description[part]["subjects"], list)
            and description[part]["samples"].keys() == set(description["class_names"])
            for part in PARTS
        )
    )


def shape_of(kind):
    """The shape of the records of a fold or of identities."""
    return PAIR_SHAPE if kind == FOLD else FACE_SHAPE


def parts_of(description):
    """Names of the LMDBs that belong to a description."""
    return [part for part in PARTS if description[part]["records"]]


def check(folder):
    """Check that a folder that `build` made is whole: the quick check, before each use of it.

    Reads the LMDBs once, and neither index nor faces: every record is of the right shape and class
    as its table says, and classes, subjects and counts are those of the description. Returns the
    description as a dict. Raises InputError naming the file that is missing, truncated or does not
    fit the others.
    """
    folder = Path(folder)
    kind, description = describe(folder)
    subjects = {
        part: _check_part(folder, part, kind, description) for part in parts_of(description)
    }
    if kind == FOLD:
        shared = subjects.get("train", set()) & subjects.get("test", set())
        if shared:
            raise InputError(f"{folder}: trains and tests {', '.join(sorted(shared))}; {REMEDY}")
    for part, found in subjects.items():
        odd = found.symmetric_difference(description[part]["subjects"])
        if odd:
            raise InputError(
                f"{folder / part}.csv: subject {min(odd)} is only there or only in {kind}; {REMEDY}"
            )
    return description


def _check_part(folder, part, kind, description):
    """Check one LMDB against its table and the description; returns the subjects of the table."""
    names = description["class_names"]
    class_column = "label" if kind == FOLD else "subject"
    rows = iterate_records(folder, part)
    classes = Counter()
    subjects = set()
    values = in_table = 0
    for key, _, label in read_records(folder / part, shape_of(kind)):
        values += 1
        row = next(rows, None)
        if row is None:
            continue
        in_table += 1
        if row.key != key.decode():
            raise InputError(
                f"{folder / part}: holds record {key.decode()} where {part}.csv has {row.key}; "
                f"{REMEDY}"
            )
        if int(row.class_id) != label:
            raise InputError(
                f"{folder / part}: record {row.key} has class {label}, "
                f"but {part}.csv says {row.class_id}; {REMEDY}"
            )
        name = getattr(row, class_column)
        if label >= len(names) or names[label] != name:
            raise InputError(
                f"{folder / part}.csv: record {row.key} is {name!r} with class {label}, which "
                f"{kind} does not say; {REMEDY}"
            )
        classes[name] += 1
        subjects.add(row.subject)
    in_table += sum(1 for _ in rows)
    expected = description[part]["records"]
    if not values == in_table == expected:
        raise InputError(
            f"{folder / part}: {values} records, but {part}.csv has {in_table} and "
            f"{kind} says {expected}; {REMEDY}"
        )
    each = description["inputs"]["copies"] + 1 if part == "train" else 1
    for name, samples in description[part]["samples"].items():
        if classes[name] != samples * each:
            raise InputError(
                f"{folder / part}: {classes[name]} records of {name}, but {kind} says "
                f"{samples * each}; {REMEDY}"
            )
    return subjects


def iterate_records(folder, part):
    """Yield the rows of `<part>.csv` as Record, all values text, in the LMDB's key order.

    Raises InputError if the file is missing or not as `build` wrote it.
    """
    path = Path(folder) / f"{part}.csv"
    if not path.is_file():
        raise InputError(f"{path}: is missing; {REMEDY}")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            if tuple(next(reader, ())) != RECORD_COLUMNS:
                raise InputError(f"{path}, line 1: not {','.join(RECORD_COLUMNS)}; {REMEDY}")
            for values in reader:
                if len(values) != len(RECORD_COLUMNS) or not (
                    values[-2].isdecimal() and values[-1].isdecimal()
                ):
                    raise InputError(f"{path}, line {reader.line_num}: no whole record; {REMEDY}")
                yield Record._make(values)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: damaged ({error}); {REMEDY}") from None


def read_table(folder, part):
    """All rows of `<part>.csv` as dicts by RECORD_COLUMNS; raises as `iterate_records`."""
    return [record._asdict() for record in iterate_records(folder, part)]
