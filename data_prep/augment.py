"""Random transforms of a training pair: scaling, rotation, flip and intensity.

Section IV-A names the transforms and leaves their ranges open. One draw acts on the face and on its
reference alike: what the net compares is the difference between the two, so it must come from the
expression alone.

The random 64x64 crop of the paper is not here: Caffe's Data layer draws it anew in every epoch
(`crop_size: 64`). Its `mirror` must stay off in the nets, because flips are drawn here.
"""

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np

# Alignment already takes size and tilt out of a face, so these only have to cover what is left of
# them: landmark errors of 2 pixels across 23 (the eye distance in a 66x66 face) are 9 % of scale or
# 5 degrees. Twice that tilt still leaves brows and chin inside the picture.
SCALE = (0.9, 1.1)
ROTATION = (-10.0, 10.0)  # degrees
# With 1.2 at the bright end 2.2 % of the pixels of a training set of equalised faces are clipped to
# white; more would take shading from bright cheeks, which is where expressions show.
INTENSITY = (0.8, 1.2)
FLIP_PROBABILITY = 0.5


@dataclass(frozen=True)
class Draw:
    """One set of transforms: scale factor, degrees counter-clockwise, flip or not, gain."""

    scale: float
    rotation: float
    flip: bool
    intensity: float


def draw(seed, key):
    """The Draw that belongs to (`seed`, `key`): the same in whatever order records are made."""
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    random = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
    return Draw(
        scale=random.uniform(*SCALE),
        rotation=random.uniform(*ROTATION),
        flip=bool(random.random() < FLIP_PROBABILITY),
        intensity=random.uniform(*INTENSITY),
    )


def apply(drawn, pair):
    """Transform a pair about its centre: uint8 C x H x W in and out, all channels alike.

    Pixels from outside the picture repeat its border, which adds no edge that a net could use.
    """
    height, width = pair.shape[1:]
    center = ((width - 1) / 2, (height - 1) / 2)
    angle = math.radians(drawn.rotation)
    cos, sin = drawn.scale * math.cos(angle), drawn.scale * math.sin(angle)
    mirror = -1 if drawn.flip else 1
    # y points down, so a counter-clockwise turn has +sin in the first row.
    linear = np.array([[cos * mirror, sin], [-sin * mirror, cos]])
    matrix = np.column_stack([linear, center - linear @ center])
    moved = cv2.warpAffine(
        np.ascontiguousarray(pair.transpose(1, 2, 0)),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).reshape(height, width, -1)
    brighter = np.rint(moved * np.float32(drawn.intensity)).clip(0, 255)
    return np.ascontiguousarray(brighter.astype(np.uint8).transpose(2, 0, 1))
