"""The aligned faces of an index, decoded once each into one flat file of pixels.

The shuffled records of an LMDB take a face from anywhere in the index, each of them 11 times.
Measured for 20,000 records: decoding its PNG takes 90 us, reading its 4,356 bytes from the flat
file 1 us, and pages of a file that the system keeps are no memory of this process.
"""

import contextlib
import errno
import hashlib
import itertools
import os

import cv2
import numpy as np
from tqdm import tqdm

from data_prep import FACE_SIZE
from data_prep.decode import decode
from gcnet.errors import InputError

SHAPE = (FACE_SIZE, FACE_SIZE)
_FACE_BYTES = FACE_SIZE * FACE_SIZE
_FACES_PER_TASK = 250


def decode_face(path):
    """The pixels of a face file, uint8 66 x 66; None if it is gone or no gray image of that size.

    Raises OSError if it cannot be read.
    """
    try:
        pixels = decode(path, cv2.IMREAD_UNCHANGED)
    except FileNotFoundError:
        return None
    if pixels is None or pixels.shape != SHAPE or pixels.dtype != np.uint8:
        return None
    return pixels


def digest(table, workers, file=None):
    """SHA-256 (hex) of the pixels of all faces in the order of the index `table`.

    With `file` they are written into it. Raises InputError naming the row whose face is gone or no
    66x66 gray image, OSError if `file` cannot be written.
    """
    total = hashlib.sha256()
    rows = tqdm(table.rows, desc="faces", unit="image", leave=False, disable=None)
    for row, pixels in zip(rows, _pixels(table, workers), strict=True):
        if pixels is None:
            raise table.error(row, _problem(table.file(row.image)))
        total.update(pixels)
        if file:
            file.write(pixels)
    return total.hexdigest()


def _problem(file):
    if not file.is_file():
        return f"no such image: {file}; restore it or drop the row"
    return f"{file} is no gray {FACE_SIZE}x{FACE_SIZE} face; make it with python -m data_prep align"


def write(path, table, workers):
    """Write all faces one after the other into the file `path`; returns their `digest`.

    Raises InputError as `digest` does, and if the disk is full.
    """
    try:
        with open(path, "wb") as file:
            return digest(table, workers, file)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(
            f"{path}: cannot write the decoded faces ({error.strerror}); is the disk full? Free "
            "some space or choose another folder"
        ) from None


@contextlib.contextmanager
def reading(path):
    """Yields a function that reads face `number` of the file that `write` made, as bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield lambda number: os.pread(descriptor, _FACE_BYTES, number * _FACE_BYTES)
    finally:
        os.close(descriptor)


def _pixels(table, workers):
    """The bytes of each face, None in the place of one that is no face."""
    files = (os.fspath(table.file(row.image)) for row in table.rows)
    batches = iter(lambda: list(itertools.islice(files, _FACES_PER_TASK)), [])
    return itertools.chain.from_iterable(workers.map(_decode_all, batches))


def _decode_all(files):
    faces = map(decode_face, files)
    return [None if face is None else face.tobytes() for face in faces]
