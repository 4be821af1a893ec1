"""Extended Cohn-Kanade (CK+): posed expressions from neutral (first frame) to apex (last frame).

Layout, after unpacking extended-cohn-kanade-images.zip, Emotion_labels.zip and Landmarks.zip side
by side (FACS_labels.zip is not used):

    CK+/
      cohn-kanade-images/S005/001/S005_001_00000001.png ... S005_001_00000011.png
      Emotion/S005/001/S005_001_00000011_emotion.txt      one code, only for labelled sequences
      Landmarks/S005/001/S005_001_00000001_landmarks.txt  68 lines "x y" (optional; every frame)

Emotion codes: 0 neutral, 1 anger, 2 contempt, 3 disgust, 4 fear, 5 happiness, 6 sadness,
7 surprise. The label file is named for the apex frame. Sequences without one carry no agreed
emotion and are left out, as in the paper: 327 of 593 sequences, 118 of 123 subjects, with
anger 45, contempt 18, disgust 59, fear 25, happiness 69, sadness 28, surprise 83.

Labels in the index: the first frame is neutral and the reference of the whole sequence, the last
--apex frames carry the emotion, and those between stay without label.

How to apply: CK+ is given to researchers of institutions who sign the agreement form that the
Affect Analysis Group of the University of Pittsburgh offers (www.pitt.edu/~emotion/ck-spread.htm,
www.jeffcohn.net). It is for research on facial image analysis and synthesis and for perceptual
studies. Its images must not be passed on, so neither must faces or LMDBs made of them. Before one
is printed, see Consent-for-publication.doc of the distribution. (The form's wording was not at
hand when this was written; it rules.)

Sources: the distribution's own ReadMeCohnKanadeDatabase_website.txt (folders, codes, counts; it
also says that a sequence without label file has no label). Lucey, Cohn, Kanade, Saragih, Ambadar,
Matthews: The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops 2010 (counts per emotion). Kanade,
Cohn, Tian: Comprehensive database for facial expression analysis, FG 2000.
"""

import numpy as np

from data_prep import apex
from data_prep.databases import FOLDS
from data_prep.summary import Counts
from gcnet_base.errors import InputError
from gcnet_base.protocol import EXPRESSIONS, NEUTRAL

SPLIT, CLASSES = FOLDS, "7"

IMAGES, EMOTION, LANDMARKS = "cohn-kanade-images", "Emotion", "Landmarks"

CODES = (NEUTRAL, *EXPRESSIONS)

SEQUENCES = {
    "anger": 45,
    "contempt": 18,
    "disgust": 59,
    "fear": 25,
    "happiness": 69,
    "sadness": 28,
    "surprise": 83,
}
LABELLED_SEQUENCES, ALL_SEQUENCES = sum(SEQUENCES.values()), 593
LABELLED_SUBJECTS, ALL_SUBJECTS = 118, 123

LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT = 30, 48, 54

_FRAME = r"(?P<sequence>\w+_\w+)_(?P<frame>\d{8})\.png"
_LABEL = r"(?P<sequence>\w+_\w+)_(?P<frame>\d{8})_emotion\.txt"
_LANDMARKS = r"\w+_\w+_(?P<frame>\d{8})_landmarks\.txt"


def add_arguments(parser):
    apex.add_argument(parser)


def counts(**_):
    return Counts("sequences", SEQUENCES, subjects=LABELLED_SUBJECTS)


def rows(tree, images_folder, apex_frames):
    """Rows of all frames of the labelled sequences.

    A sequence of fewer frames than `apex_frames` keeps its first frame neutral. Frames after
    the one that the label file is named for are left out. A frame without landmark file has no
    landmarks. Skipped are sequences whose label or apex is missing or wrong, and
    landmark files that do not hold 68 points (their frames stay, without landmarks).
    """
    images = tree.folder(IMAGES, "unpack the archive extended-cohn-kanade-images of CK+ there")
    emotion = tree.folder(EMOTION, "unpack the archive Emotion_labels of CK+ there")
    landmarks = tree.find(tree.root, LANDMARKS)
    table, labelled, with_landmarks = [], 0, 0
    for subject in tree.folders(emotion):
        for sequence in tree.folders(subject):
            found = tree.files(sequence, _LABEL)
            labelled += bool(found)
            if len(found) > 1:
                tree.skip(sequence, f"has {len(found)} label files; leave the right one")
                continue
            place = f"{subject.name}/{sequence.name}"
            for file, match in found:
                label = _emotion(tree, file)
                frames = label and _frames(tree, images, place, match, file)
                if frames:
                    files = _landmark_files(tree, landmarks, place, frames)
                    with_landmarks += len(files)
                    points = {number: _five_points(tree, files[number]) for number in files}
                    name = match["sequence"].upper()
                    those = apex.last(frames, apex_frames)
                    subject_name = name.split("_")[0]
                    table += apex.rows(frames, those, label, subject_name, name, points)
    if not labelled:
        raise InputError(
            f"{emotion}: has 0 label files like S005/001/S005_001_00000011_emotion.txt; expected "
            f"{LABELLED_SEQUENCES}: unpack the archive Emotion_labels of CK+ there"
        )
    everybody = tree.folders(images)
    sequences = sum(len(tree.folders(subject)) for subject in everybody)
    tree.expect(IMAGES, len(everybody), ALL_SUBJECTS, "subjects")
    tree.expect(IMAGES, sequences, ALL_SEQUENCES, "sequences")
    tree.expect(EMOTION, labelled, LABELLED_SEQUENCES, "label files")
    if landmarks:
        tree.expect(LANDMARKS, with_landmarks, len(table), "files for the frames in the index")
    return table


def _emotion(tree, file):
    text = tree.text(file)
    if text is None:
        return None
    text = text.strip()
    try:
        return CODES[{float(code): code for code in range(len(CODES))}[float(text)]]
    except (ValueError, KeyError):
        tree.skip(file, f"emotion code {text!r}; expected 0 to {len(CODES) - 1}, restore the file")
        return None


def _frames(tree, images, place, label, label_file):
    """{frame number: image file} in order, up to the frame that the label file is named for."""
    folder = tree.find(images, place)
    files = tree.files(folder, _FRAME) if folder else []
    found = {int(match["frame"]): file for file, match in files}
    last = int(label["frame"])
    frames = {number: found[number] for number in sorted(found) if number <= last}
    folder = folder or images / place
    if last not in frames:
        apex_image = folder / f"{label['sequence']}_{label['frame']}.png"
        tree.skip(apex_image, f"no such image, but {label_file} labels it; restore it")
    elif len(frames) < 2:
        tree.skip(folder, "only the apex image; a sequence starts with a neutral frame, restore it")
    else:
        if list(frames) != list(range(1, last + 1)):
            # No reason to skip: that every sequence of the real CK+ starts with 1 is not known.
            tree.lacking.append(f"{folder}: frames are not numbered 1, 2, 3 ...")
        return frames
    return None


def _landmark_files(tree, landmarks, place, frames):
    """{frame number: landmark file} of those of `frames` that have one."""
    folder = landmarks and tree.find(landmarks, place)
    if not folder:
        return {}
    found = {int(match["frame"]): file for file, match in tree.files(folder, _LANDMARKS)}
    return {number: found[number] for number in frames if number in found}


def _five_points(tree, file):
    """Eye centres, nose tip and mouth corners of a 68-point file, or None if it is wrong."""
    text = tree.text(file)
    if text is None:
        return None
    try:
        points = np.array([line.split() for line in text.splitlines() if line.strip()])
        points = points.astype(np.float64)
    except ValueError:
        points = np.empty(0)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        tree.skip(file, "expected 68 lines 'x y'; restore the file or remove it")
        return None
    five = (
        points[LEFT_EYE].mean(axis=0),
        points[RIGHT_EYE].mean(axis=0),
        points[NOSE_TIP],
        points[MOUTH_LEFT],
        points[MOUTH_RIGHT],
    )
    return tuple((float(x), float(y)) for x, y in five)
