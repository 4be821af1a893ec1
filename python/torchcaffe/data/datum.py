"""A Datum, the record of Caffe's databases, as an image array."""

import numpy as np
from google.protobuf.message import DecodeError

from torchcaffe.blob import by
from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2


def parse(value):
    """The Datum of a record's bytes."""
    try:
        return caffe_pb2.Datum.FromString(value)
    except DecodeError:
        raise CaffeError("is no Datum; build the database again") from None


def image(datum, force_color=False, force_gray=False):
    """The image of a Datum, channels x height x width: uint8, or float32 of `float_data`.

    An encoded picture is decoded as it is, or to three or one channels if that is forced; channels
    are in the order blue, green, red. Bytes past the image are left alone, as BVLC Caffe does. What
    it reads out of bounds or aborts on raises CaffeError: too few values, no picture, 16 bits.
    """
    if datum.encoded:
        return _decoded(datum.data, force_color, force_gray)
    shape = channels, height, width = datum.channels, datum.height, datum.width
    if channels <= 0 or height <= 0 or width <= 0:
        raise CaffeError(f"has the shape {by(shape)}; every size must be positive")
    count = channels * height * width
    data = datum.data
    held = len(data) or len(datum.float_data)
    if held < count:
        raise CaffeError(f"holds {held} values, its shape {by(shape)} needs {count}")
    values = np.frombuffer(data, np.uint8, count) if data else _floats(datum)[:count]
    return values.reshape(shape)


def channels_first(picture):
    """A picture of OpenCV (height x width, or that x channels) as channels x height x width."""
    return picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)


def _decoded(data, force_color, force_gray):
    import cv2

    flag = cv2.IMREAD_UNCHANGED
    if force_color or force_gray:
        flag = cv2.IMREAD_COLOR if force_color else cv2.IMREAD_GRAYSCALE
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        picture = None
    if picture is None:
        raise CaffeError(f"is marked encoded, but its {len(data)} bytes are no picture")
    if picture.dtype != np.uint8:
        raise CaffeError(f"its picture has {picture.dtype} values; encode it with 8 bits a channel")
    return channels_first(picture)


def _floats(datum):
    """float_data as an array, by way of its encoding: a tag and four bytes for each value.

    Going through Python's floats takes some twenty times as long.
    """
    alone = caffe_pb2.Datum(float_data=datum.float_data).SerializeToString()
    return np.frombuffer(alone, np.uint8).reshape(-1, 5)[:, 1:].copy().view("<f4").ravel()
