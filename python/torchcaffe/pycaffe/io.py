"""Images and arrays in Caffe's forms: blobs and datums as messages, and what nets are fed.

Images are H x W x K float32 arrays, colours in the order RGB, values from 0 to 1.
"""

import math

import numpy as np

from torchcaffe import protofile
from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2

# ---- Messages


def blobproto_to_array(blob, return_diff=False):
    """The values (or with `return_diff` the gradient) of a BlobProto as an array, float64."""
    values = np.array(blob.diff if return_diff else blob.data, np.float64)
    return values.reshape(protofile.shape(blob))


def array_to_blobproto(arr, diff=None):
    """A BlobProto of an array's shape, with its values and those of `diff`."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(arr.astype(float).ravel().tolist())
    if diff is not None:
        blob.diff.extend(diff.astype(float).ravel().tolist())
    return blob


def arraylist_to_blobprotovector_str(arraylist):
    """Arrays as a BlobProtoVector in binary form."""
    blobs = [array_to_blobproto(array) for array in arraylist]
    return caffe_pb2.BlobProtoVector(blobs=blobs).SerializeToString()


def blobprotovector_str_to_arraylist(data):
    """The arrays of a BlobProtoVector in binary form."""
    vector = caffe_pb2.BlobProtoVector.FromString(data)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr, label=None):
    """A Datum of a C x H x W array: bytes for uint8, else floats. Raises ValueError otherwise."""
    if arr.ndim != 3:
        raise ValueError(f"a Datum has 3 axes (C x H x W), the array {arr.ndim}")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).ravel().tolist())
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum):
    """The C x H x W array of a Datum: uint8, or float64 if it holds floats."""
    shape = datum.channels, datum.height, datum.width
    if datum.data:
        return np.frombuffer(datum.data, np.uint8).reshape(shape).copy()
    return np.array(datum.float_data, float).reshape(shape)


# ---- Images


def load_image(filename, color=True):
    """An image file as H x W x 3, or H x W x 1 with `color=False`; transparency is dropped.

    Grey is 0.2125 R + 0.7154 G + 0.0721 B. Raises CaffeError for what is no image.
    """
    import cv2

    try:
        data = np.fromfile(filename, np.uint8)
    except OSError as error:
        raise CaffeError(f"{filename}: cannot be read ({error.strerror})") from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise CaffeError(f"{filename}: is no image that OpenCV reads")
    scale = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1
    image = image.astype(np.float64) / scale
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
        return np.tile(image, (1, 1, 3 if color else 1)).astype(np.float32)
    image = image[:, :, 2::-1]
    if not color:
        image = (image @ [0.2125, 0.7154, 0.0721])[:, :, np.newaxis]
    return image.astype(np.float32)


def resize_image(im, new_dims, interp_order=1):
    """An H x W x K image in a new size (height, width), float32.

    interp_order: 0 nearest, 1 linear, 3 cubic. As pycaffe does it with scikit-image: with 1 or 3
    channels, pixels are areas, the image is smoothed before it is made smaller, and beyond its
    border is its smallest value; with other numbers of channels, pixels are points and the corners
    stay, without smoothing (cubic is not to be had then).
    """
    if im.ndim != 3:
        raise CaffeError(f"resize_image: got an array of {im.ndim} axes, expected H x W x K")
    if interp_order not in (0, 1, 3):
        raise CaffeError(f"resize_image: interp_order is {interp_order}, expected 0, 1 or 3")
    height, width = (int(size) for size in new_dims)
    if im.shape[2] not in (1, 3):
        if interp_order == 3:
            raise CaffeError("resize_image: interp_order 3 needs 1 or 3 channels")
        rows, columns = (
            _interpolation(_between_corners(old, new), old, interp_order)
            for old, new in zip(im.shape, (height, width))
        )
        return _apply(rows, columns, im).astype(np.float32)
    least, greatest = float(im.min()), float(im.max())
    if least == greatest:
        return np.full((height, width, im.shape[2]), least, np.float32)
    unit = (im.astype(np.float64) - least) / (greatest - least)
    factors = [old / new for old, new in zip(im.shape, (height, width))]
    if max(factors) > 1:
        unit = _apply(*(_smoothing(old, f) for old, f in zip(im.shape, factors)), unit)
    rows, columns = (
        _interpolation((np.arange(new) + 0.5) * old / new - 0.5, old, interp_order)
        for old, new in zip(im.shape, (height, width))
    )
    low, high = unit.min(), unit.max()
    unit = _apply(rows, columns, unit)
    if interp_order:
        # No value beyond those of the image, but for places that see nothing of it.
        unit = np.where((unit == 0) & (low > 0), 0, np.clip(unit, low, high))
    return (unit * (greatest - least) + least).astype(np.float32)


def _apply(rows, columns, image):
    return np.einsum("ih,hwk,jw->ijk", rows, image, columns, optimize=True)


def _between_corners(old, new):
    return np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 1.0)


def _interpolation(places, size, order):
    """The matrix (len(places) x size) that reads a line of pixels, zero outside, at places."""
    matrix = np.zeros((len(places), size))
    for row, place in enumerate(places):
        if order == 0:
            weights = {math.floor(place + 0.5): 1.0}
        else:
            left = math.floor(place)
            t = place - left
            weights = {left: 1 - t, left + 1: t}
            if order == 3:
                weights = {
                    left - 1: t * (-0.5 + t * (1 - 0.5 * t)),
                    left: 1 + t * t * (1.5 * t - 2.5),
                    left + 1: t * (0.5 + t * (2 - 1.5 * t)),
                    left + 2: t * t * (0.5 * t - 0.5),
                }
        for pixel, weight in weights.items():
            if 0 <= pixel < size:
                matrix[row, pixel] += weight
    return matrix


def _smoothing(size, factor):
    """The matrix of a Gaussian that leaves out what is finer than `factor` pixels."""
    sigma = max(0.0, (factor - 1) / 2)
    if sigma == 0:
        return np.eye(size)
    radius = int(4 * sigma + 0.5)
    distances = np.arange(size)[:, np.newaxis] - np.arange(size)
    weights = np.exp(-0.5 * (distances / sigma) ** 2) * (np.abs(distances) <= radius)
    return weights / np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).sum()


def oversample(images, crop_dims):
    """Ten crops of each H x W x K image: corners and centre, then the same mirrored."""
    images = [np.asarray(image) for image in images]
    height, width = (int(size) for size in crop_dims)
    full_height, full_width = images[0].shape[:2]
    corners = [(y, x) for y in (0, full_height - height) for x in (0, full_width - width)]
    corners.append((int(full_height / 2 - height / 2), int(full_width / 2 - width / 2)))
    crops = np.empty((10 * len(images), height, width, images[0].shape[-1]), np.float32)
    for number, image in enumerate(images):
        for place, (y, x) in enumerate(corners):
            crop = image[y : y + height, x : x + width]
            crops[10 * number + place] = crop
            crops[10 * number + 5 + place] = crop[:, ::-1]
    return crops


class Transformer:
    """Makes what a net is fed from images, by settings for each input.

    `inputs`: {input: its shape, N x C x H x W}. `preprocess` resizes, transposes, swaps channels,
    multiplies by raw_scale, subtracts the mean, multiplies by input_scale, in this order;
    `deprocess` goes back (but for the size).
    """

    def __init__(self, inputs):
        self.inputs = inputs
        self.transpose = {}
        self.channel_swap = {}
        self.raw_scale = {}
        self.mean = {}
        self.input_scale = {}

    def _check(self, in_):
        if in_ not in self.inputs:
            raise Exception(f"the net has no input {in_!r}; it has {sorted(self.inputs)}")

    def preprocess(self, in_, data):
        """An H' x W' x K image as K x H x W, float32."""
        self._check(in_)
        values = data.astype(np.float32)
        size = tuple(self.inputs[in_][2:])
        if values.shape[:2] != size:
            values = resize_image(values, size)
        if in_ in self.transpose:
            values = values.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            values = values[list(self.channel_swap[in_]), :, :]
        if in_ in self.raw_scale:
            values *= self.raw_scale[in_]
        if in_ in self.mean:
            values -= self.mean[in_]
        if in_ in self.input_scale:
            values *= self.input_scale[in_]
        return values

    def deprocess(self, in_, data):
        """A net's input as an image again."""
        self._check(in_)
        values = data.copy().squeeze()
        if in_ in self.input_scale:
            values /= self.input_scale[in_]
        if in_ in self.mean:
            values += self.mean[in_]
        if in_ in self.raw_scale:
            values /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            values = values[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            values = values.transpose(np.argsort(self.transpose[in_]))
        return values

    def set_transpose(self, in_, order):
        """The order of axes, (2, 0, 1) for images of H x W x K."""
        self._check(in_)
        self._check_length("order", order, len(self.inputs[in_]) - 1)
        self.transpose[in_] = order

    def set_channel_swap(self, in_, order):
        """The order of channels, (2, 1, 0) for nets that want BGR."""
        self._check(in_)
        self._check_length("order", order, self.inputs[in_][1])
        self.channel_swap[in_] = order

    def _check_length(self, what, got, expected):
        if len(got) != expected:
            raise Exception(f"{what} has {len(got)} entries, expected {expected}")

    def set_raw_scale(self, in_, scale):
        """What to multiply by before the mean is subtracted: 255 for nets of values to 255."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_, mean):
        """The mean: one value a channel, or an image, K x H x W or H x W, which is resized."""
        self._check(in_)
        shape = tuple(self.inputs[in_][1:])
        if mean.ndim == 1:
            if mean.shape[0] != shape[0]:
                raise ValueError(f"the mean has {mean.shape[0]} channels, the input {shape[0]}")
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.ndim not in (2, 3):
            raise ValueError(f"the mean has {mean.ndim} axes, expected 1, 2 or 3")
        elif (1, *mean.shape)[-3:] != shape:
            image = mean if mean.ndim == 3 else mean[np.newaxis]
            mean = resize_image(image.transpose(1, 2, 0), shape[1:]).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_, scale):
        """What to multiply by after all else."""
        self._check(in_)
        self.input_scale[in_] = scale
