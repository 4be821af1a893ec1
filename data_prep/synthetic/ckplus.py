"""A synthetic face database in the layout of CK+ (the Extended Cohn-Kanade database).

    ROOT/cohn-kanade-images/S005/001/S005_001_00000001.png   neutral ... apex, 8-digit frames
    ROOT/Emotion/S005/001/S005_001_00000011_emotion.txt      "   3.0000000e+00", apex frame
    ROOT/Landmarks/S005/001/S005_001_00000001_landmarks.txt  68 lines "   x   y", pixels

As in CK+, each sequence has its folder under Emotion and only a labelled one has the file in it.
"""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.arguments import at_least
from data_prep.databases.ckplus import (
    ALL_SEQUENCES,
    ALL_SUBJECTS,
    CODES,
    EMOTION,
    IMAGES,
    LABELLED_SUBJECTS,
    LANDMARKS,
    SEQUENCES,
)
from data_prep.synthetic import litter
from data_prep.synthetic.writing import draw_to_apex, new_folder, write_all
from gcnet_base.errors import InputError
from gcnet_base.protocol import EXPRESSIONS

# CK+'s own are 640x490; half of that draws four times as fast, with 50 pixels between the eyes.
SIZE, COLOUR, CONDITIONS = (320, 240), False, "laboratory"
HIGHEST_SUBJECT = 999


@dataclass(frozen=True)
class Sequence:
    """One sequence to draw. `expression` is None where CK+ would give no label."""

    subject_index: int
    subject: str
    sequence: str
    expression: str | None
    frames: int


@dataclass(frozen=True)
class Job:
    """All sequences of one subject: skin and hair are drawn once."""

    camera: object
    sequences: list
    landmarks: bool


def add_arguments(parser):
    parser.add_argument(
        "--subjects", type=at_least(1), default=20, metavar="N", help="people (%(default)s)"
    )
    parser.add_argument(
        "--sequences", type=at_least(1), default=4, metavar="N",
        help="sequences per subject (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--frames", type=at_least(2), default=11, metavar="N",
        help="mean images per sequence, neutral to apex (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--landmarks", action="store_true", help="also write the 68 landmarks of each image"
    )


class Options(NamedTuple):
    """The layout's own: `sequences` per subject, `frames` the mean of a sequence."""

    subjects: int = 20
    sequences: int = 4
    frames: int = 11
    landmarks: bool = False
    unlabelled_fraction: float = 0.2


def write(root, camera, full=False, untidy=False, workers=None, **options):
    """Write the database to the folder `root`, which must be new or empty; the number of images.

    `options`: those of Options. full: CK+'s own numbers of subjects, sequences and labels instead
    of `subjects` and `sequences`; untidy: with the litter of real copies. The same camera
    gives the same bytes whatever the number of workers. Raises InputError for a root that is not
    empty or numbers out of range; nothing is left behind unless all is written.
    """
    options = Options(**options)
    if full:
        planned = plan_all(options.frames, camera.seed)
    else:
        subjects = options.subjects
        if not 1 <= subjects <= HIGHEST_SUBJECT - 5:
            raise InputError(f"--subjects {subjects}: must be from 1 to {HIGHEST_SUBJECT - 5}")
        planned = plan_sequences(
            subjects, options.sequences, options.frames, camera.seed, options.unlabelled_fraction
        )
    jobs = [
        Job(camera, list(those), options.landmarks)
        for _, those in groupby(planned, key=lambda sequence: sequence.subject)
    ]
    with new_folder(root) as folder:
        images = write_all(write_subject, folder, jobs, sum(s.frames for s in planned), workers)
        if untidy:
            litter.scatter(folder)
    return images


def plan_sequences(subjects, sequences_per_subject, frames, seed, unlabelled_fraction):
    """The list of Sequence to draw, by ascending subject and sequence.

    Labels are balanced: each labelled sequence takes one of the least used expressions, first of
    those that its subject has not shown. CK+'s own distribution (69 happiness, 18 contempt)
    would leave a demo of twenty subjects with folds that lack a class.
    By default about 3 of a subject's 4 sequences are labelled, as in CK+ (327 of 118 subjects).
    A sequence has 3/4 to 5/4 of `frames` images, as lengths in CK+ vary.
    """
    rng = np.random.default_rng([seed, 0])
    numbers = _subject_numbers(subjects, rng)
    used = dict.fromkeys(EXPRESSIONS, 0)
    planned = []
    for subject_index, number in enumerate(numbers):
        shown = set()
        for position in range(sequences_per_subject):
            expression = None
            if rng.random() >= unlabelled_fraction:
                fresh = [name for name in used if name not in shown] or list(used)
                least = min(used[name] for name in fresh)
                expression = str(rng.choice([n for n in fresh if used[n] == least]))
                used[expression] += 1
                shown.add(expression)
            length = _length(frames, rng)
            planned.append(
                Sequence(subject_index, f"S{number:03d}", f"{position + 1:03d}", expression, length)
            )
    return planned


def plan_all(frames, seed):
    """The list of Sequence with CK+'s own counts: 593 of 123 subjects, 327 labelled of 118."""
    rng = np.random.default_rng([seed, 0])
    labels = rng.permutation([name for name, count in SEQUENCES.items() for _ in range(count)])
    labels = labels.tolist() + [None] * (ALL_SEQUENCES - len(labels))
    # Every subject gets one sequence, the last five an unlabelled one; the rest goes round.
    unlabelled = ALL_SUBJECTS - LABELLED_SUBJECTS
    shares = [[labels.pop(0)] for _ in range(LABELLED_SUBJECTS)]
    shares += [[labels.pop()] for _ in range(unlabelled)]
    for place, label in enumerate(labels):
        shares[place % (LABELLED_SUBJECTS if label else ALL_SUBJECTS)].append(label)
    return [
        Sequence(index, f"S{number:03d}", f"{place:03d}", label, _length(frames, rng))
        for index, (number, those) in enumerate(
            zip(_subject_numbers(ALL_SUBJECTS, rng), shares, strict=True)
        )
        for place, label in enumerate(those, start=1)
    ]


def _subject_numbers(subjects, rng):
    """Ascending numbers from 5 on with gaps, as those of CK+."""
    widest_gap = max(1, min(6, (HIGHEST_SUBJECT - 5) // subjects))
    return 5 + np.concatenate([[0], np.cumsum(rng.integers(1, widest_gap + 1, subjects - 1))])


def _length(frames, rng):
    return int(rng.integers(max(2, round(0.75 * frames)), round(1.25 * frames) + 1))


def write_subject(folder, job):
    """Write a subject's sequences into `folder`; the number of images."""
    for sequence in job.sequences:
        _write_sequence(folder, job, sequence)
    return sum(sequence.frames for sequence in job.sequences)


def _write_sequence(folder, job, sequence):
    place = Path(sequence.subject, sequence.sequence)
    stem = f"{sequence.subject}_{sequence.sequence}"
    images, emotion, points = (folder / kind / place for kind in (IMAGES, EMOTION, LANDMARKS))
    for needed in (images, emotion) + ((points,) if job.landmarks else ()):
        needed.mkdir(parents=True)
    drawn = draw_to_apex(
        job.camera, sequence.subject_index, int(sequence.sequence), sequence.expression,
        sequence.frames, ".png",
    )  # fmt: skip
    for frame, (image, landmarks) in enumerate(drawn, start=1):
        name = f"{stem}_{frame:08d}"
        (images / f"{name}.png").write_bytes(image)
        if job.landmarks:
            (points / f"{name}_landmarks.txt").write_text(
                "   %.7e   %.7e\n" * 68 % tuple(landmarks.ravel().tolist())
            )
    if sequence.expression:
        code = CODES.index(sequence.expression)
        (emotion / f"{stem}_{sequence.frames:08d}_emotion.txt").write_text(f"   {code:.7e}\n")
