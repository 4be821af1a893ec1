"""A user's own pictures, as data_prep.databases.photographs reads them.

    ROOT/anna_neutral_1.jpg       colour; also "Jörg Peter_happy_2.jpg", or with --folders
    ROOT/neutral/anna_1.jpg

Everybody has a neutral picture, the expressions, and without --folders one of no label word.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

from data_prep.arguments import at_least
from data_prep.databases.photographs import WORDS
from data_prep.synthetic import litter
from data_prep.synthetic.writing import draw_image, new_folder, write_all
from gcnet_base.protocol import EXPRESSIONS, NEUTRAL

SIZE, COLOUR, CONDITIONS = (320, 240), True, "wild"

# With a space, with letters that are no ASCII, with dots: as people name their files.
_NAMES = ("anna", "Jörg Peter", "zoë", "M. Li", "Олег", "さくら")


@dataclass(frozen=True)
class Job:
    """All pictures of a person: [(file in the root, what it shows, take)]."""

    camera: object
    person: int
    pictures: list


def add_arguments(parser):
    parser.add_argument(
        "--subjects", type=at_least(1), default=6, metavar="N", help="people (%(default)s)"
    )
    parser.add_argument(
        "--takes", type=at_least(1), default=2, metavar="N",
        help="pictures of each label and person (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--folders", action="store_true", help="a folder per label instead of it in the names"
    )


class Options(NamedTuple):
    """The layout's own: `takes` of each expression, in `folders` of labels or by their names."""

    subjects: int = 6
    takes: int = 2
    folders: bool = False


def write(root, camera, full=False, untidy=False, workers=None, **options):
    """Write the pictures to the folder `root`, which must be new or empty; their number.

    `options`: those of Options. There is no real database with numbers of its own: `full` changes
    nothing. untidy: with the
    litter of real copies. Raises InputError for a root that is not empty.
    """
    subjects, takes, folders = Options(**options)
    spellings = {label: [w for w in WORDS if WORDS[w] == label] for label in WORDS.values()}
    jobs = []
    for person in range(subjects):
        name = _NAMES[person % len(_NAMES)]
        if person >= len(_NAMES):
            name += f" {person}"
        pictures = []
        words = {label: itertools.cycle(spellings[label]) for label in spellings}
        for label, take in itertools.product((NEUTRAL, *EXPRESSIONS), range(takes)):
            if folders:
                file = f"{label}/{name}_{take + 1}.jpg"
            else:
                file = f"{name}_{next(words[label])}_{take + 1}.jpg"
            pictures.append((file, label, take))
        if not folders:
            pictures.append((f"{name}_holiday.jpg", NEUTRAL, takes))
        jobs.append(Job(camera, person, pictures))
    with new_folder(root) as folder:
        for label in spellings if folders else ():
            (folder / label).mkdir()
        images = sum(len(job.pictures) for job in jobs)
        written = write_all(write_person, folder, jobs, images, workers)
        if untidy:
            litter.name_as_copy(folder / jobs[0].pictures[0][0])
            litter.scatter(folder)
    return written


def write_person(folder, job):
    """Write the pictures of a person into `folder`; their number."""
    for file, label, take in job.pictures:
        content, *_ = draw_image(job.camera, job.person, label, take=take)
        (folder / file).write_bytes(content)
    return len(job.pictures)
