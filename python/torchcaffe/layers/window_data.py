"""WindowData: windows of images, foreground and background (R-CNN's data)."""

import dataclasses
import math
import os

import numpy as np

from torchcaffe.data.datum import channels_first
from torchcaffe.data.transform import new_generator, read_mean
from torchcaffe.errors import CaffeError
from torchcaffe.layers.base import layer
from torchcaffe.layers.data import PrefetchedLayer, naming


@layer("WindowData")
class WindowData(PrefetchedLayer):
    """Windows drawn at random from a window file, warped to crop_size; tops: images and labels.

    The file has for each image `# index`, path, channels, height, width, the number of windows, and
    for each of these `class overlap x1 y1 x2 y2`, all separated by white space. A window is
    foreground from overlap fg_threshold on, background below bg_threshold (its label is 0), and
    else unused. A batch has background windows first, then fg_fraction of it foreground.

    As in BVLC Caffe crop_size, mirror, mean_file and mean_value come from transform_param, but
    scale from window_data_param; the centre of a larger mean is taken; `context_pad` widens a
    window so that so many pixels surround it after warping, zeros outside the image; crop_mode
    "square" takes the smallest square around the window; any other warps.

    Raises CaffeError for a file that is not of this form, no windows of a kind that is needed, and
    an image that cannot be read (BVLC Caffe gives out the rest of the batch as zeros).
    """

    tops = (2, 2)

    def setup(self, shapes):
        parameter = self.parameter.window_data_param
        transform = self.parameter.transform_param
        self.check(transform.crop_size > 0, "needs crop_size above 0 in transform_param")
        self.check(
            parameter.batch_size > 0, "has no batch_size; give window_data_param { batch_size }"
        )
        self.check(
            2 * parameter.context_pad < transform.crop_size,
            f"has context_pad {parameter.context_pad}, which leaves nothing of crop_size "
            f"{transform.crop_size}; lower it",
        )
        self.check(
            0 <= parameter.fg_fraction <= 1,
            f"has fg_fraction {parameter.fg_fraction:g}, expected 0 to 1",
        )
        with naming(self):
            foreground, background = read_windows(parameter)
            warp = Warp(parameter, transform)
        size = parameter.batch_size
        wanted_foreground = int(np.float32(size) * np.float32(parameter.fg_fraction))
        kinds = [background] * (size - wanted_foreground) + [foreground] * wanted_foreground
        for kind, name, threshold in (
            (background, "background", "bg_threshold"),
            (foreground, "foreground", "fg_threshold"),
        ):
            self.check(
                kind or not any(other is kind for other in kinds),
                f"{parameter.source} has no {name} windows; change {threshold} or fg_fraction",
            )
        shape = (size, 3, transform.crop_size, transform.crop_size)
        self.start([shape, (size,)], _window_batches(kinds, warp, shape, new_generator()))


@dataclasses.dataclass
class Window:
    path: str
    label: int
    corners: tuple
    """x1, y1, x2, y2, all inside."""


def read_windows(parameter):
    """(foreground, background), lists of Windows, of a WindowDataParameter's file."""
    try:
        with open(parameter.source, encoding="utf-8", errors="surrogateescape") as file:
            words = iter(file.read().split())
    except OSError as error:
        raise CaffeError(f"source {parameter.source}: {error.strerror}") from None
    foreground, background = [], []
    images = 0
    try:
        for hashtag in words:
            if hashtag != "#" or int(next(words)) != images:
                raise ValueError(f"expected `# {images}`")
            images += 1
            path = parameter.root_folder + next(words)
            channels, _, _, count = (int(next(words)) for _ in range(4))
            if channels != 3:
                raise ValueError(f"has {channels} channels, expected 3")
            for _ in range(count):
                label, overlap = int(next(words)), np.float32(next(words))
                corners = tuple(int(next(words)) for _ in range(4))
                if overlap >= np.float32(parameter.fg_threshold):
                    if label <= 0:
                        raise ValueError(f"foreground has label {label}, expected 1 or more")
                    foreground.append(Window(path, label, corners))
                elif overlap < np.float32(parameter.bg_threshold):
                    background.append(Window(path, 0, corners))
    except (ValueError, StopIteration, RuntimeError) as error:
        text = str(error) if isinstance(error, ValueError) else "the file ends in the midst of it"
        raise CaffeError(f"{parameter.source}: image {max(images - 1, 0)}: {text}") from None
    if not images:
        raise CaffeError(f"{parameter.source}: is empty, expected windows of images")
    return foreground, background


class Warp:
    """Cuts windows out of images and warps them to the crop; numbers are rounded as float32."""

    def __init__(self, parameter, transform):
        if transform.HasField("mean_file") and transform.mean_value:
            raise CaffeError("has a mean_file and a mean_value; give one of them")
        self.crop, self.pad = transform.crop_size, parameter.context_pad
        self.mirror = transform.mirror
        self.square = parameter.crop_mode == "square"
        self.scale = np.float32(parameter.scale)
        self.cached = {} if parameter.cache_images else None
        self.mean = None
        if transform.HasField("mean_file"):
            mean = read_mean(transform.mean_file)
            # The same offset on both axes, as BVLC Caffe; it expects a square.
            offset = (mean.shape[2] - self.crop) // 2
            mean = mean[:, max(offset, 0) :, max(offset, 0) :][:, : self.crop, : self.crop]
            if mean.shape != (3, self.crop, self.crop):
                raise CaffeError(
                    f"mean_file {transform.mean_file} is too small for 3 channels of crop_size "
                    f"{self.crop}"
                )
            self.mean = mean
        elif transform.mean_value:
            if len(transform.mean_value) not in (1, 3):
                raise CaffeError(f"has {len(transform.mean_value)} mean_value; give 1 or 3")
            self.mean = np.array(transform.mean_value, np.float32)[:, None, None]

    def __call__(self, window, mirrored, top):
        """Write a Window into `top`, zeros of 3 x crop x crop."""
        import cv2

        picture = self._picture(window.path)
        corners, size, (pad_x, pad_y) = window.corners, (self.crop, self.crop), (0, 0)
        if self.pad > 0 or self.square:
            corners, size, (pad_x, pad_y) = self._widened(corners, picture.shape, mirrored)
        x1, y1, x2, y2 = corners
        height, width = picture.shape[:2]
        if not (0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height and min(size) > 0):
            raise CaffeError(
                f"{window.path}: the window {window.corners} is not inside the image's "
                f"{width}x{height}; mend the window file"
            )
        warped = cv2.resize(picture[y1 : y2 + 1, x1 : x2 + 1], size, interpolation=cv2.INTER_LINEAR)
        if mirrored:
            warped = warped[:, ::-1]
        place = (
            slice(None),
            slice(pad_y, pad_y + warped.shape[0]),
            slice(pad_x, pad_x + warped.shape[1]),
        )
        values = channels_first(warped)
        if self.mean is not None:
            values = values - (self.mean if self.mean.shape[1] == 1 else self.mean[place])
        top[place] = values * self.scale

    def _picture(self, path):
        import cv2

        if self.cached is None:
            picture = cv2.imread(path, cv2.IMREAD_COLOR) if os.path.isfile(path) else None
        else:
            # Held as the file's bytes, as BVLC Caffe does.
            if path not in self.cached:
                try:
                    self.cached[path] = np.fromfile(path, np.uint8)
                except OSError:
                    self.cached[path] = np.zeros(0, np.uint8)
            data = self.cached[path]
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if picture is None:
            raise CaffeError(f"image {path} is missing or no picture; mind root_folder")
        return picture

    def _widened(self, corners, shape, mirrored):
        """The window with its context, clipped to the image: corners, warped size, padding."""
        x1, y1, x2, y2 = corners
        crop = np.float32(self.crop)
        context = crop / np.float32(self.crop - 2 * self.pad)
        half_width, half_height = np.float32((x2 - x1 + 1) / 2), np.float32((y2 - y1 + 1) / 2)
        centre_x, centre_y = np.float32(x1) + half_width, np.float32(y1) + half_height
        if self.square:
            half_width = half_height = max(half_width, half_height)
        x1, x2 = (_round(centre_x + sign * half_width * context) for sign in (-1, 1))
        y1, y2 = (_round(centre_y + sign * half_height * context) for sign in (-1, 1))
        scale_x, scale_y = crop / np.float32(x2 - x1 + 1), crop / np.float32(y2 - y1 + 1)
        left, top = max(0, -x1), max(0, -y1)
        right, bottom = max(0, x2 - shape[1] + 1), max(0, y2 - shape[0] + 1)
        x1, x2, y1, y2 = x1 + left, x2 - right, y1 + top, y2 - bottom
        width = _round(np.float32(x2 - x1 + 1) * scale_x)
        height = _round(np.float32(y2 - y1 + 1) * scale_y)
        pad_x = _round(np.float32(right if mirrored else left) * scale_x)
        pad_y = _round(np.float32(top) * scale_y)
        size = min(width, self.crop - pad_x), min(height, self.crop - pad_y)
        return (x1, y1, x2, y2), size, (pad_x, pad_y)


def _round(value):
    """To the nearest whole number, halves away from zero, as C does."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


def _window_batches(kinds, warp, shape, random):
    while True:
        data, labels = np.zeros(shape, np.float32), np.empty(shape[0], np.float32)
        for place, windows in enumerate(kinds):
            window = windows[random.integers(len(windows))]
            mirrored = warp.mirror and bool(random.integers(2))
            warp(window, mirrored, data[place])
            labels[place] = window.label
        yield data, labels
