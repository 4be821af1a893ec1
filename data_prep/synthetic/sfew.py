"""A synthetic face database in the layout of SFEW 2.0, original frames.

    ROOT/Train/Angry/Film07_000519240_00000005.png   colour; film, start of the clip, frame
    ROOT/Val/Angry/...                               other films
    ROOT/Test/Film50_000114840_00000031.png          no labels

As in SFEW, some frames of Train/Disgust and Train/Fear are only numbered (1.png), and one frame of
Val is both in Happy and in Surprise.
"""

from dataclasses import dataclass

import numpy as np

from data_prep.arguments import at_least
from data_prep.databases.sfew import CLASS_FOLDERS, COUNTS, TEST_IMAGES
from data_prep.synthetic import litter
from data_prep.synthetic.writing import draw_image, new_folder, write_all

SIZE, COLOUR, CONDITIONS = (320, 240), True, "wild"

# SFEW-BNN counts 95 films in Train and Val together.
FILMS = {"Train": range(65), "Val": range(65, 95), "Test": range(95, 125)}
NUMBERED = {("Train", "Disgust"): 12, ("Train", "Fear"): 17}
JOB_IMAGES = 50


@dataclass(frozen=True)
class Job:
    """Images of one folder: `images` are (file name, person, expression)."""

    camera: object
    folder: str
    images: tuple


def add_arguments(parser):
    parser.add_argument(
        "--images", type=at_least(1), default=20, metavar="N",
        help="images of each class in Train and in Val, and of all in Test (%(default)s)",
    )  # fmt: skip


def write(root, camera, full=False, untidy=False, workers=None, images=20):
    """Write the database to the folder `root`, which must be new or empty; the number of images.

    full: SFEW's own numbers of images instead of `images`; untidy: with the litter of real copies.
    Every image shows another person. The same camera gives the same bytes whatever the number of
    workers. Raises InputError for a root that is not empty; nothing is left behind unless all is
    written.
    """
    planned = _plan(np.random.default_rng([camera.seed, 0]), full, images)
    jobs = [
        Job(camera, folder, tuple(those[start : start + JOB_IMAGES]))
        for folder, those in planned.items()
        for start in range(0, len(those), JOB_IMAGES)
    ]
    with new_folder(root) as folder:
        for place in planned:
            (folder / place).mkdir(parents=True)
        written = write_all(write_images, folder, jobs, sum(map(len, planned.values())), workers)
        if untidy:
            litter.scatter(folder)
    return written


def _plan(rng, full, images):
    """{folder: [(file name, person, expression)]} of all folders."""
    planned, people = {}, 0
    for split, films in FILMS.items():
        if split == "Test":
            folders = {split: TEST_IMAGES if full else images}
        else:
            own = COUNTS["original", split.lower()]
            folders = {
                f"{split}/{name}": own[label] if full else images
                for name, label in CLASS_FOLDERS.items()
            }
        names = _frames(rng, films, sum(folders.values()))
        for folder, number in folders.items():
            name = folder.rpartition("/")[2]
            expressions = [CLASS_FOLDERS.get(name)] * number
            if split == "Test":
                expressions = rng.choice(list(CLASS_FOLDERS.values()), number).tolist()
            those, names = names[:number], names[number:]
            numbered = min(NUMBERED.get((split, name), 0), number // 2)
            those[:numbered] = [f"{one}.png" for one in range(1, numbered + 1)]
            if folder == "Val/Surprise":
                those[0] = planned["Val/Happy"][0][0]
            planned[folder] = list(
                zip(those, range(people, people + number), expressions, strict=True)
            )
            people += number
    return planned


def _frames(rng, films, number):
    """`number` different file names."""
    names = {}
    while len(names) < number:
        hours, minutes, seconds = rng.integers((2, 60, 60))
        clip = f"{hours:02d}{minutes:02d}{seconds:02d}{40 * rng.integers(25):03d}"
        names[f"Film{rng.choice(films):02d}_{clip}_{rng.integers(1, 120):08d}.png"] = None
    return list(names)


def write_images(folder, job):
    """Write the images of a job into `folder`; their number."""
    for name, person, expression in job.images:
        content, *_ = draw_image(job.camera, person, expression, ".png")
        (folder / job.folder / name).write_bytes(content)
    return len(job.images)
