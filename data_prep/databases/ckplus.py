"""Extended Cohn-Kanade (CK+): posed expressions from neutral (first frame) to apex (last frame).

Layout, after unpacking the archives of the database side by side:

    CK+/
      cohn-kanade-images/S005/001/S005_001_00000001.png ... S005_001_00000011.png
      Emotion/S005/001/S005_001_00000011_emotion.txt      one code, only for labelled sequences
      Landmarks/S005/001/S005_001_00000001_landmarks.txt  68 lines "x y" (optional; every frame)
      FACS/                                               not used

Emotion codes: 0 neutral, 1 anger, 2 contempt, 3 disgust, 4 fear, 5 happiness, 6 sadness,
7 surprise. The label file is named for the apex frame. Sequences without one carry no agreed
emotion and are left out, as in the paper: 327 of 593 sequences, 118 of 123 subjects, with
anger 45, contempt 18, disgust 59, fear 25, happiness 69, sadness 28, surprise 83.

Labels in the index: the first frame is neutral and the reference of the whole sequence, the last
--apex frames carry the emotion, and those between stay without label.

CK+ is given to researchers on a signed agreement by the University of Pittsburgh; its images must
not be passed on, so neither must LMDBs made of them.

Lucey, Cohn, Kanade, Saragih, Ambadar, Matthews: The Extended Cohn-Kanade Dataset (CK+), CVPR
Workshops 2010. Kanade, Cohn, Tian: Comprehensive database for facial expression analysis, FG 2000.
"""

import os
import re
from collections import defaultdict

import numpy as np

from data_prep.arguments import at_least
from data_prep.index import Row
from gcnet.errors import InputError
from gcnet.protocol import EXPRESSIONS, NEUTRAL

IMAGES, EMOTION, LANDMARKS = "cohn-kanade-images", "Emotion", "Landmarks"

CODES = (NEUTRAL, *EXPRESSIONS)

PAPER_SEQUENCES = {
    "anger": 45,
    "contempt": 18,
    "disgust": 59,
    "fear": 25,
    "happiness": 69,
    "sadness": 28,
    "surprise": 83,
}
PAPER_SUBJECTS = 118

# The custom of the field for CK+ (also of DE-GAN and IDFERM, to which the paper is compared); the
# paper does not say how many frames of a sequence count as its peak.
APEX_FRAMES = 3

LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT = 30, 48, 54

_FRAME = re.compile(r"(?P<sequence>\w+_\w+)_(?P<frame>\d{8})\.png")
_LABEL = re.compile(r"(?P<sequence>\w+_\w+)_(?P<frame>\d{8})_emotion\.txt")


def add_arguments(parser):
    parser.add_argument(
        "--apex",
        type=at_least(1),
        default=APEX_FRAMES,
        metavar="N",
        help="how many last frames of a sequence show the emotion (%(default)s)",
    )


def rows(arguments):
    return read(arguments.root, arguments.apex)


def read(root, apex=APEX_FRAMES):
    """Rows of all frames of the labelled sequences in the CK+ folder `root`, absolute image paths.

    `apex` is the number of last frames that carry the emotion; a sequence shorter than that keeps
    its first frame neutral. Frames after the one that the label file is named for are left out.
    A frame without landmark file has no landmarks. Raises InputError naming the folder or file that
    is missing or wrong.
    """
    root = root.absolute()
    for name, archive in ((IMAGES, "extended-cohn-kanade-images"), (EMOTION, "Emotion_labels")):
        if not (root / name).is_dir():
            raise InputError(
                f"{root}: no folder {name}; unpack the archive {archive} of CK+ there"
            )
    table = []
    for subject in _folders(root / EMOTION):
        for sequence in _folders(subject):
            labels = _matching(sequence, _LABEL)
            if len(labels) > 1:
                raise InputError(f"{sequence}: {len(labels)} label files; leave the right one")
            for file, match in labels:
                label = _emotion(file)
                place = f"{subject.name}/{sequence.name}"
                frames = _frames(root / IMAGES / place, match, file)
                marks = root / LANDMARKS / place
                table += _sequence(subject.name, match["sequence"], label, frames, marks, apex)
    if not table:
        raise InputError(
            f"{root / EMOTION}: no label file like S005/001/S005_001_00000011_emotion.txt; "
            "unpack the archive Emotion_labels of CK+ there"
        )
    return table


def _folders(path):
    return sorted(entry for entry in path.iterdir() if entry.is_dir())


def _matching(folder, pattern):
    """(file, match) of the files named as the database names them, in order of name.

    Copies of CK+ hold more than that (.DS_Store, Thumbs.db, "._" files).
    """
    found = [(folder / name, pattern.fullmatch(name)) for name in sorted(os.listdir(folder))]
    return [(file, match) for file, match in found if match]


def _emotion(file):
    text = file.read_text(errors="replace").strip()
    try:
        return CODES[{float(code): code for code in range(len(CODES))}[float(text)]]
    except (ValueError, KeyError):
        raise InputError(
            f"{file}: emotion code {text!r}; expected 0 to {len(CODES) - 1}, restore the file"
        ) from None


def _frames(folder, label, label_file):
    """[(frame number, image file)] up to the frame that the label file is named for."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no images, but {label_file} labels them; restore the folder")
    frames = [
        (int(match["frame"]), file)
        for file, match in _matching(folder, _FRAME)
        if match["frame"] <= label["frame"]
    ]
    if not frames or frames[-1][0] != int(label["frame"]):
        apex = folder / f"{label['sequence']}_{label['frame']}.png"
        raise InputError(f"{apex}: no such image, but {label_file} labels it; restore it")
    if len(frames) < 2:
        raise InputError(
            f"{folder}: only the apex image; a sequence starts with a neutral frame, restore it"
        )
    return frames


def _sequence(subject, sequence, label, frames, marks, apex):
    last = len(frames) - 1
    for position, (number, file) in enumerate(frames):
        if position == 0:
            emotion = NEUTRAL
        else:
            emotion = label if position > last - apex else ""
        yield Row(
            image=str(file),
            subject=subject,
            sequence=sequence,
            frame=str(number),
            label=emotion,
            reference=str(frames[0][1]),
            landmarks=_five_points(marks / f"{file.stem}_landmarks.txt"),
        )


def _five_points(file):
    """Eye centres, nose tip and mouth corners of a 68-point file, or None if there is none."""
    if not file.is_file():
        return None
    try:
        points = np.array([line.split() for line in file.read_text().splitlines() if line.strip()])
        points = points.astype(np.float64)
    except ValueError:
        points = np.empty(0)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise InputError(f"{file}: expected 68 lines 'x y'; restore the file or remove it")
    five = (
        points[LEFT_EYE].mean(axis=0),
        points[RIGHT_EYE].mean(axis=0),
        points[NOSE_TIP],
        points[MOUTH_LEFT],
        points[MOUTH_RIGHT],
    )
    return tuple((float(x), float(y)) for x, y in five)


def summary(table):
    """Subjects, sequences and images per class as a text table, with the paper's sequences."""
    subjects, sequences, images = defaultdict(set), defaultdict(set), defaultdict(int)
    for row in table:
        for group in {row.label or "(between)", "all"}:
            subjects[group].add(row.subject)
            sequences[group].add(row.sequence)
            images[group] += 1
    paper = PAPER_SEQUENCES | {"all": sum(PAPER_SEQUENCES.values())}
    lines = [f"{'class':<11}{'subjects':>9}{'sequences':>10}{'images':>8}{'paper: sequences':>18}"]
    for group in (*EXPRESSIONS, NEUTRAL, "(between)", "all"):
        lines.append(
            f"{group:<11}{len(subjects[group]):>9}{len(sequences[group]):>10}{images[group]:>8}"
            f"{paper.get(group, ''):>18}"
        )
    lines[-1] += f" of {PAPER_SUBJECTS} subjects"
    frames = defaultdict(list)
    for row in table:
        frames[row.sequence].append(int(row.frame))
    gaps = [name for name, numbers in frames.items() if numbers != list(range(1, len(numbers) + 1))]
    if gaps:
        lines.append(f"{len(gaps)} sequences are not numbered 1, 2, 3 ..., the first is {gaps[0]}")
    return "\n".join(lines)
