"""RAF-DB, basic emotions (Real-world Affective Faces): photographs from the web, one label each.

Layout, after unpacking the archives of the part "basic" where they lie:

    basic/
      EmoLabel/list_patition_label.txt               a line "train_00001.jpg 5" per image
      Image/original/train_00001.jpg, test_0001.jpg  whole photographs (original.zip)
      Image/aligned/train_00001_aligned.jpg          100x100 faces (aligned.zip)
      Annotation/manual/train_00001_manu_attri.txt   5 lines "x y", then gender, race, age
      Annotation/auto/, Annotation/boundingbox/      not used
      Feature/                                       not used

"patition" is how the file is spelled; the readme also says list_partition_label.txt, which is read
too. The root may be the folder basic or one that holds it.

Emotion codes: 1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral.

Images, split by the authors into 12,271 for training and 3,068 for testing:

    split  surprise  fear  disgust  happiness  sadness  anger  neutral
    train      1290   281      717       4772     1982    705     2524
    test        329    74      160       1185      478    162      680

The paper tests on RAF-DB without training on it (Table VI) and does not say on which images; the
authors' test images are the default here.

Landmarks: eye centres, nose tip and mouth corners, set by hand in the original images; they are
given in the index for these, and the aligned images go without. Code that aligns by them takes the
lines for left eye, right eye, nose, left and right corner of the mouth; whether "left" is the
image's could not be confirmed, so the two eyes and the two corners are put in order of x.

Nobody's name is given and the same person may be in several images. Each image is a subject of its
own in the index, named as the image: no image then serves as another one's neutral reference, and
results by subject are results by image.

RAF-DB is for non-commercial research and education only, says its readme, and its authors do not
own the images' copyright. It is to be asked for by e-mail, at the address on
http://whdeng.cn/RAF/model1.html. The readme says nothing of passing it on; without the authors'
word do not, neither the images nor LMDBs made of them.

Layout, names, codes, numbers of the splits, what the five points are and the terms: readme of
RAF-DB version 1.1. Order of the lines: rafdb_dataset_hq.py of MiviaLab/emotion-robustness,
data/datasets.py of lucasxlu/HMTNet (tabs between x and y). Label file: rafdb.py of yaoing/DAN.
Numbers per class: several public training programs that count the label file agree on them; they
add up to the readme's. Li, Deng, Du: Reliable crowdsourcing and deep locality-preserving learning
for expression recognition in the wild, CVPR 2017.
"""

import re

import numpy as np

from data_prep.databases import TEST_ONLY
from data_prep.index import Row
from data_prep.summary import Counts
from gcnet_base.errors import InputError

SPLIT, CLASSES = TEST_ONLY, "6+neutral"

CODES = {
    "1": "surprise",
    "2": "fear",
    "3": "disgust",
    "4": "happiness",
    "5": "sadness",
    "6": "anger",
    "7": "neutral",
}

COUNTS = {
    "train": dict(zip(CODES.values(), (1290, 281, 717, 4772, 1982, 705, 2524), strict=True)),
    "test": dict(zip(CODES.values(), (329, 74, 160, 1185, 478, 162, 680), strict=True)),
}

LABELS, MANUAL = "EmoLabel/list_patition_label.txt", "Annotation/manual"
IMAGES = {"original": "Image/original", "aligned": "Image/aligned"}

_LINE = re.compile(r"(?P<name>\S+)\.jpg\s+(?P<code>\S+)", re.IGNORECASE)


def add_arguments(parser):
    parser.add_argument(
        "--images", dest="kind", choices=tuple(IMAGES), default="original",
        help="whole photographs with landmarks, or the aligned faces (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--split", choices=tuple(COUNTS), default="test",
        help="which of the authors' two parts (%(default)s)",
    )  # fmt: skip


def counts(kind, split):
    return Counts("images", COUNTS[split], source="RAF-DB")


def rows(tree, images_folder, kind, split):
    """Rows of the images of `split`, in the order of the label file.

    Skipped are lines of the label file that are not "name code" or name an image twice, images that
    are not there, and landmark files without five points (their images stay, without landmarks).
    """
    basic = "basic/" if tree.find(tree.root, "basic/EmoLabel") else ""
    emotion = tree.folder(f"{basic}EmoLabel", "give the folder basic of RAF-DB")
    names = (LABELS, LABELS.replace("patition", "partition"))
    found = (tree.find(tree.root, basic + name) for name in names)
    labels = next((file for file in found if file is not None), None)
    if labels is None:
        raise InputError(f"{emotion}: no {LABELS.split('/')[1]}; download it again with RAF-DB")
    place, archive = IMAGES[kind], f"{IMAGES[kind]}.zip"
    folder = tree.folder(basic + place, f"unpack {archive} of RAF-DB in basic/Image")
    suffix = "_aligned" if kind == "aligned" else ""
    images = {
        match[1].lower(): file for file, match in tree.files(folder, rf"({split}_\d+){suffix}\.jpg")
    }
    expected = sum(COUNTS[split].values())
    if not images:
        raise InputError(
            f"{folder}: has 0 images of the {split} part; expected {expected}: unpack "
            f"{archive} of RAF-DB there"
        )
    landmarks = {}
    if kind == "original":
        landmarks = _landmark_files(tree, basic, split)
        tree.expect(MANUAL, len(landmarks), expected, f"landmark files ({split})")
    tree.expect(place, len(images), expected, f"images ({split})")

    where_images = folder.relative_to(tree.root)
    table, lines = [], {}
    for number, written, label in _labelled(tree, labels, split):
        name = written.lower()
        if name in lines:
            where = f"{labels}, line {number}"
            tree.skip(where, f"{name}.jpg is already in line {lines[name]}; drop one of them")
            continue
        lines[name] = number
        image = images.get(name) or tree.file(f"{where_images}/{written}{suffix}.jpg")
        if image is None:
            continue
        points = _five_points(tree, landmarks[name]) if name in landmarks else None
        table.append(Row(image=str(image), subject=name, label=label, landmarks=points))
    tree.expect(LABELS, len(lines), expected, f"labels ({split})")
    return table


def _labelled(tree, labels, split):
    """Yield (line number, "test_0001", label) of the lines, but for those of the other split."""
    (other,) = COUNTS.keys() - {split}
    for number, line in enumerate((tree.text(labels) or "").splitlines(), start=1):
        match = _LINE.fullmatch(line.strip())
        if not line.strip() or match and match["name"].lower().startswith(f"{other}_"):
            continue
        if not match:
            tree.skip(
                f"{labels}, line {number}",
                f"{line.strip()[:40]!r}; expected a line like 'test_0001.jpg 7', restore the file",
            )
        elif match["code"] not in CODES:
            tree.skip(
                f"{labels}, line {number}",
                f"emotion code {match['code']!r}; expected 1 to {len(CODES)}, restore the file",
            )
        else:
            yield number, match["name"], CODES[match["code"]]


def _landmark_files(tree, basic, split):
    folder = tree.find(tree.root, basic + MANUAL)
    if folder is None:
        return {}
    found = tree.files(folder, rf"({split}_\d+)_manu_attri\.txt")
    return {match[1].lower(): file for file, match in found}


def _five_points(tree, file):
    """The five points in the order of data_prep.index.POINTS, or None if the file is wrong."""
    text = tree.text(file)
    if text is None:
        return None
    try:
        points = np.array([line.split() for line in text.splitlines()[:5]]).astype(np.float64)
    except ValueError:
        points = np.empty(0)
    if points.shape == (5, 2) and np.isfinite(points).all():
        eyes, nose, mouth = sorted(points[:2].tolist()), points[2].tolist(), points[3:].tolist()
        five = tuple(tuple(point) for point in (*eyes, nose, *sorted(mouth)))
        if five[0][0] < five[1][0] and five[3][0] < five[4][0]:
            return five
    tree.skip(file, "expected 5 lines 'x y' for eyes, nose, mouth; restore the file or remove it")
    return None
