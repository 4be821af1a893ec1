"""The face of a gray image: upright, its five points in fixed places, contrast equalised."""

import functools
import math

import cv2
import numpy as np

from data_prep import FACE_SIZE

# Where the five points go, in pixels of the 66x66 face: symmetric about its middle column (32.5).
# The paper gives none. The eye distance of 23 pixels puts raised brows below the upper edge, 0.85
# eye distances above the eyes, and keeps the chin of an open mouth, about 1.9 below them, inside
# the centre crop of 64. The other points are a frontal neutral face at that scale.
TEMPLATE = np.array(
    [
        [21.0, 20.0],  # left eye
        [44.0, 20.0],  # right eye
        [32.5, 33.5],  # nose tip
        [23.0, 45.5],  # left mouth corner
        [42.0, 45.5],  # right mouth corner
    ]
)

# The paper names CLAHE without its parameters. 3 x 3 tiles divide 66 without a rest, so a mirrored
# face is equalised to the mirror image (at most 2 gray levels off; with 4 x 4 tiles 9, with 8 x 8
# tiles 26); 22 pixels hold an eye with its brow. The clip limit doubles the contrast of a dark face
# (standard deviation 21 to 37) without making its noise visible.
CLAHE_CLIP_LIMIT = 2.0
CLAHE_TILES = (3, 3)

# Samples per pixel and side of a face that shrinks: 32 are a face with eyes 736 pixels apart. More
# would make no visible difference and cost memory with the square of their number.
FINEST = 32


def similarity(source, target):
    """The least-squares similarity transform of N x 2 points, as the 2 x 3 matrix of an affine map.

    Rotation, one scale and translation, no reflection, that minimise the summed squared distance of
    the moved `source` to `target`. (Umeyama, Least-squares estimation of transformation parameters
    between two point patterns, 1991, whose solution in the plane is one complex factor: with both
    sets centred and read as complex numbers it is <source, target> / <source, source>.)
    """
    source = np.ascontiguousarray(source, np.float64).view(np.complex128).ravel()
    target = np.ascontiguousarray(target, np.float64).view(np.complex128).ravel()
    middle = source.mean()
    centered = source - middle
    factor = np.vdot(centered, target) / np.vdot(centered, centered).real
    shift = target.mean() - factor * middle
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def crop(gray, landmarks):
    """The face (uint8 66 x 66) of a gray image (uint8 H x W), its five (x, y) put on TEMPLATE."""
    matrix = similarity(landmarks, TEMPLATE)
    scale = math.hypot(*matrix[:, 0])
    # An image that shrinks by more than 1 is sampled `fine` times denser and then averaged, so that
    # no pixel between the samples is skipped (aliasing).
    fine = min(max(1, math.ceil(1 / scale)), FINEST)
    matrix *= fine
    matrix[:, 2] += (fine - 1) / 2
    side = FACE_SIZE * fine
    # Beyond the image its border is repeated: a black edge would take part in the equalisation.
    face = cv2.warpAffine(
        gray, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)


def equalize(face):
    """CLAHE of an uint8 image."""
    return _clahe().apply(face)


@functools.cache
def _clahe():
    return cv2.createCLAHE(CLAHE_CLIP_LIMIT, CLAHE_TILES)
