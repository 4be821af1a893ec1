"""What the layouts have in common: who is drawn, and a folder that appears whole or not at all."""

import functools
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_prep.synthetic.expressions import (
    STUDIO_WEAKEST_APEX,
    WEAKEST_APEX,
    sample_action_units,
    sample_expression,
    scaled,
)
from data_prep.synthetic.faces import FaceRenderer, Identity, Setting
from data_prep.workers import start_worker
from gcnet.errors import InputError
from gcnet.protocol import LABELS

# Stored, not deflated: 0.2 instead of 2.3 ms an image, a quarter of drawing it. Noise hardly
# deflates: 77 KB instead of 46.
_STORED_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 0, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)


@dataclass(frozen=True)
class Camera:
    """How all faces of a database are drawn.

    size: (width, height) pixels; colour: BGR instead of gray; studio: even light, frontal heads and
    strong expressions, so that a net learns in minutes; people: how many different people there are
    (None: as many as asked for), the next ones look like the first again; the same `seed` gives the
    same pixels.
    """

    size: tuple = (320, 240)
    colour: bool = False
    studio: bool = False
    seed: int = 0
    people: int | None = None


def draw_sequence(camera, person, sequence, expression, time_course):
    """Draw the person's sequence of that number; a list of faces.Rendering.

    `time_course(rng)` gives the shares (0..1) of the apex, one a frame. `expression` None is a
    combination of action units that is no prototype: what CK+ leaves without label. Sequences of
    one person show the same face in another light.
    """
    person = person % camera.people if camera.people else person
    rng = np.random.default_rng([camera.seed, 2, person, sequence])
    setting = Setting.sample(rng)
    if camera.studio:
        setting = setting.in_a_studio()
    renderer = _renderer(camera, person).in_setting(setting)
    weakest = STUDIO_WEAKEST_APEX if camera.studio else WEAKEST_APEX
    apex = sample_expression(rng, expression, weakest) if expression else sample_action_units(rng)
    return [renderer.render(scaled(apex, share), rng) for share in time_course(rng)]


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


@contextmanager
def new_folder(root):
    """A hidden folder beside `root` to write into, which becomes `root` when the block ends well.

    Raises InputError if `root` exists and is not empty.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root}: exists and is not an empty folder; remove it or give another")
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}-"))
    try:
        yield unfinished
        unfinished.chmod(0o755)
        unfinished.rename(root)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def write_all(write, folder, jobs, images, workers=None):
    """Call write(folder, job), which returns how many images it wrote, for each job in processes.

    `write` is a module's function, `images` the number of all images (for the progress bar),
    `workers` None means one process per core. Returns the images written. Raises InputError if a
    worker was killed.
    """
    written = 0
    with (
        ProcessPoolExecutor(
            workers or os.cpu_count(), get_context("spawn"), initializer=start_worker
        ) as pool,
        tqdm(total=images, unit="image", desc="synthetic faces", disable=None) as progress,
    ):
        try:
            chunk = max(1, min(100, len(jobs) // 100))
            for count in pool.map(functools.partial(write, folder), jobs, chunksize=chunk):
                written += count
                progress.update(count)
        except BrokenProcessPool:
            raise InputError(
                f"{folder}: a worker was killed, perhaps for want of memory; try fewer --workers"
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return written
