"""A synthetic face database in the layout of Oulu-CASIA's original images, visible strong light.

    ROOT/OriginalImg/VL/Strong/P001/Anger/000.jpeg   neutral ... apex, colour, 3-digit frames

Each subject shows all six expressions, as in Oulu-CASIA. The other light (VL/Weak, VL/Dark) and the
other camera (NI) are not written.
"""

from dataclasses import dataclass

import numpy as np

from data_prep.arguments import at_least
from data_prep.databases.oulu_casia import EXPRESSION_FOLDERS, LIGHT, SUBJECTS
from data_prep.synthetic import litter
from data_prep.synthetic.writing import draw_to_apex, new_folder, write_all
from gcnet_base.errors import InputError

SIZE, COLOUR, CONDITIONS = (320, 240), True, "laboratory"
HIGHEST_SUBJECT = 999


@dataclass(frozen=True)
class Job:
    """All sequences of one subject; `lengths`: frames of each, in EXPRESSION_FOLDERS' order."""

    camera: object
    person: int
    lengths: tuple


def add_arguments(parser):
    parser.add_argument(
        "--subjects", type=at_least(1), default=20, metavar="N", help="people (%(default)s)"
    )
    parser.add_argument(
        "--frames", type=at_least(2), default=16, metavar="N",
        help="mean images per sequence, neutral to apex (%(default)s)",
    )  # fmt: skip


def write(root, camera, full=False, untidy=False, workers=None, subjects=20, frames=16):
    """Write the database to the folder `root`, which must be new or empty; the number of images.

    A sequence has 3/4 to 5/4 of `frames` images. full: Oulu-CASIA's 80 subjects instead of
    `subjects`; untidy: with the litter of real copies. The same camera gives the same bytes
    whatever the number of workers. Raises InputError for a root that is not empty or too many
    subjects; nothing is left behind unless all is written.
    """
    subjects = SUBJECTS if full else subjects
    if subjects > HIGHEST_SUBJECT:
        raise InputError(f"--subjects {subjects}: must be at most {HIGHEST_SUBJECT}")
    rng = np.random.default_rng([camera.seed, 0])
    shortest, longest = max(2, round(0.75 * frames)), round(1.25 * frames)
    lengths = rng.integers(shortest, longest + 1, (subjects, len(EXPRESSION_FOLDERS))).tolist()
    jobs = [Job(camera, person, tuple(those)) for person, those in enumerate(lengths)]
    with new_folder(root) as folder:
        images = write_all(write_subject, folder, jobs, sum(map(sum, lengths)), workers)
        if untidy:
            litter.scatter(folder)
    return images


def write_subject(folder, job):
    """Write a subject's six sequences into `folder`; the number of images."""
    subject = folder / "OriginalImg" / LIGHT / f"P{job.person + 1:03d}"
    sequences = zip(EXPRESSION_FOLDERS.items(), job.lengths, strict=True)
    for number, ((name, expression), frames) in enumerate(sequences):
        place = subject / name
        place.mkdir(parents=True)
        drawn = draw_to_apex(job.camera, job.person, number, expression, frames, ".jpeg")
        for frame, (image, _) in enumerate(drawn):
            (place / f"{frame:03d}.jpeg").write_bytes(image)
    return sum(job.lengths)
