"""index.csv: the one table that every step after the database reads, one row per image.

======================  ==========================================================================
column                  meaning
======================  ==========================================================================
`image`                 the image file: relative to the index's folder, or absolute
`subject`               who it shows; folds are drawn by subject, so it is never empty
`sequence`              images of one video of that subject; empty = this image alone
`frame`                 whole number, ascending in time within the sequence; may be empty
`label`                 one of gcnet_base.protocol.LABELS; empty = not for classification
`reference`             `image` of the row with the same subject's neutral face; empty = none
ten landmark columns    LANDMARK_COLUMNS, all or none of them: pixels in the *original* image, x to
                        the right, y down, (0, 0) the centre of the top left pixel; "left" is the
                        smaller x in the image; all ten empty = not known for this row
======================  ==========================================================================

A user's own photographs need only a file with these columns; `image`, `subject` and `label` are
filled by hand and the rest may stay empty. Other columns are allowed and ignored. Paths with ".."
or absolute ones may lead out of the index's folder, because photographs and databases are best
left where they are.
"""

import csv
import math
import os
import posixpath
from dataclasses import dataclass, field
from pathlib import Path

from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.protocol import LABELS, NEUTRAL

COLUMNS = ("image", "subject", "sequence", "frame", "label", "reference")
POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
LANDMARK_COLUMNS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")


@dataclass(frozen=True, slots=True)
class Row:
    """One image. `landmarks` is None or five (x, y) pairs in the order of POINTS."""

    image: str
    subject: str
    sequence: str = ""
    frame: str = ""
    label: str = ""
    reference: str = ""
    landmarks: tuple | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Index:
    """A validated index: where it was read from, and its rows in the order of the file."""

    path: Path
    rows: tuple

    def file(self, image):
        """Path of the file behind an `image` or `reference` entry."""
        return self.path.parent / image

    def error(self, row, problem):
        """InputError that names this index and the row's line."""
        return InputError(f"{self.path}, line {row.line}: {problem}")


def read(path, check_images=True, landmarks=True):
    """Read and check an index, as Index.

    In the result an empty `sequence` has become the image's own name, so that (subject, sequence)
    always tells sequences apart, and paths are normalised ("./a.png" is "a.png"). Raises InputError
    naming the file, the line and the remedy: a column or an image file is missing, a label is
    unknown, a row is there twice, a reference is no row of the index, shows another subject or an
    expression, a landmark is no number or only partly given, left and right are swapped. With
    `check_images` False nobody looks for the image files; with `landmarks` False they are not read,
    which halves the memory that a row takes.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a database's or your own index.csv")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            index = Index(path, tuple(_rows(path, csv.DictReader(file, strict=True), landmarks)))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason}); save it as CSV UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file ({error})") from None
    if not index.rows:
        raise InputError(f"{path}: has no rows; give one row per image")
    _check_references(index)
    # Text instead of Path, here and in `write`: half the time with hundreds of thousands of rows.
    folder = str(path.parent)
    for row in index.rows:
        if check_images and not os.path.isfile(os.path.join(folder, row.image)):
            raise index.error(
                row, f"no such image: {index.file(row.image)}; restore it or drop the row"
            )
    return index


def _rows(path, reader, landmarks):
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"{path}, line 1: no column {', '.join(missing)}; "
            f"the first line must name {','.join(COLUMNS)}"
        )
    given = [name for name in LANDMARK_COLUMNS if name in reader.fieldnames]
    if given and len(given) < len(LANDMARK_COLUMNS):
        raise InputError(
            f"{path}, line 1: only {len(given)} of the 10 landmark columns; "
            f"give {','.join(LANDMARK_COLUMNS)} or none"
        )
    lines = {}
    frames = {}
    for record in reader:
        where = f"{path}, line {reader.line_num}"
        if None in record or None in record.values():
            raise InputError(
                f"{where}: not {len(reader.fieldnames)} values as in the first line; "
                "put values that contain a comma in quotes"
            )
        row = _row(where, record, bool(given) and landmarks, reader.line_num)
        if row.image in lines:
            raise InputError(
                f"{where}: {row.image} is already in line {lines[row.image]}; drop one of them"
            )
        lines[row.image] = row.line
        moment = (row.subject, row.sequence, int(row.frame)) if row.frame else None
        if moment in frames:
            raise InputError(
                f"{where}: frame {row.frame} of sequence {row.sequence} is already in line "
                f"{frames[moment]}; drop one of them"
            )
        if moment:
            frames[moment] = row.line
        yield row


def _row(where, record, with_landmarks, line):
    values = {name: record[name].strip() for name in COLUMNS}
    for name in ("image", "subject"):
        if not values[name]:
            raise InputError(f"{where}: {name} is empty; fill it in or drop the row")
    if values["label"] and values["label"] not in LABELS:
        raise InputError(
            f"{where}: unknown label {values['label']!r}; "
            f"use {', '.join(LABELS)}, or leave it empty"
        )
    if values["frame"] and not (values["frame"].isascii() and values["frame"].isdigit()):
        raise InputError(
            f"{where}: frame {values['frame']!r} is no whole number; "
            "number the frames or leave it empty"
        )
    for name in ("image", "reference"):
        if values[name]:
            values[name] = posixpath.normpath(values[name])
    values["sequence"] = values["sequence"] or values["image"]
    landmarks = _landmarks(where, record) if with_landmarks else None
    return Row(**values, landmarks=landmarks, line=line)


def _landmarks(where, record):
    texts = [record[name].strip() for name in LANDMARK_COLUMNS]
    if not any(texts):
        return None
    numbers = [_number(text) for text in texts]
    for name, text, number in zip(LANDMARK_COLUMNS, texts, numbers, strict=True):
        if number is None:
            raise InputError(
                f"{where}: {name} is {text!r}, not a number; "
                "give all ten landmarks or leave them empty"
            )
    points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    for left, right in (("left_eye", "right_eye"), ("mouth_left", "mouth_right")):
        if points[POINTS.index(left)][0] >= points[POINTS.index(right)][0]:
            raise InputError(
                f"{where}: {left}_x is not smaller than {right}_x; "
                "left means the smaller x in the image, swap the two points"
            )
    return points


def _number(text):
    """A finite float, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _check_references(index):
    rows = {row.image: row for row in index.rows}
    for row in index.rows:
        if not row.reference:
            continue
        reference = rows.get(row.reference)
        if reference is None:
            raise index.error(
                row, f"its reference {row.reference} is no image of this index; add a row for it"
            )
        if reference.subject != row.subject:
            raise index.error(
                row,
                f"its reference {row.reference} shows subject {reference.subject}, "
                f"not {row.subject}; give a neutral image of {row.subject}",
            )
        if reference.label not in (NEUTRAL, ""):
            raise index.error(
                row,
                f"its reference {row.reference} is labelled {reference.label}; "
                "give a neutral image",
            )


def write(path, rows):
    """Write rows as an index, whole or not at all. Makes the folder if needed.

    Image files inside the index's folder are written relative to it, so that both can be moved
    together, and all others absolute: such an index keeps working wherever it is moved, and says
    plainly which file it misses when the database has gone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = str(path.parent.resolve())

    def portable(image):
        if not image:
            return ""
        absolute = os.path.abspath(os.path.join(folder, image))
        return absolute.removeprefix(os.path.join(folder, ""))

    with replacing(path, newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS + LANDMARK_COLUMNS)
        for row in rows:
            points = row.landmarks or ((None, None),) * len(POINTS)
            writer.writerow(
                [portable(row.image), row.subject, row.sequence, row.frame, row.label]
                + [portable(row.reference)]
                + ["" if value is None else f"{value:.2f}" for point in points for value in point]
            )
