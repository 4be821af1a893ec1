"""Writes a synthetic face database in the layout of CK+ (the Extended Cohn-Kanade database).

    ROOT/cohn-kanade-images/S005/001/S005_001_00000001.png   neutral ... apex, 8-digit frames
    ROOT/Emotion/S005/001/S005_001_00000011_emotion.txt      "   3.0000000e+00", apex frame
    ROOT/Landmarks/S005/001/S005_001_00000001_landmarks.txt  68 lines "   x   y", pixels

As in CK+, each sequence has its folder under Emotion and only a labelled one has the file in it.
"""

import os
import shutil
import signal
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_prep.synthetic.expressions import (EXPRESSIONS, STUDIO_WEAKEST_APEX, WEAKEST_APEX,
                                             sample_action_units, sample_expression, scaled,
                                             time_course)
from data_prep.synthetic.faces import FaceRenderer, Identity, Setting
from gcnet.errors import InputError

EMOTION_CODES = {"neutral": 0, "anger": 1, "contempt": 2, "disgust": 3, "fear": 4,
                 "happiness": 5, "sadness": 6, "surprise": 7}
HIGHEST_SUBJECT = 999
# Stored, not deflated: 0.2 instead of 2.3 ms an image, a quarter of drawing it. Noise hardly
# deflates: 77 KB instead of 46.
_STORED_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 0, cv2.IMWRITE_PNG_FILTER,
               cv2.IMWRITE_PNG_FILTER_NONE)
_LABELLED_EXPRESSIONS = tuple(name for name in EXPRESSIONS if name != "neutral")


@dataclass(frozen=True)
class Sequence:
    """One sequence to draw. `expression` is None where CK+ would give no label."""

    subject_index: int
    subject: str
    sequence: str
    expression: str | None
    frames: int


@dataclass(frozen=True)
class _Job:
    """All sequences of one subject: skin and hair are drawn once."""

    root: Path
    sequences: list
    seed: int
    landmarks: bool
    colour: bool
    studio: bool
    size: tuple


def plan_sequences(subjects, sequences_per_subject, frames, seed, unlabelled_fraction):
    """The list of Sequence to draw, by ascending subject and sequence.

    Labels are balanced: each labelled sequence takes one of the least used expressions, first of
    those that its subject has not shown. CK+'s own distribution (69 happiness, 18 contempt)
    would leave a demo of twenty subjects with folds that lack a class.
    By default about 3 of a subject's 4 sequences are labelled, as in CK+ (327 of 118 subjects).
    A sequence has 3/4 to 5/4 of `frames` images, as lengths in CK+ vary.
    """
    rng = np.random.default_rng([seed, 0])
    widest_gap = max(1, min(6, (HIGHEST_SUBJECT - 5) // subjects))
    numbers = 5 + np.concatenate([[0], np.cumsum(rng.integers(1, widest_gap + 1, subjects - 1))])
    used = dict.fromkeys(_LABELLED_EXPRESSIONS, 0)
    planned = []
    for subject_index, number in enumerate(numbers):
        shown = set()
        for position in range(sequences_per_subject):
            expression = None
            if rng.random() >= unlabelled_fraction:
                fresh = [name for name in used if name not in shown] or list(used)
                least = min(used[name] for name in fresh)
                expression = str(rng.choice([n for n in fresh if used[n] == least]))
                used[expression] += 1
                shown.add(expression)
            length = int(rng.integers(max(2, round(0.75 * frames)), round(1.25 * frames) + 1))
            planned.append(Sequence(subject_index, f"S{number:03d}", f"{position + 1:03d}",
                                    expression, length))
    return planned


def write_ckplus(root, subjects=20, sequences_per_subject=4, frames=11, seed=0, landmarks=True,
                 colour=False, studio=False, workers=None, unlabelled_fraction=0.2,
                 size=(320, 240)):
    """Write a synthetic database to the folder `root`, which must be new or empty.

    studio: even light, frontal heads and strong expressions, so that a net learns in minutes;
    frames: mean images per sequence; size: (width, height) pixels (CK+'s own are 640 x 490);
    workers: processes, default one per core. The same seed gives the same bytes whatever the
    number of workers. Returns the number of images. Raises InputError for a root that is not
    empty or numbers out of range; nothing is left behind unless all is written.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root}: exists and is not an empty folder; remove it or give another")
    if not 1 <= subjects <= HIGHEST_SUBJECT - 5:
        raise InputError(f"--subjects {subjects}: must be from 1 to {HIGHEST_SUBJECT - 5}")
    if sequences_per_subject < 1 or frames < 2:
        raise InputError("a subject needs at least one sequence and a sequence two frames; got "
                         f"--sequences {sequences_per_subject} --frames {frames}")
    planned = plan_sequences(subjects, sequences_per_subject, frames, seed, unlabelled_fraction)
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}-"))
    try:
        jobs = [_Job(unfinished, list(sequences), seed, landmarks, colour, studio, size)
                for _, sequences in groupby(planned, key=lambda planned: planned.subject)]
        images = 0
        with ProcessPoolExecutor(workers or os.cpu_count(), get_context("spawn"),
                                 initializer=_start_worker) as pool, \
                tqdm(total=sum(s.frames for s in planned), unit="image",
                     desc="synthetic faces") as progress:
            try:
                for written in pool.map(_write_subject, jobs):
                    images += written
                    progress.update(written)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        unfinished.chmod(0o755)
        unfinished.rename(root)
    except BrokenProcessPool:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise InputError(f"{root}: a worker was killed, perhaps for want of memory; try "
                         "fewer --workers") from None
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return images


def _start_worker():
    """One OpenCV thread a worker; Ctrl-C is the parent's business."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_subject(job):
    """Write a subject's sequences; the number of images."""
    subject_index = job.sequences[0].subject_index
    identity = Identity.sample(np.random.default_rng([job.seed, 1, subject_index]))
    renderer = None
    for sequence in job.sequences:
        rng = np.random.default_rng([job.seed, 2, subject_index, int(sequence.sequence)])
        setting = Setting.sample(rng)
        if job.studio:
            setting = setting.in_a_studio()
        renderer = (renderer.in_setting(setting) if renderer else
                    FaceRenderer(identity, setting, job.size, job.colour))
        _write_sequence(job, sequence, renderer, rng)
    return sum(sequence.frames for sequence in job.sequences)


def _write_sequence(job, sequence, renderer, rng):
    folder = Path(sequence.subject, sequence.sequence)
    stem = f"{sequence.subject}_{sequence.sequence}"
    images = job.root / "cohn-kanade-images" / folder
    emotion = job.root / "Emotion" / folder
    points = job.root / "Landmarks" / folder
    for needed in (images, emotion) + ((points,) if job.landmarks else ()):
        needed.mkdir(parents=True)
    weakest = STUDIO_WEAKEST_APEX if job.studio else WEAKEST_APEX
    apex = (sample_expression(rng, sequence.expression, weakest) if sequence.expression
            else sample_action_units(rng))
    for frame, share in enumerate(time_course(rng, sequence.frames), start=1):
        rendering = renderer.render(scaled(apex, share), rng)
        name = images / f"{stem}_{frame:08d}.png"
        name.write_bytes(cv2.imencode(".png", rendering.image, _STORED_PNG)[1])
        if job.landmarks:
            (points / f"{stem}_{frame:08d}_landmarks.txt").write_text(
                "   %.7e   %.7e\n" * 68 % tuple(rendering.landmarks.ravel().tolist()))
    if sequence.expression:
        code = EMOTION_CODES[sequence.expression]
        (emotion / f"{stem}_{sequence.frames:08d}_emotion.txt").write_text(f"   {code:.7e}\n")
