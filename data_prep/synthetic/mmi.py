"""A synthetic face database in the layout of MMI.

    ROOT/Sessions/1767/session.xml      <track view="0" ...>: 0 frontal, 1 profile, 2 dual view
    ROOT/Sessions/1767/S028-001.avi     motion JPEG, neutral ... apex ... neutral
    ROOT/Sessions/1767/S028-001.xml     <Metatag Name="Emotion" Value="1"/>

The apex is anywhere from a third to two thirds of the video. As in MMI, frontal videos lie on their
side, but for those of S053, which are upright and 4:3. Some sessions are profile or dual views, of
another state than the six emotions, or of none. Of the XML files only what is named above and the
names of the files is known from public code; the elements around it are made up. MMI's numbers per
class are not public: the six are balanced.
"""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import NamedTuple

import cv2
import numpy as np

from data_prep.arguments import at_least
from data_prep.databases.mmi import (
    CODES,
    DUAL,
    FRONTAL,
    FRONTAL_HALF,
    FRONTAL_SEQUENCES,
    HIGHEST_CODE,
    PROFILE,
    SEQUENCES,
    SESSIONS,
    SUBJECTS,
    lies_on_its_side,
)
from data_prep.synthetic import litter
from data_prep.synthetic.writing import draw_sequence, new_folder, write_all
from gcnet_base.errors import InputError

# MMI's own are 720x576; half of that draws four times as fast.
SIZE, COLOUR, CONDITIONS = (360, 288), True, "laboratory"

PROFILE_SUBJECT, UPRIGHT_SUBJECT = "S021", "S053"
#: Of the public lists of labelled sessions; 30 with the six of the dual views.
SUBJECT_NAMES = (
    *FRONTAL_HALF, PROFILE_SUBJECT, "S028", *(f"S{n:03d}" for n in range(30, 51)), UPRIGHT_SUBJECT
)  # fmt: skip
FULL_PROFILES = 8
FIRST_SESSION = 1767
FRAMES_PER_SECOND = 24

_SESSION_XML = """<?xml version="1.0" encoding="UTF-8"?>
<session sessionId="{session}">
  <track filename="{name}.avi" view="{view}">
    <annotation filename="{name}.xml"/>
  </track>
</session>
"""
_EMOTION_XML = """<?xml version="1.0" encoding="UTF-8"?>
<Annotation>
  <Metatag Name="Recording" Value="{name}"/>
{emotion}</Annotation>
"""


@dataclass(frozen=True)
class Session:
    """One video. `code` 0 is a session without emotion; `peak` the number of its apex, from 1."""

    number: int
    person: int
    subject: str
    recording: int
    view: str
    code: int
    frames: int
    peak: int

    @property
    def name(self):
        return f"{self.subject}-{self.recording:03d}"


@dataclass(frozen=True)
class Job:
    """The sessions of one subject: skin and hair are drawn once."""

    camera: object
    sessions: list


def add_arguments(parser):
    parser.add_argument(
        "--subjects", type=at_least(1), default=12, metavar="N",
        help="people in frontal sessions (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--sequences", type=at_least(1), default=6, metavar="N",
        help="frontal sequences per subject (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--frames", type=at_least(5), default=40, metavar="N",
        help="mean frames of a video (%(default)s)",
    )  # fmt: skip


class Options(NamedTuple):
    """The layout's own: `sequences` per subject, `frames` the mean of a video."""

    subjects: int = 12
    sequences: int = 6
    frames: int = 40


def write(root, camera, full=False, untidy=False, workers=None, **options):
    """Write the database to the folder `root`, which must be new or empty; the number of frames.

    `options`: those of Options. full: MMI's own numbers of sequences instead of `subjects` and
    `sequences`; untidy: with the litter of real copies. Raises InputError for a root that is not
    empty, or numbers out of range; nothing is left behind unless all is written.
    """
    width, height = camera.size
    if not lies_on_its_side(width, height) or width % 2:
        raise InputError(f"--size {width}x{height}: MMI's videos are 5:4 and even, like 360x288")
    planned = plan(full, camera.seed, *Options(**options))
    jobs = [
        Job(camera, [session for session in planned if session.subject == subject])
        for subject in sorted({session.subject for session in planned})
    ]
    with new_folder(root) as folder:
        written = write_all(
            write_subject, folder, jobs, sum(session.frames for session in planned), workers
        )
        if untidy:
            litter.scatter(folder)
    return written


def plan(full, seed, subjects=12, sequences=6, frames=40):
    """The list of Session to draw; the same for the same arguments."""
    if full:
        # The last subject has a single sequence, the others about seven each.
        shares = Counter(islice(cycle(range(SUBJECTS - 1)), FRONTAL_SEQUENCES - 1))
        shares[SUBJECTS - 1] = 1
        duals = SEQUENCES - FRONTAL_SEQUENCES - FULL_PROFILES
        profiles, strange = FULL_PROFILES, 20
    else:
        if subjects > len(SUBJECT_NAMES):
            raise InputError(f"--subjects {subjects}: must be from 1 to {len(SUBJECT_NAMES)}")
        shares = dict.fromkeys(range(subjects), sequences)
        duals, profiles, strange = 1, 1, 2
    rng = np.random.default_rng([seed, 0])
    frontal = list(range(len(SUBJECT_NAMES)))
    # Upright videos and those of dual views are there however few subjects there are.
    if not full and subjects > 1:
        frontal = [0, len(SUBJECT_NAMES) - 1, *frontal[1:-1]]
    planned = []
    recordings = Counter()

    def add(person, view, code):
        length = int(rng.integers(max(5, round(0.75 * frames)), round(1.25 * frames) + 1))
        peak = 1 + int(round(rng.uniform(1 / 3, 2 / 3) * (length - 1)))
        subject = SUBJECT_NAMES[person]
        recordings[subject] += 1
        number = FIRST_SESSION + len(planned)
        planned.append(
            Session(number, person, subject, recordings[subject], view, code, length, peak)
        )

    codes = cycle(CODES)
    for place, share in sorted(shares.items()):
        for _ in range(share):
            add(frontal[place], FRONTAL, next(codes))
    for place in range(duals):
        add(place % len(FRONTAL_HALF), DUAL, next(codes))
    for _ in range(profiles):
        add(SUBJECT_NAMES.index(PROFILE_SUBJECT), PROFILE, next(codes))
    for place in range(strange):
        add(frontal[0], FRONTAL, (0, HIGHEST_CODE)[place % 2])
    return planned


def write_subject(folder, job):
    """Write a subject's sessions into `folder`; the number of frames."""
    for session in job.sessions:
        place = folder / SESSIONS / str(session.number)
        place.mkdir(parents=True)
        named = {"session": session.number, "name": session.name, "view": session.view}
        (place / "session.xml").write_text(_SESSION_XML.format(**named))
        emotion = f'  <Metatag Name="Emotion" Value="{session.code}"/>\n' if session.code else ""
        (place / f"{session.name}.xml").write_text(_EMOTION_XML.format(emotion=emotion, **named))
        _write_video(place / f"{session.name}.avi", draw(job.camera, session))
    return sum(session.frames for session in job.sessions)


def draw(camera, session):
    """The frames of a session's video, uint8 H x W x 3 BGR."""
    width, height = camera.size
    if session.view == DUAL:
        # The half is narrower than a face is drawn; what is missing above and below is filled.
        frontal = [
            _filled(image, width // 2, height)
            for image in _faces(camera, session, (width // 2, width // 2))
        ]
        profile = [_narrowed(image) for image in frontal]
        if FRONTAL_HALF[session.subject] == "right":
            frontal, profile = profile, frontal
        return [np.hstack(halves) for halves in zip(frontal, profile, strict=True)]
    if session.subject == UPRIGHT_SUBJECT:
        return _faces(camera, session, (width * 8 // 9, height * 5 // 6))
    faces = _faces(camera, session, (height, width))
    if session.view == PROFILE:
        return [cv2.rotate(_narrowed(face), cv2.ROTATE_90_CLOCKWISE) for face in faces]
    return [cv2.rotate(face, cv2.ROTATE_90_COUNTERCLOCKWISE) for face in faces]


def _faces(camera, session, size):
    camera = replace(camera, size=size)
    # Of the other states nothing is known but that they are not the six.
    expression = CODES.get(session.code)
    renderings = draw_sequence(
        camera, session.person, session.recording, expression, lambda rng: time_course(session)
    )
    return [rendering.image for rendering in renderings]


def time_course(session):
    """Shares of the apex, one a frame: 0 at the first and last, rising and falling smoothly."""
    frames = np.arange(1, session.frames + 1)
    rising = (frames - 1) / (session.peak - 1)
    falling = (session.frames - frames) / (session.frames - session.peak)
    progress = np.clip(1.25 * np.minimum(rising, falling) - 0.25, 0, 1)
    return progress * progress * (3 - 2 * progress)


def _filled(image, width, height):
    above = (height - image.shape[0]) // 2
    below = height - image.shape[0] - above
    return cv2.copyMakeBorder(image, above, below, 0, 0, cv2.BORDER_REPLICATE)


def _narrowed(image):
    """A face that no longer looks frontal: a side view cannot be drawn."""
    height, width = image.shape[:2]
    narrow = cv2.resize(image, (width // 2, height), interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(
        narrow, 0, 0, width // 4, width - width // 2 - width // 4, cv2.BORDER_REPLICATE
    )


def _write_video(path, frames):
    height, width = frames[0].shape[:2]
    # OpenCV's own writer: the same bytes with any FFmpeg, and odd sizes stay as they are.
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*"MJPG"), FRAMES_PER_SECOND,
        (width, height),
    )  # fmt: skip
    for frame in frames:
        writer.write(frame)
    writer.release()
