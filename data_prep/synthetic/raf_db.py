"""A synthetic face database in the layout of RAF-DB, basic emotions.

    ROOT/basic/EmoLabel/list_patition_label.txt              "train_00001.jpg 5"
    ROOT/basic/Image/original/train_00001.jpg, test_0001.jpg colour
    ROOT/basic/Image/aligned/train_00001_aligned.jpg         colour, 100x100, eyes and mouth placed
    ROOT/basic/Annotation/manual/train_00001_manu_attri.txt  5 lines "x<tab>y", gender, race, age

Every image shows another person. With --people a person looks like an earlier one again.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.arguments import at_least
from data_prep.databases.raf_db import CODES, COUNTS, IMAGES, LABELS, MANUAL
from data_prep.faces.crop import similarity
from data_prep.synthetic import litter
from data_prep.synthetic.writing import draw_image, encode, new_folder, write_all

SIZE, COLOUR, CONDITIONS = (240, 240), True, "wild"

ALIGNED = 100
# Eyes and the middle of the mouth in an aligned image; our own estimate of a tight crop.
_ALIGNED_POINTS = ((31, 40), (69, 40), (50, 78))

_DIGITS = {"train": 5, "test": 4}


@dataclass(frozen=True)
class Job:
    """One image: its name, what it shows and whom."""

    camera: object
    name: str
    label: str
    person: int


def add_arguments(parser):
    parser.add_argument(
        "--train", type=at_least(1), default=80, metavar="N", help="training images (%(default)s)"
    )
    parser.add_argument(
        "--test", type=at_least(1), default=40, metavar="N", help="test images (%(default)s)"
    )


def write(root, camera, full=False, untidy=False, workers=None, train=80, test=40):
    """Write the database to the folder `root`, which must be new or empty; the number of images.

    `train` and `test` images have all seven labels equally often; full: RAF-DB's own numbers
    instead; untidy: with the litter of real copies. An original and its aligned image count as
    one. Raises InputError for a root that is not empty.
    """
    rng = np.random.default_rng([camera.seed, 0])
    jobs = []
    for split, images in (("train", train), ("test", test)):
        if full:
            labels = [label for label, many in COUNTS[split].items() for _ in range(many)]
        else:
            labels = [list(COUNTS[split])[number % len(CODES)] for number in range(images)]
        for number, label in enumerate(rng.permutation(labels).tolist(), start=1):
            jobs.append(Job(camera, f"{split}_{number:0{_DIGITS[split]}d}", label, len(jobs)))
    codes = {label: code for code, label in CODES.items()}
    with new_folder(root) as folder:
        basic = folder / "basic"
        for place in (*IMAGES.values(), MANUAL):
            (basic / place).mkdir(parents=True)
        (basic / LABELS).parent.mkdir()
        (basic / LABELS).write_text("".join(f"{job.name}.jpg {codes[job.label]}\n" for job in jobs))
        written = write_all(write_image, basic, jobs, len(jobs), workers)
        if untidy:
            litter.scatter(folder)
    return written


def write_image(basic, job):
    """Write one original image, its aligned version and its landmarks into `basic`; always 1."""
    take = job.person // job.camera.people if job.camera.people else 0
    original, aligned, points = _draw(job.camera, job.person, job.label, take)
    (basic / IMAGES["original"] / f"{job.name}.jpg").write_bytes(original)
    (basic / IMAGES["aligned"] / f"{job.name}_aligned.jpg").write_bytes(aligned)
    # Of gender, race and age, which no reader uses, "unsure" and two codes in range.
    text = "".join(f"{x:.1f}\t{y:.1f}\n" for x, y in points) + "2\n0\n2\n"
    (basic / MANUAL / f"{job.name}_manu_attri.txt").write_text(text)
    return 1


@functools.lru_cache(maxsize=1024)
def _draw(camera, person, label, take):
    """(original JPEG, aligned JPEG, 5 x 2 points in the original)."""
    if camera.people and person >= camera.people:
        return _draw(camera, person % camera.people, label, take % 4)
    original, points, _ = draw_image(camera, person, label, take=take)
    image = cv2.imdecode(np.frombuffer(original, np.uint8), cv2.IMREAD_COLOR)
    placed = similarity([points[0], points[1], points[3:].mean(axis=0)], _ALIGNED_POINTS)
    face = cv2.warpAffine(
        image, placed, (ALIGNED, ALIGNED), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    return original, encode(face, ".jpg"), points
