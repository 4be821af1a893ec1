"""A synthetic face database in one of the layouts of FER2013, 48x48 gray faces.

    --form csv       ROOT/fer2013.csv         emotion,pixels,Usage
    --form icml      ROOT/icml_face_data.csv  emotion, Usage, pixels
    --form folders   ROOT/train/angry/Training_1.jpg, ROOT/test/angry/PrivateTest_2.jpg

Every image shows another person. With --people a person looks like an earlier one again. The
pictures are drawn with --size pixels; then the upright square around the face becomes 48x48.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from data_prep.arguments import at_least
from data_prep.databases.fer2013 import CODES, COUNTS, CSV_FILES, FOLDERS, SIDE
from data_prep.synthetic import litter
from data_prep.synthetic.writing import draw_image, encode, new_folder, write_all

# Drawn so, a face has about the size that it gets in the square.
SIZE, COLOUR, CONDITIONS = (80, 80), False, "wild"

# Where the middle of the eyes and its distance to the mouth go: our own estimate of a face
# detector's box.
_EYES, _EYES_TO_MOUTH = (24, 19), 17.5

_HEADERS = {"csv": "emotion,pixels,Usage", "icml": "emotion, Usage, pixels"}
_ROWS_PER_JOB = 200


@dataclass(frozen=True)
class Job:
    """Some rows of the database, [(row number, usage, label)], in order."""

    camera: object
    form: str
    rows: list


def add_arguments(parser):
    parser.add_argument(
        "--form", choices=("csv", "icml", "folders"), default="csv", help="layout (%(default)s)"
    )
    parser.add_argument(
        "--train", type=at_least(1), default=80, metavar="N", help="training images (%(default)s)"
    )
    parser.add_argument(
        "--test", type=at_least(1), default=40, metavar="N",
        help="images of each of the two test parts (%(default)s)",
    )  # fmt: skip


class Options(NamedTuple):
    """The layout's own: its `form`, and how many images of `train` and of each `test` part."""

    form: str = "csv"
    train: int = 80
    test: int = 40


def write(root, camera, full=False, untidy=False, workers=None, **options):
    """Write the database to the folder `root`, which must be new or empty; the number of images.

    `options`: those of Options. All seven labels are equally often; full: FER2013's own numbers
    instead; untidy: with the litter of real copies. Raises InputError for a root that is not empty.
    """
    form, train, test = Options(**options)
    rng = np.random.default_rng([camera.seed, 0])
    rows = []
    for usage, own in COUNTS.items():
        images = train if usage == "Training" else test
        if full:
            labels = [label for label, many in own.items() for _ in range(many)]
        else:
            labels = [CODES[number % len(CODES)] for number in range(images)]
        for label in rng.permutation(labels).tolist():
            rows.append((len(rows), usage, label))
    jobs = [
        Job(camera, form, rows[first : first + _ROWS_PER_JOB])
        for first in range(0, len(rows), _ROWS_PER_JOB)
    ]
    with new_folder(root) as folder:
        if form == "folders":
            for part in ("train", "test"):
                for name in FOLDERS:
                    (folder / part / name).mkdir(parents=True)
            written = write_all(write_images, folder, jobs, len(rows), workers)
        else:
            written = write_all(write_lines, folder, jobs, len(rows), workers)
            _join(folder, form)
        if untidy:
            litter.scatter(folder)
    return written


def write_images(folder, job):
    """Write the images of a job into the class folders; their number."""
    names = {label: name for name, label in FOLDERS.items()}
    for number, usage, label in job.rows:
        part = "train" if usage == "Training" else "test"
        file = folder / part / names[label] / f"{usage}_{number}.jpg"
        file.write_bytes(encode(_face(job.camera, *_who(job.camera, number), label), ".jpg"))
    return len(job.rows)


def write_lines(folder, job):
    """Write the lines of a job into a file of their own; their number."""
    lines = []
    for number, usage, label in job.rows:
        code = CODES.index(label)
        pixels = _text(job.camera, *_who(job.camera, number), label)
        if job.form == "csv":
            lines.append(f"{code},{pixels},{usage}\n")
        else:
            lines.append(f"{code}, {usage}, {pixels}\n")
    (folder / f"{job.rows[0][0]:07d}.part").write_text("".join(lines))
    return len(job.rows)


def _join(folder, form):
    name = dict(zip(_HEADERS, CSV_FILES, strict=True))[form]
    with open(folder / name, "w") as file:
        file.write(_HEADERS[form] + "\n")
        for part in sorted(folder.glob("*.part")):
            file.write(part.read_text())
            part.unlink()


def _who(camera, number):
    """(person, take) of the image of that number."""
    if camera.people:
        return number % camera.people, number // camera.people % 4
    return number, 0


@functools.lru_cache(maxsize=1024)
def _text(camera, person, take, label):
    return " ".join(map(str, _face(camera, person, take, label).ravel().tolist()))


@functools.lru_cache(maxsize=1024)
def _face(camera, person, take, label):
    """uint8 48 x 48: the square around the face, upright, as a face detector would cut it out."""
    content, points, _ = draw_image(camera, person, label, ".png", take)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    scale = _EYES_TO_MOUTH / np.hypot(*(mouth - eyes))
    shift = _EYES - scale * eyes
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
