"""A synthetic face database in the layout of CASIA-WebFace.

    ROOT/0000045/001.jpg   colour, 250x250, any expression in any light

With --people a person looks like an earlier one again, and the pictures are copies.
"""

from dataclasses import dataclass

import numpy as np

from data_prep.arguments import at_least
from data_prep.databases.casia_webface import ALL_IDENTITIES, ALL_IMAGES
from data_prep.synthetic import litter
from data_prep.synthetic.writing import draw_image, new_folder, write_all
from gcnet_base.errors import InputError
from gcnet_base.protocol import LABELS

SIZE, COLOUR, CONDITIONS = (250, 250), True, "wild"
FIRST_IDENTITY = 45


@dataclass(frozen=True)
class Job:
    """The images of one identity."""

    camera: object
    person: int
    folder: str
    images: int


def add_arguments(parser):
    parser.add_argument(
        "--identities", type=at_least(1), default=100, metavar="N", help="people (%(default)s)"
    )
    parser.add_argument(
        "--images", type=at_least(1), default=1000, metavar="N",
        help="images of all people together (%(default)s)",
    )  # fmt: skip


def write(root, camera, full=False, untidy=False, workers=None, identities=100, images=1000):
    """Write the database to the folder `root`, which must be new or empty; the number of images.

    As in the real one, people have very different numbers of images, at least one. full:
    CASIA-WebFace's own numbers instead of `identities` and `images`; untidy: with the litter of
    real copies. Raises InputError for a root that is not empty, or fewer images than identities.
    """
    if full:
        identities, images = ALL_IDENTITIES, ALL_IMAGES
    if images < identities:
        raise InputError(f"--images {images}: fewer than the {identities} identities; give more")
    rng = np.random.default_rng([camera.seed, 0])
    gaps = rng.integers(1, 60, identities)
    numbers = FIRST_IDENTITY + np.concatenate([[0], np.cumsum(gaps[1:])])
    shares = rng.gamma(1.2, size=identities)
    extra = rng.multinomial(images - identities, shares / shares.sum())
    jobs = [
        Job(camera, person, f"{number:07d}", 1 + int(more))
        for person, (number, more) in enumerate(zip(numbers, extra, strict=True))
    ]
    with new_folder(root) as folder:
        written = write_all(write_identity, folder, jobs, images, workers)
        if untidy:
            litter.name_as_copy(folder / jobs[-1].folder)
            litter.scatter(folder)
    return written


def write_identity(folder, job):
    """Write one person's images into `folder`; their number."""
    place = folder / job.folder
    place.mkdir()
    expressions = np.random.default_rng([job.camera.seed, 4, job.person]).integers(
        0, len(LABELS), job.images
    )
    for number, expression in enumerate(expressions, start=1):
        content, *_ = draw_image(job.camera, job.person, LABELS[expression], take=number)
        (place / f"{number:03d}.jpg").write_bytes(content)
    return job.images
