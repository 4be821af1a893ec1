"""Contact sheets of alignment: a sample of what was aligned, and of what was left out and why."""

import random
import textwrap
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data_prep.faces.decode import decode
from gcnet_base.atomic import replacing

TILES = 40
COLUMNS = 5

# Twice an aligned face, so that its points can be seen; five pairs of them fit a screen's width.
SIDE = 132
WIDTH = 2 * SIDE
GAP = 12

# The points of TEMPLATE take 25.5 of the 66 pixels. A square of four times their extent shows what
# alignment cuts out and half as much again around it.
EXTENTS = 4
LARGEST_CUT = 8 * SIDE
"""Pixels of an original's cut; a larger face is shrunk before it is cut out."""

BACKGROUND = (255, 255, 255)
PLACEHOLDER = (224, 224, 224)
TEXT = (32, 32, 32)
POINT_COLORS = ((80, 220, 80), (80, 220, 80), (0, 220, 255), (80, 80, 255), (80, 80, 255))

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.4
_LINE = 16
_CHARACTERS = 36  # that are as wide as a tile
_REASON_LINES = 2


class Aligned(NamedTuple):
    """An aligned image: its name, its file, ten landmark coordinates x, y, x, ... and its face."""

    name: str
    file: Path
    landmarks: list
    face: Path


class Dropped(NamedTuple):
    """An image that was left out: its name, its file, the reason."""

    name: str
    file: Path
    reason: str


def sample(items):
    """At most TILES of a list, always the same ones, in their order."""
    chosen = random.Random(0).sample(range(len(items)), min(TILES, len(items)))
    return [items[number] for number in sorted(chosen)]


def write_aligned(path, total, images):
    """Write the sheet (PNG) of `images`, a list of Aligned that is a sample of `total`.

    A tile: the original around the face with its five points, the aligned face twice its size.
    """
    tiles = [
        (np.hstack([_surroundings(image), _face(image.face)]), [_tail(image.name)])
        for image in images
    ]
    _write(path, f"{len(images)} of {total} aligned images", tiles)


def write_dropped(path, total, images):
    """Write the sheet (PNG) of `images`, a list of Dropped that is a sample of `total`.

    Without any image an earlier sheet is removed.
    """
    if not images:
        Path(path).unlink(missing_ok=True)
        return
    tiles = [
        (
            _fitted(_read(image.file, cv2.IMREAD_COLOR)),
            [_tail(image.name)]
            + textwrap.wrap(image.reason, _CHARACTERS, max_lines=_REASON_LINES, placeholder="..."),
        )
        for image in images
    ]
    _write(path, f"{len(images)} of {total} images left out", tiles)


def _write(path, title, tiles):
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    height = SIDE + _LINE * max(len(lines) for _, lines in tiles) + GAP
    top = GAP + _LINE
    shape = (top + rows * height + GAP, GAP + columns * (WIDTH + GAP), 3)
    sheet = np.full(shape, BACKGROUND, np.uint8)
    _put_text(sheet, title, GAP, GAP)
    for number, (picture, lines) in enumerate(tiles):
        x = GAP + number % columns * (WIDTH + GAP)
        y = top + GAP + number // columns * height
        sheet[y : y + SIDE, x : x + WIDTH] = picture
        for line, text in enumerate(lines):
            # Only on its own tile: letters differ in width.
            _put_text(sheet[:, x : x + WIDTH], text, 0, y + SIDE + 12 + line * _LINE)
    with replacing(path, "wb") as file:
        file.write(cv2.imencode(".png", sheet)[1])


def _put_text(sheet, text, x, y):
    # The font has no other characters.
    text = text.encode("ascii", errors="replace").decode()
    cv2.putText(sheet, text, (x, y), _FONT, _FONT_SCALE, TEXT, 1, cv2.LINE_AA)


def _tail(name):
    """The end of a long name: files of a database differ there."""
    return name if len(name) <= _CHARACTERS else f"...{name[3 - _CHARACTERS :]}"


def _read(path, flags):
    """The pixels of an image file, None if there are none."""
    path = Path(path)
    try:
        # A pipe would never end.
        return decode(path, flags) if path.is_file() else None
    except OSError:
        return None


def _blank(width):
    """A gray field with a cross, in place of a picture."""
    blank = np.full((SIDE, width, 3), PLACEHOLDER, np.uint8)
    for left, right in ((0, width), (width, 0)):
        cv2.line(blank, (left, 0), (right, SIDE), BACKGROUND, 2, cv2.LINE_AA)
    return blank


def _face(path):
    face = _read(path, cv2.IMREAD_COLOR)
    if face is None:
        return _blank(SIDE)
    return cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def _surroundings(image):
    original = _read(image.file, cv2.IMREAD_COLOR)
    if original is None:
        return _blank(SIDE)
    points = np.reshape(image.landmarks, (-1, 2))
    side = EXTENTS * np.ptp(points, axis=0).max()
    if side > LARGEST_CUT:
        scale = LARGEST_CUT / side
        original = cv2.resize(original, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        points = (points + 0.5) * scale - 0.5
        side = LARGEST_CUT
    side = max(1, round(side))
    corner = np.rint(points.mean(axis=0) - side / 2).astype(int)
    cut = np.full((side, side, 3), PLACEHOLDER, np.uint8)
    height, width = original.shape[:2]
    left, top = np.maximum(corner, 0)
    right, bottom = np.minimum(corner + side, (width, height))
    x, y = corner
    cut[top - y : bottom - y, left - x : right - x] = original[top:bottom, left:right]
    cut = cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    # (0, 0) is the centre of a pixel, so scaling is about (-0.5, -0.5).
    shown = np.rint((points - corner + 0.5) * (SIDE / side) - 0.5).astype(int)
    for point, color in zip(shown.tolist(), POINT_COLORS, strict=True):
        cv2.circle(cut, point, 3, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(cut, point, 2, color, cv2.FILLED, cv2.LINE_AA)
    return cut


def _fitted(image):
    """The whole image as large as fits into a tile."""
    if image is None:
        return _blank(WIDTH)
    height, width = image.shape[:2]
    scale = min(SIDE / height, WIDTH / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    field = np.full((SIDE, WIDTH, 3), BACKGROUND, np.uint8)
    field[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return field
