"""FER2013 (Facial Expression Recognition 2013): 48x48 gray faces from the web, one label each.

Two forms go round. The contest's own is one CSV file, fer2013.csv, or icml_face_data.csv with the
same rows and other columns:

    emotion,pixels,Usage                    0,"70 80 82 ... 106 109 82",Training
    emotion, Usage, pixels                  0, Training, 70 80 82 ... 106 109 82

2304 pixels by rows, and Usage Training, PublicTest or PrivateTest. The other one is of folders:

    train/angry/Training_3908.jpg           also disgust, fear, happy, neutral, sad, surprise
    test/angry/PrivateTest_88305.jpg        PublicTest and PrivateTest, told by the file's name

A copy of it has disgusted, fearful and surprised, and names files im0.png, im1.png, so that its two
test parts cannot be told apart: give --split test.

Emotion codes: 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral.

    Usage        anger  disgust  fear  happiness  sadness  surprise  neutral    all
    Training      3995      436  4097       7215     4830      3171     4965  28709
    PublicTest     467       56   496        895      653       415      607   3589
    PrivateTest    491       55   528        879      594       416      626   3589

The paper tests on FER2013 without training on it (Table VI) and does not say on which images.
PrivateTest decided the contest and is what results are usually reported on, with PublicTest for
validation; it is the default here.

Rows of the CSV become PNG files named as FER+ does, fer0000017.png for the row 17 (from 0). Rows
of other parts than the chosen one are only counted.

No landmarks are given. The contest's page says that faces were registered automatically, so that
each is more or less centred and takes about the same amount of space; the report says that OpenCV's
face detector found them and that people corrected the crops. That is not exact enough for fixed
points, and align does find such faces: all of 100 real ones (lfw_subset of scikit-image, enlarged
to 48x48). Nobody's name is given: each image is a subject of its own in the index, so that no image
serves as another one's neutral reference.

The data was given to the contestants on Kaggle ("Challenges in Representation Learning: Facial
Expression Recognition Challenge"), to be downloaded after accepting the contest's rules. The images
were found by a web search and remain their owners'; the copies on the web name licences that
contradict each other (MIT, Apache, CC BY-NC), none of them the authors'. Do not pass them on.

Goodfellow, Erhan, Carrier, Courville and others: Challenges in representation learning: a report on
three machine learning contests, 2013, arXiv:1307.0414 (how it was made, total per class). CSV
files: torchvision.datasets.FER2013. Numbers per class and part: public programs that count the
file; they add up to the report's. File names: readme of microsoft/FERPlus. Folders and their file
names: public programs that read the copies on Kaggle (msambare/fer2013).
"""

import codecs
from collections import Counter

import cv2
import numpy as np
from tqdm import tqdm

from data_prep.databases import TEST_ONLY
from data_prep.index import Row
from data_prep.summary import Counts
from data_prep.tree import IMAGE
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError

SPLIT, CLASSES = TEST_ONLY, "6+neutral"

CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
SIDE = 48

COUNTS = {
    "Training": dict(zip(CODES, (3995, 436, 4097, 7215, 4830, 3171, 4965), strict=True)),
    "PublicTest": dict(zip(CODES, (467, 56, 496, 895, 653, 415, 607), strict=True)),
    "PrivateTest": dict(zip(CODES, (491, 55, 528, 879, 594, 416, 626), strict=True)),
}

USAGES = {
    "private": ("PrivateTest",),
    "public": ("PublicTest",),
    "test": ("PublicTest", "PrivateTest"),
    "train": ("Training",),
}

CSV_FILES = ("fer2013.csv", "icml_face_data.csv")

_NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FOLDERS = dict(zip(_NAMES, CODES, strict=True))
_ALL_FOLDERS = FOLDERS | {"disgusted": "disgust", "fearful": "fear", "surprised": "surprise"}


def add_arguments(parser):
    parser.add_argument(
        "--split", choices=tuple(USAGES), default="private",
        help="which part; test is public and private together (%(default)s)",
    )  # fmt: skip


def counts(split):
    labels = Counter()
    for usage in USAGES[split]:
        labels.update(COUNTS[usage])
    return Counts("images", labels, source="FER2013")


def rows(tree, images_folder, split):
    """Rows of the images of `split`, in the order of the CSV or of the folders.

    The images of a CSV are written into `images_folder` one by one; what is there
    already is left as it is, so that a stopped run goes on where it was. Skipped are lines that
    are cut off or hold a wrong code, usage or pixel, and folders that are no class.
    """
    for name in CSV_FILES:
        file = tree.find(tree.root, name)
        if file is not None and file.is_file():
            return _rows_of_csv(tree, file, images_folder, split)
    part = "train" if split == "train" else "test"
    folder = tree.find(tree.root, part)
    if folder is None or not folder.is_dir():
        raise InputError(
            f"{tree.root}: neither {' nor '.join(CSV_FILES)} nor a folder {part}; give the folder "
            "that holds FER2013, unpacked"
        )
    return _rows_of_folders(tree, folder, split)


def _rows_of_csv(tree, file, images_folder, split):
    images = images_folder.resolve()
    for unfinished in images.glob(".*.partial"):
        unfinished.unlink()
    usages = USAGES[split]
    table, found = [], dict.fromkeys(COUNTS, 0)
    with (
        open(file, "rb") as lines,
        tqdm(
            total=file.stat().st_size, unit="B", unit_scale=True, desc=file.name, leave=False,
            disable=None,
        ) as progress,
    ):  # fmt: skip
        columns = _columns(file, lines.readline())
        row = -1
        for number, line in enumerate(lines, start=2):
            progress.update(len(line))
            if not line.strip():
                continue
            row += 1
            try:
                code, usage, text = _values(line, columns)
                found[usage] += 1
                if usage not in usages:
                    continue
                pixels = _pixels(text)
            except ValueError as problem:
                tree.skip(f"{file}, line {number}", f"{problem}, download the file again")
                continue
            image = images / f"fer{row:07d}.png"
            if not table:
                images.mkdir(parents=True, exist_ok=True)
            _write(image, cv2.imencode(".png", pixels)[1].tobytes())
            table.append(Row(image=str(image), subject=image.stem, label=CODES[code]))
    for usage in usages:
        tree.expect(file.name, found[usage], sum(COUNTS[usage].values()), f"rows of {usage}")
    if not any(found[usage] for usage in usages):
        raise InputError(
            f"{file}: {sum(found.values())} rows, none of {' or '.join(usages)}; download it again"
        )
    return table


def _columns(file, line):
    """Places of emotion, Usage and pixels in a line."""
    names = [name.lower() for name in _split(line.removeprefix(codecs.BOM_UTF8))]
    try:
        return [names.index(name) for name in ("emotion", "usage", "pixels")]
    except ValueError:
        raise InputError(
            f"{file}, line 1: {','.join(names)[:60]!r}; expected emotion,pixels,Usage: give the "
            "contest's file of all rows"
        ) from None


def _split(line):
    return [value.strip(' "\r\n') for value in line.decode(errors="replace").split(",")]


def _values(line, columns):
    """(code, usage, text of the pixels) of a line. ValueError says what is wrong."""
    values = _split(line)
    if len(values) != len(columns):
        raise ValueError(f"{len(values)} values; expected emotion, pixels and Usage")
    code, usage, text = (values[place] for place in columns)
    if usage not in COUNTS:
        raise ValueError(f"Usage {usage[:20]!r}; expected {', '.join(COUNTS)}")
    if code not in map(str, range(len(CODES))):
        raise ValueError(f"emotion code {code[:20]!r}; expected 0 to {len(CODES) - 1}")
    return int(code), usage, text


def _pixels(text):
    """uint8 48 x 48. ValueError says what is wrong."""
    # Five times as fast as splitting the text and turning each part into a number.
    try:
        pixels = np.fromstring(text, dtype=np.int64, sep=" ")
    except ValueError:
        raise ValueError("pixels that are no whole numbers; expected 2304 from 0 to 255") from None
    if pixels.size != SIDE * SIDE:
        raise ValueError(f"{pixels.size} pixels; expected {SIDE * SIDE}")
    if pixels.min() < 0 or pixels.max() > 255:
        wrong = pixels[(pixels < 0) | (pixels > 255)][0]
        raise ValueError(f"pixel {wrong}; expected 0 to 255")
    return pixels.astype(np.uint8).reshape(SIDE, SIDE)


def _write(image, content):
    """Write the file unless it has this content already."""
    try:
        if image.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    with replacing(image, "wb") as file:
        file.write(content)


def _rows_of_folders(tree, folder, split):
    usages = USAGES[split]
    table, images = [], 0
    for place in tree.folders(folder):
        label = _ALL_FOLDERS.get(place.name.lower())
        if label is None:
            tree.skip(place, f"no class; expected {', '.join(FOLDERS)}, rename or remove it")
            continue
        for file, match in tree.files(place, rf"([a-z]+test_)?.+\.{IMAGE}"):
            images += 1
            usage = (match[1] or "").strip("_").lower()
            if split in ("train", "test") or usage == usages[0].lower():
                subject = f"{place.name}_{file.stem}"
                table.append(Row(image=str(file), subject=subject, label=label))
    if images and not table:
        raise InputError(
            f"{folder}: {images} images, none named {usages[0]}_1.jpg; where the names do not tell "
            "PublicTest from PrivateTest, give --split test"
        )
    if not table:
        raise InputError(
            f"{folder}: no images in folders named {', '.join(FOLDERS)}; give the folder that "
            "holds FER2013, unpacked"
        )
    expected = sum(sum(COUNTS[usage].values()) for usage in usages)
    tree.expect(folder.name, len(table), expected, f"images of {' and '.join(usages)}")
    return table
