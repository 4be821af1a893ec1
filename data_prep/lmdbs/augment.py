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


def settings():
    """All that decides what is drawn beside seed and key, for the description of an LMDB."""
    return {
        "scale": list(SCALE),
        "rotation": list(ROTATION),
        "intensity": list(INTENSITY),
        "flip_probability": FLIP_PROBABILITY,
        "drawn_from": "SHA-256",
    }


@dataclass(frozen=True)
class Draw:
    """One set of transforms: scale factor, degrees counter-clockwise, flip or not, gain."""

    scale: float
    rotation: float
    flip: bool
    intensity: float


def draws(seed, keys):
    """The Draws that belong to (`seed`, key) of each of `keys`, whatever the others are.

    Each is the four 64-bit words of a SHA-256 of seed and key, read as shares of 2^64: making a
    generator of numpy for each key would take as long as moving the picture.
    """
    digests = b"".join(hashlib.sha256(f"{seed}\n{key}".encode()).digest() for key in keys)
    shares = np.frombuffer(digests, "<u8").reshape(-1, 4) * 2.0**-64
    return [
        Draw(
            scale=_between(SCALE, scale),
            rotation=_between(ROTATION, rotation),
            flip=flip < FLIP_PROBABILITY,
            intensity=_between(INTENSITY, intensity),
        )
        for scale, rotation, flip, intensity in shares.tolist()
    ]


def draw(seed, key):
    """The Draw that belongs to (`seed`, `key`)."""
    return draws(seed, [key])[0]


def _between(limits, share):
    low, high = limits
    return low + (high - low) * share


_GRAYS = np.arange(256, dtype=np.float32)


def apply(drawn, pair):
    """Transform a pair about its centre: uint8 C x H x W in and out, all channels alike.

    Pixels from outside the picture repeat its border, which adds no edge that a net could use.
    """
    height, width = pair.shape[1:]
    x, y = (width - 1) / 2, (height - 1) / 2
    angle = math.radians(drawn.rotation)
    cos, sin = drawn.scale * math.cos(angle), drawn.scale * math.sin(angle)
    mirror = -1 if drawn.flip else 1
    # y points down, so a counter-clockwise turn has +sin in the first row.
    (a, b), (c, d) = (cos * mirror, sin), (-sin * mirror, cos)
    matrix = np.array([[a, b, x - (a * x + b * y)], [c, d, y - (c * x + d * y)]])
    moved = cv2.warpAffine(
        cv2.merge(list(pair)),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    # There are only 256 grays to multiply and round.
    brighter = np.minimum(np.rint(_GRAYS * np.float32(drawn.intensity)), 255).astype(np.uint8)
    result = np.empty(pair.shape, np.uint8)
    cv2.split(cv2.LUT(moved, brighter), list(result))
    return result
