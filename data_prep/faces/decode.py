"""Image files decoded without a word on standard error."""

import contextlib
import os

import cv2
import numpy as np

from gcnet_base.atomic import naming


def decode(path, flags):
    """The pixels of an image file as OpenCV's IMREAD_* `flags` say; None if it is empty or damaged.

    Raises OSError if it cannot be read.
    """
    with naming(path), open(path, "rb") as file:
        data = np.frombuffer(file.read(), np.uint8)
    if data.size == 0:
        return None
    with quiet():
        try:
            return cv2.imdecode(data, flags)
        except cv2.error:
            return None


@contextlib.contextmanager
def quiet():
    """Standard error closed: the C libraries under OpenCV write there about damaged files."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
