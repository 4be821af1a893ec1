"""transform_param: what Caffe does to an image on its way into a batch."""

import math

import numpy as np
from google.protobuf.message import DecodeError

from torchcaffe import random_state
from torchcaffe.blob import by
from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2


def new_generator():
    """A numpy Generator for one layer, seeded from the process's random state.

    A layer's thread draws from its own, so that what it draws does not depend on timing.
    """
    return np.random.default_rng(random_state.integer(2**63 - 1))


class Transformer:
    """Mean, crop, mirror and scale of a TransformationParameter, as BVLC's DataTransformer.

    A crop is random in the phase TRAIN and else in the centre (rounded to the upper left); a mirror
    is random in both phases. The mean is taken at the place that the crop has in the image, before
    mirroring. (value - mean) * scale is computed in float32.

    Raises CaffeError for a mean given as file and as value, and for an unreadable mean file.
    """

    def __init__(self, parameter, phase):
        self.crop = parameter.crop_size
        self.mirror = parameter.mirror
        self.scale = np.float32(parameter.scale)
        self.force_color = parameter.force_color
        self.force_gray = parameter.force_gray
        self.random_crop = self.crop > 0 and phase == caffe_pb2.TRAIN
        self.mean = None
        self.mean_file = parameter.mean_file if parameter.HasField("mean_file") else None
        if self.mean_file is not None and parameter.mean_value:
            raise CaffeError("has a mean_file and a mean_value; give one of them")
        if self.force_color and self.force_gray:
            raise CaffeError("has force_color and force_gray; give one of them")
        if self.mean_file is not None:
            self.mean = read_mean(self.mean_file)
        elif parameter.mean_value:
            self.mean = np.array(parameter.mean_value, np.float32)[:, None, None]
        self._random = new_generator() if self.mirror or self.random_crop else None

    def top_shape(self, shape):
        """channels x height x width of the result for an image of `shape`.

        Raises CaffeError for an image that is smaller than the crop or does not fit the mean.
        """
        channels, height, width = shape
        if min(height, width) < self.crop:
            raise CaffeError(
                f"is {height}x{width}, smaller than crop_size {self.crop}; lower crop_size"
            )
        if self.mean_file is not None and self.mean.shape != tuple(shape):
            raise CaffeError(
                f"is {by(shape)}, but the mean of {self.mean_file} is {by(self.mean.shape)}; "
                "compute the mean from images of this size"
            )
        if self.mean is not None and self.mean_file is None and len(self.mean) not in (1, channels):
            raise CaffeError(
                f"has {channels} channels for {len(self.mean)} mean_value; give one or {channels}"
            )
        return (channels, self.crop, self.crop) if self.crop else (channels, height, width)

    def batch(self, size):
        """A Batch of `size` images, to be filled."""
        return Batch(self, size)

    def window(self, shape, draws):
        """The slices of the crop in an image of `shape`."""
        spare = shape[1] - self.crop, shape[2] - self.crop
        if self.random_crop:
            row, column = int(draws[0] * (spare[0] + 1)), int(draws[1] * (spare[1] + 1))
        else:
            row, column = spare[0] // 2, spare[1] // 2
        return slice(None), slice(row, row + self.crop), slice(column, column + self.crop)

    def draws(self, size):
        """For each of `size` images three numbers from 0 to 1: for row, column and mirror."""
        return self._random.random((size, 3)).tolist() if self._random is not None else None


class Batch:
    """Transformed images, float32 N x channels x height x width in the shape of the first one."""

    def __init__(self, transformer, size):
        self._transformer, self._size = transformer, size
        self._draws = transformer.draws(size)
        self._data = None
        self._count = 0

    def add(self, image):
        """Transform and append an image, channels x height x width of uint8 or float32.

        Raises CaffeError as `Transformer.top_shape`, and for a result of another shape.
        """
        rules = self._transformer
        shape = rules.top_shape(image.shape)
        if self._data is None:
            self._data = np.empty((self._size, *shape), np.float32)
        top = self._data[self._count]
        if shape != top.shape:
            raise CaffeError(
                f"is {by(image.shape)} and makes {by(shape)}, but its batch began with "
                f"{by(top.shape)}; make all of one size or give crop_size"
            )
        draws = self._draws[self._count] if self._draws is not None else None
        mean = rules.mean
        if rules.crop:
            window = rules.window(image.shape, draws)
            image = image[window]
            if rules.mean_file is not None:
                mean = mean[window]
        if rules.mirror and draws[2] < 0.5:
            top = top[:, :, ::-1]
        if mean is None:
            np.copyto(top, image)
        else:
            np.subtract(image, mean, out=top)
        self._count += 1

    def finish(self):
        """The array, once `size` images are added."""
        scale = self._transformer.scale
        return self._data if scale == 1 else np.multiply(self._data, scale, out=self._data)


def read_mean(path):
    """The mean of a binaryproto file (compute_image_mean's), float32 channels x height x width."""
    blob = caffe_pb2.BlobProto()
    try:
        with open(path, "rb") as file:
            blob.ParseFromString(file.read())
    except OSError as error:
        raise CaffeError(f"mean_file {path}: {error.strerror}") from None
    except DecodeError:
        raise CaffeError(f"mean_file {path}: no BlobProto; compute_image_mean makes it") from None
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        shape = blob.num, blob.channels, blob.height, blob.width
    else:
        shape = (*blob.shape.dim, 1, 1, 1, 1)[:4]
    values = np.array(blob.data or blob.double_data, np.float32)
    if len(blob.shape.dim) > 4 or not values.size or values.size != math.prod(shape):
        raise CaffeError(
            f"mean_file {path}: holds {values.size} values of shape {by(shape)}; "
            "compute_image_mean makes it"
        )
    return values.reshape(shape)[0]
