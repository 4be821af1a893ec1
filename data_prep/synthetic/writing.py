"""What the layouts have in common: who is drawn, and a folder that appears whole or not at all."""

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_prep.synthetic.expressions import (
    sample_action_units,
    sample_apex,
    scaled,
    time_course,
)
from data_prep.synthetic.faces import FaceRenderer
from data_prep.synthetic.identity import CONDITIONS, Identity, Setting
from gcnet_base.atomic import replacing_folder
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.protocol import LABELS
from gcnet_base.workers import Workers

# Stored, not deflated: 0.2 instead of 2.3 ms an image, a quarter of drawing it. Noise hardly
# deflates: 77 KB instead of 46.
_STORED_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 0, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)


@dataclass(frozen=True)
class Camera:
    """How all faces of a database are drawn.

    size: (width, height) pixels; colour: BGR instead of gray; conditions: a name in
    identity.CONDITIONS; people: how many different people there are
    (None: as many as asked for), the next ones look like the first again; the same `seed` gives the
    same pixels.
    """

    size: tuple = (320, 240)
    colour: bool = False
    conditions: str = "laboratory"
    seed: int = 0
    people: int | None = None


def draw_sequence(camera, person, sequence, expression, course):
    """Draw the person's sequence of that number; a list of faces.Rendering.

    `course(rng)` gives the shares (0..1) of the apex, one a frame. `expression` None is a
    combination of action units that is no prototype: what CK+ leaves without label. Sequences of
    one person show the same face in another light.
    """
    person = person % camera.people if camera.people else person
    rng = np.random.default_rng([camera.seed, 2, person, sequence])
    conditions = CONDITIONS[camera.conditions]
    setting = Setting.sample(rng).under(conditions)
    renderer = _renderer(camera, person)
    if not conditions.sittings:
        renderer = renderer.in_setting(setting)
    apex = sample_apex(rng, expression, conditions) if expression else sample_action_units(rng)
    renderings = []
    for share in course(rng):
        if conditions.sittings:
            other = Setting.sample(rng).under(conditions)
            renderer = renderer.in_setting(other.before_the_wall_of(setting))
        renderings.append(renderer.render(scaled(apex, share), rng))
    return renderings


def draw_to_apex(camera, person, sequence, expression, frames, suffix):
    """[(encoded image file, 68 x 2 landmarks)] of `frames` frames from neutral to the apex."""
    if camera.people:
        person %= camera.people
        return _draw_to_apex_again(camera, person, sequence, expression, frames, suffix)
    return _draw_to_apex(camera, person, sequence, expression, frames, suffix)


def _draw_to_apex(camera, person, sequence, expression, frames, suffix):
    course = functools.partial(time_course, frames=frames)
    renderings = draw_sequence(camera, person, sequence, expression, course)
    return [(encode(rendering.image, suffix), rendering.landmarks) for rendering in renderings]


# Few people show the same sequences again and again: a full tree is then written in seconds.
_draw_to_apex_again = functools.lru_cache(maxsize=128)(_draw_to_apex)


@functools.lru_cache(maxsize=4)
def _renderer(camera, person):
    """Skin and hair are drawn once a person."""
    identity = Identity.sample(np.random.default_rng([camera.seed, 1, person]))
    setting = Setting.sample(np.random.default_rng([camera.seed, 3, person]))
    return FaceRenderer(identity, setting, camera.size, camera.colour)


@functools.lru_cache(maxsize=4096)
def draw_image(camera, person, expression, suffix=".jpg", take=0):
    """(encoded image file, 5 x 2 points, 68 x 2 landmarks) of a single photograph at its apex.

    Takes of the same person and expression differ in light, pose and strength. With few
    `camera.people` a picture that was drawn before is given again, of one take in four, so that a
    database of hundreds of thousands of files is written in minutes.
    """
    if camera.people and (person >= camera.people or take >= REPEATED_TAKES):
        return draw_image(camera, person % camera.people, expression, suffix, take % REPEATED_TAKES)
    sequence = 1000 + len(LABELS) * take + LABELS.index(expression)
    (rendering,) = draw_sequence(camera, person, sequence, expression, lambda rng: (1.0,))
    return encode(rendering.image, suffix), rendering.five_points, rendering.landmarks


REPEATED_TAKES = 4


def encode(image, suffix):
    """The bytes of an image file with that suffix."""
    options = _STORED_PNG if suffix.lower() == ".png" else ()
    return cv2.imencode(suffix, image, options)[1].tobytes()


@contextlib.contextmanager
def new_folder(root):
    """A hidden folder beside `root` to write into, which becomes `root` when the block ends well.

    Raises InputError if `root` exists and is not empty.
    """
    place = Path(root).resolve()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"{root}: exists and is not an empty folder; remove it or give another")
    with replacing_folder(place) as folder:
        yield folder


def write_all(write, folder, jobs, images, workers=None):
    """Call write(folder, job), which returns how many images it wrote, for each job in processes.

    `write` is a module's function, `images` the number of all images (for the progress bar),
    `workers` None means one process per CPU. Returns the images written. Raises InputError if a
    worker was killed.
    """
    # Some jobs are a single small image: handing out each takes longer than writing it.
    size = max(1, min(100, len(jobs) // 100))
    tasks = (jobs[first : first + size] for first in range(0, len(jobs), size))
    written = 0
    with (
        Workers(workers or available_cores()) as pool,
        tqdm(total=images, unit="image", desc="synthetic faces", disable=None) as progress,
    ):
        for count in pool.map(functools.partial(_write_jobs, write, folder), tasks):
            written += count
            progress.update(count)
    return written


def _write_jobs(write, folder, jobs):
    return sum(write(folder, job) for job in jobs)
