"""The frames of whole sequences, from neutral to apex, and how expressive each of them is.

The index tells it: a sequence shows the expression that its apex frames are labelled with, starts
from its neutral frame, and the frames without label are those in between.
"""

from dataclasses import dataclass

from data_prep.index import Row
from data_prep.lmdbs import aligned_faces
from gcnet_base.errors import InputError
from gcnet_base.protocol import NEUTRAL, ascending, folds


@dataclass(frozen=True)
class Frame:
    """A frame: its row, its sequence's expression, how expressive it is from 0 (neutral) to 1."""

    row: Row
    expression: str
    expressiveness: float


def of_fold(table, fold, class_names):
    """Every Frame of the sequences of a fold's test subjects: by subject, sequence and time.

    `table` is a data_prep.index.Index. Sequences without a neutral frame before their apex, without
    frame numbers, or of an expression that is none of `class_names` are left out. Raises InputError
    if no sequence has a frame in between.
    """
    sequences = {}
    test = folds(row.subject for row in table.rows)[fold]
    for row in table.rows:
        if row.subject in test:
            sequences.setdefault((row.subject, row.sequence), []).append(row)
    order = {subject: number for number, subject in enumerate(ascending(test))}
    found = []
    for key in sorted(sequences, key=lambda key: (order[key[0]], key[1])):
        found += _frames(sequences[key], class_names)
    if all(frame.row.label for frame in found):
        raise InputError(
            f"{table.path}: the sequences of fold {fold}'s test subjects have no frames between "
            "neutral and apex; list them all (MMI: python -m data_prep index mmi ... --every 1), "
            "align them and train on that index"
        )
    return found


def _frames(rows, class_names):
    """The Frames of one sequence, or none."""
    expressions = {row.label for row in rows} - {"", NEUTRAL}
    if len(expressions) != 1 or not expressions <= set(class_names):
        return []
    if not all(row.frame for row in rows):
        return []
    (expression,) = expressions
    apex = [int(row.frame) for row in rows if row.label == expression]
    neutral = [int(row.frame) for row in rows if row.label == NEUTRAL]
    if not neutral or min(neutral) > min(apex):
        return []
    ordered = sorted(rows, key=lambda row: int(row.frame))
    end = int(ordered[-1].frame)
    return [
        Frame(row, expression, expressiveness(int(row.frame), min(neutral), apex, end))
        for row in ordered
    ]


def expressiveness(frame, neutral, apex, end):
    """From 0 to 1: where a frame is between the neutral frame and the first of the `apex` frames.

    After the last apex frame it falls in the same way to the `end` of the sequence, where MMI's
    videos are neutral again. How much a face moves from frame to frame is in no index, so time
    stands for it.
    """
    first, last = min(apex), max(apex)
    if frame < first:
        return max(0.0, (frame - neutral) / (first - neutral))
    return (end - frame) / (end - last) if frame > last else 1.0


def read_faces(table, frames):
    """The pixels of Frames, a list of uint8 66 x 66.

    Raises InputError naming the row whose face is gone or no such image.
    """
    pixels = aligned_faces.decode_faces([table.file(frame.row.image) for frame in frames])
    for frame, face in zip(frames, pixels, strict=True):
        if face is None:
            raise table.error(
                frame.row,
                f"{table.file(frame.row.image)} is gone or no gray 66x66 face; make it again with "
                "python -m data_prep align",
            )
    return pixels
