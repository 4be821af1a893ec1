"""Oulu-CASIA NIR&VIS, visible light, strong: posed expressions from neutral to apex.

Layout of the archive B_OriginalImg.zip (original images, JPEG, 320x240), of which only VL/Strong is
read:

    OriginalImg/
      VL/                                 camera for visible light (NI: near infra-red)
        Strong/                           illumination (also Weak and Dark)
          P001/Anger/000.jpeg 001.jpeg ...
          P001/Disgust/ Fear/ Happiness/ Sadness/ Surprise/
          ... P080/

The root may be the folder that holds OriginalImg (B_OriginalImg, or the one above it), OriginalImg
itself, or B_OriginalImg with VL right in it: all are found in public code. Folder names are the
labels, in whatever case. The database has no landmarks. Frames are numbered from 000; a later
release is said to number them anew, so that their order counts here, and a sequence that starts
later than the others is noted.

Labels in the index: the first frame is neutral and the reference of the whole sequence, the last
--apex frames carry the emotion, and those between stay without label. The paper counts 480
sequences of 80 subjects, in visible light and normal illumination: six expressions of each.

Cropped faces (VL_Acropped in another archive) are not read: they are cut and scaled in their own
way, and align does that alike for all databases.

How to apply: the database is given by the University of Oulu (Center for Machine Vision and Signal
Analysis; www.cse.oulu.fi/CMV/Downloads/Oulu-CASIA was its page) for research, on a licence
agreement. Its wording was not at hand when this was written; take it that images, and so faces and
LMDBs made of them, must not be passed on.

Sources: Zhao, Huang, Taini, Li, Pietikainen: Facial expression recognition from near-infrared
videos, Image and Vision Computing 2011 (subjects, expressions, 320x240 pixels, 25 frames a
second). Folders and suffix: oulu_casia_utils.py of varshanth/AuVi_Buddy_-_A_Synergy_of_FER-MER;
file names and the archive's: HayeonLee/DTAN-ICCV15-pytorch and read-mes of its successors. Files
that were named anew: HuiDingUMD/ExprGAN, issue 5. One project counts 479 sequences of cropped
faces; the original images are taken to have all 480.
"""

import re

from data_prep import apex
from data_prep.databases import FOLDS
from data_prep.summary import Counts
from data_prep.tree import IMAGE
from gcnet_base.errors import InputError

SPLIT, CLASSES = FOLDS, "6"

EXPRESSION_FOLDERS = {
    "Anger": "anger",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happiness": "happiness",
    "Sadness": "sadness",
    "Surprise": "surprise",
}
SUBJECTS = 80
SEQUENCES = SUBJECTS * len(EXPRESSION_FOLDERS)

LIGHT = "VL/Strong"
_PLACES = ("OriginalImg", "B_OriginalImg/OriginalImg", "B_OriginalImg", ".")
_LABELS = {folder.lower(): label for folder, label in EXPRESSION_FOLDERS.items()}


def add_arguments(parser):
    apex.add_argument(parser)


def counts(**_):
    return Counts("sequences", dict.fromkeys(_LABELS.values(), SUBJECTS), subjects=SUBJECTS)


def rows(tree, images_folder, apex_frames):
    """Rows of all frames. A sequence of fewer frames than `apex_frames` starts neutral still.

    Skipped are folders that are no subject or no expression, and sequences of fewer than two
    images or with a number twice. Sequences that start later than others, or with gaps in their
    numbers, stay and are noted: their neutral frame may be missing.
    """
    strong = _strong_light(tree)
    table, subjects, sequences, numbers = [], 0, 0, {}
    for subject in tree.folders(strong):
        if not re.fullmatch(r"P\d{3}", subject.name, re.IGNORECASE):
            tree.skip(subject, "no subject; expected folders P001 to P080, rename or remove it")
            continue
        subjects += 1
        found = 0
        for folder in tree.folders(subject):
            label = _LABELS.get(folder.name.lower())
            if label is None:
                names = ", ".join(EXPRESSION_FOLDERS)
                tree.skip(folder, f"no expression; expected {names}, rename or remove it")
                continue
            found += 1
            frames = _frames(tree, folder)
            if frames:
                numbers[f"{subject.name}/{folder.name}"] = list(frames)
                name = subject.name.upper()
                those = apex.last(frames, apex_frames)
                table += apex.rows(frames, those, label, name, f"{name}_{label}")
        sequences += found
        tree.expect(subject.name, found, len(EXPRESSION_FOLDERS), "expressions")
    if not sequences:
        raise InputError(
            f"{strong}: has 0 sequences like P001/Anger; expected {SEQUENCES}: unpack the archive "
            "B_OriginalImg of Oulu-CASIA there"
        )
    tree.expect(LIGHT, subjects, SUBJECTS, "subjects")
    tree.expect(LIGHT, sequences, SEQUENCES, "sequences")
    _note_missing_frames(tree, numbers)
    return table


def _strong_light(tree):
    for place in _PLACES:
        folder = tree.find(tree.root, f"{place}/{LIGHT}")
        if folder and folder.is_dir():
            return folder
    raise InputError(
        f"{tree.root}: no folder OriginalImg/{LIGHT}; unpack the archive B_OriginalImg of "
        "Oulu-CASIA there, or give the folder that holds it"
    )


def _frames(tree, folder):
    """{frame number: image file} in order, or None."""
    found = [
        (int(match["frame"]), file)
        for file, match in tree.files(folder, rf"(?P<frame>\d+)\.{IMAGE}")
    ]
    frames = dict(sorted(found))
    if len(found) < 2:
        tree.skip(folder, f"has {len(found)} images; expected neutral to apex, restore them")
    elif len(frames) < len(found):
        tree.skip(folder, "has two images of the same number; leave the right one")
    else:
        return frames
    return None


def _note_missing_frames(tree, numbers):
    """Note in `tree.lacking` what `numbers`, {sequence: [frame number]}, lack."""
    # 0, but for copies that are numbered anew.
    first = min((those[0] for those in numbers.values()), default=0)
    late = [name for name, those in numbers.items() if those[0] != first]
    if late:
        tree.lacking.append(
            f"{LIGHT}: {len(late)} sequences do not start with frame {first}, which is neutral in "
            f"the others; restore it, the first is {late[0]}"
        )
    gaps = [name for name, those in numbers.items() if those[-1] - those[0] >= len(those)]
    if gaps:
        tree.lacking.append(
            f"{LIGHT}: {len(gaps)} sequences have gaps in the numbers of their frames, the first "
            f"is {gaps[0]}"
        )
