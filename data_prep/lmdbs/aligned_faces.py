"""The aligned faces of an index, decoded once each into one flat file of pixels.

The shuffled records of an LMDB take faces from anywhere in the index, each one 11 times. Measured:
decoding a PNG takes 80 us, reading its 4,356 bytes from the flat file 2 us; and the pages of that
file are the system's to keep or drop, no memory of this process.
"""

import contextlib
import hashlib
import itertools
import os

import cv2
import numpy as np
from tqdm import tqdm

from data_prep import FACE_SIZE
from data_prep.faces.decode import quiet
from gcnet_base.atomic import naming

SHAPE = (FACE_SIZE, FACE_SIZE)
_FACE_BYTES = FACE_SIZE * FACE_SIZE
_FACES_PER_TASK = 250


def decode_faces(paths):
    """The pixels of face files, a list of uint8 66 x 66; None for one gone or no such image.

    Raises OSError if one cannot be read.
    """
    # Once for all of them: done for each it is a tenth of the time.
    with quiet():
        return list(map(_decode, paths))


def _decode(path):
    try:
        with naming(path), open(path, "rb", buffering=0) as file:
            data = file.read()
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (FileNotFoundError, cv2.error):
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
    rows = iter(table.rows)
    folder = os.fspath(table.path.parent)
    files = (os.path.join(folder, row.image) for row in table.rows)
    tasks = iter(lambda: list(itertools.islice(files, _FACES_PER_TASK)), [])
    progress = tqdm(total=len(table.rows), desc="faces", unit="image", leave=False, disable=None)
    with progress:
        for pixels in workers.map(_decode_all, tasks):
            done = list(itertools.islice(rows, len(pixels) // _FACE_BYTES))
            total.update(pixels)
            if file:
                file.write(pixels)
            if len(done) < _FACES_PER_TASK and (bad := next(rows, None)):
                raise table.error(bad, _problem(table.file(bad.image)))
            progress.update(len(done))
    return total.hexdigest()


def _decode_all(files):
    """The pixels of faces one after the other, up to the first that is none."""
    faces = itertools.takewhile(lambda face: face is not None, decode_faces(files))
    return b"".join(face.tobytes() for face in faces)


def _problem(file):
    if not file.is_file():
        return f"no such image: {file}; restore it or drop the row"
    return (
        f"{file} is no gray {FACE_SIZE}x{FACE_SIZE} face; make it with python -m data_prep align "
        "(which makes a damaged one of its own again once that is deleted)"
    )


def write(path, table, workers):
    """Write all faces one after the other into the file `path`; returns their `digest`.

    Raises InputError as `digest` does, OSError that names `path` if the disk is full.
    """
    with naming(path), open(path, "wb") as file:
        return digest(table, workers, file)


@contextlib.contextmanager
def reading(path):
    """Yields a function that reads face `number` of the file that `write` made, as bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield lambda number: os.pread(descriptor, _FACE_BYTES, number * _FACE_BYTES)
    finally:
        os.close(descriptor)
