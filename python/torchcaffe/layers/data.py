"""Layers that read records or images, or whose tops a caller or a filler fills."""

import contextlib
import os
import re

import numpy as np
import torch

from torchcaffe.blob import Blob
from torchcaffe.data import datum as datums
from torchcaffe.data.databases import open_database
from torchcaffe.data.prefetch import Prefetcher
from torchcaffe.data.transform import Transformer, new_generator
from torchcaffe.errors import CaffeError
from torchcaffe.fillers import fill
from torchcaffe.layers.base import Layer, layer
from torchcaffe.schema import caffe_pb2

_WHOLE = re.compile(r"[+-]?[0-9]+")


@contextlib.contextmanager
def naming(layer):
    """Put the layer's name before a CaffeError of code that does not know the layer."""
    try:
        yield
    except CaffeError as error:
        message = str(error)
    else:
        return
    layer.fail(message)


class PrefetchedLayer(Layer):
    """A layer without bottoms whose tops a thread makes ahead (data/prefetch.py).

    A subclass's `setup` calls `start`. Reshaping does nothing, as in BVLC Caffe: a batch brings its
    own shape.
    """

    bottoms = (0, 0)

    def start(self, shapes, batches, depth=None):
        """Make batches from an iterator over tuples of arrays, the first of which have `shapes`.

        `depth`: how many are made ahead; None: as data_param's prefetch says (4 by default), which
        BVLC Caffe reads in every layer that prefetches.
        """
        depth = self.parameter.data_param.prefetch if depth is None else depth
        self.check(depth > 0, "has prefetch: 0; give at least 1")
        self._shapes = shapes
        self._prefetcher = Prefetcher(batches, depth, pin=self.device.type == "cuda")

    def reshape(self, shapes):
        return self._shapes

    def forward(self, bottoms, keep):
        with naming(self):
            tensors = self._prefetcher.next()
        self._shapes = [tuple(tensor.shape) for tensor in tensors]
        return [tensor.to(self.device, non_blocking=True) for tensor in tensors]

    @property
    def batches_waiting(self):
        """How many batches are ready."""
        return self._prefetcher.waiting

    def close(self):
        """End the thread; the layer makes no more batches."""
        self._prefetcher.close()


@layer("Data")
class Data(PrefetchedLayer):
    """Records of a database in key order, round and round; tops: images, and labels if wanted.

    Each batch has the shape of its first record. As in BVLC Caffe 1.0 only source, backend,
    batch_size and prefetch of data_param count; rand_skip and force_encoded_color do nothing
    (force_color of transform_param took over from the latter).

    Raises CaffeError for a database that cannot be read, and for a record that is no Datum or does
    not fit, naming its key.
    """

    tops = (1, 2)

    def setup(self, shapes):
        parameter = self.parameter.data_param
        self.check(parameter.batch_size > 0, "has no batch_size; give data_param { batch_size }")
        with naming(self):
            transformer = Transformer(self.parameter.transform_param, self.phase)
            database = open_database(parameter.backend, parameter.source)
            key, value = database.first()
            try:
                shape = transformer.top_shape(_read(value, transformer)[1].shape)
            except CaffeError as error:
                raise _about_record(database, key, error) from None
        size, tops = parameter.batch_size, len(self.top_blobs)
        batches = database_batches(database, transformer, size, tops)
        self.start([(size, *shape), (size,)][:tops], batches)


def _read(value, transformer):
    datum = datums.parse(value)
    return datum, datums.image(datum, transformer.force_color, transformer.force_gray)


def database_batches(database, transformer, size, tops):
    """Batches of an Lmdb's records, endlessly: (images,) or with tops=2 (images, labels)."""
    records = database.records()
    while True:
        batch, labels = transformer.batch(size), np.empty(size, np.float32)
        for place in range(size):
            key, value = next(records)
            try:
                datum, image = _read(value, transformer)
                batch.add(image)
            except CaffeError as error:
                raise _about_record(database, key, error) from None
            labels[place] = datum.label
        yield (batch.finish(), labels)[:tops]


def _about_record(database, key, error):
    shown = key.decode(errors="backslashreplace")
    return CaffeError(f"{database.source}: record {shown!r} {error}")


@layer("ImageData")
class ImageData(PrefetchedLayer):
    """Image files of a list with a line `path label` for each; tops: images and labels.

    The label is what follows the last space. `root_folder` is put before each path as it is. Images
    are read as blue, green, red, or grey with is_color: false, and made new_height x new_width if
    both are given. Each batch has the shape of its first image. `shuffle` orders the list anew at
    the start and after each round; `rand_skip` starts at one of the first so many lines.

    Raises CaffeError for a list that is missing, empty or has a line without a whole number of 32
    bits as its label (BVLC Caffe takes what it begins with, 2 of 2.7 and 0 of `cat`), and for an
    image that cannot be read, naming it.
    """

    tops = (2, 2)

    def setup(self, shapes):
        parameter = self.parameter.image_data_param
        self.check(parameter.batch_size > 0, "has batch_size: 0; give at least 1")
        self.check(
            (parameter.new_height > 0) == (parameter.new_width > 0),
            "has one of new_height and new_width; give both or none",
        )
        with naming(self):
            transformer = Transformer(self.parameter.transform_param, self.phase)
            lines = _read_list(parameter.source)
        random = new_generator() if parameter.shuffle or parameter.rand_skip else None
        if parameter.shuffle:
            random.shuffle(lines)
        start = int(random.integers(parameter.rand_skip)) if parameter.rand_skip else 0
        self.check(
            start < len(lines),
            f"has rand_skip {parameter.rand_skip} and {parameter.source} only {len(lines)} lines",
        )
        with naming(self):
            shape = _with_image(
                parameter, lines[start][0], lambda image: transformer.top_shape(image.shape)
            )
        size = parameter.batch_size
        self.start(
            [(size, *shape), (size,)], _list_batches(parameter, lines, start, random, transformer)
        )


def _read_list(source):
    try:
        with open(source, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            text = file.read()
    except OSError as error:
        raise CaffeError(f"source {source}: {error.strerror}") from None
    lines = []
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        # Lists written on Windows end their lines with \r\n.
        path, space, label = line.removesuffix("\r").rpartition(" ")
        if not _WHOLE.fullmatch(label) or not space or abs(int(label)) >= 2**31:
            raise CaffeError(
                f"{source}: line {number} is {line!r}, expected `path label` with a whole number"
            )
        lines.append((path, int(label)))
    if not lines:
        raise CaffeError(f"{source}: is empty, expected lines of `path label`")
    return lines


def _image_of(parameter, path):
    import cv2

    path = parameter.root_folder + path
    flag = cv2.IMREAD_COLOR if parameter.is_color else cv2.IMREAD_GRAYSCALE
    picture = cv2.imread(path, flag) if os.path.isfile(path) else None
    if picture is None:
        raise CaffeError(
            "is no picture OpenCV reads" if os.path.exists(path) else "is missing; mind root_folder"
        )
    if parameter.new_height:
        picture = cv2.resize(picture, (parameter.new_width, parameter.new_height))
    return datums.channels_first(picture)


def _with_image(parameter, path, use):
    """use(the image of a line); a CaffeError of it names the list and the image."""
    try:
        return use(_image_of(parameter, path))
    except CaffeError as error:
        message = f"{parameter.source}: image {parameter.root_folder}{path} {error}"
    raise CaffeError(message)


def _list_batches(parameter, lines, place, random, transformer):
    size = parameter.batch_size
    while True:
        batch, labels = transformer.batch(size), np.empty(size, np.float32)
        for number in range(size):
            path, labels[number] = lines[place]
            _with_image(parameter, path, batch.add)
            place += 1
            if place == len(lines):
                place = 0
                if parameter.shuffle:
                    random.shuffle(lines)
        yield batch.finish(), labels


@layer("MemoryData")
class MemoryData(Layer):
    """Arrays of the caller, batch by batch, round and round (pycaffe's `Net.set_input_arrays`).

    The arrays are not copied: what is written into them later is seen. As in BVLC Caffe the label's
    top has one axis until the first forward and then four, and transform_param is ignored.
    """

    bottoms = (0, 0)
    tops = (2, 2)

    def setup(self, shapes):
        parameter = self.parameter.memory_data_param
        self.shape = parameter.channels, parameter.height, parameter.width
        self.batch_size = parameter.batch_size
        self._arrays = None
        self._position = 0
        self.check(
            self.batch_size and all(self.shape),
            "needs batch_size, channels, height and width above 0 in memory_data_param",
        )
        self._shapes = [(self.batch_size, *self.shape), (self.batch_size,)]

    def set_input_arrays(self, data, labels):
        """Give out these from the next forward on.

        data: float32 N x channels x height x width; labels: float32 N x 1 x 1 x 1; both contiguous,
        N a multiple of the batch size. Raises CaffeError for anything else.
        """
        for name, array, shape in (("data", data, self.shape), ("labels", labels, (1, 1, 1))):
            got = f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
            self.check(
                isinstance(array, np.ndarray)
                and array.dtype == np.float32
                and array.flags.c_contiguous
                and array.shape[1:] == shape,
                f"got {name} {got}, expected contiguous float32 (N, {', '.join(map(str, shape))}); "
                "np.ascontiguousarray makes it",
            )
        self.check(
            len(data) == len(labels) and len(data) and len(data) % self.batch_size == 0,
            f"got {len(data)} data and {len(labels)} labels, expected as many of both and a "
            f"multiple of batch_size {self.batch_size}",
        )
        self._arrays = torch.from_numpy(data), torch.from_numpy(labels)
        self._position = 0

    def reshape(self, shapes):
        return self._shapes

    def forward(self, bottoms, keep):
        self.check(
            self._arrays is not None, "has no data yet; call net.set_input_arrays(data, labels)"
        )
        rows = slice(self._position, self._position + self.batch_size)
        self._position = rows.stop % len(self._arrays[0])
        tops = [array[rows].to(self.device) for array in self._arrays]
        self._shapes = [tuple(top.shape) for top in tops]
        return tops


@layer("DummyData")
class DummyData(Layer):
    """Tops that fillers fill: constant ones once at setup, others at each forward.

    `shape`, or the older num, channels, height and width, once or for each top; `data_filler`
    never (zeros), once or for each top. What a caller writes into a constant top stays.
    """

    bottoms = (0, 0)
    tops = (1, None)

    def setup(self, shapes):
        parameter = self.parameter.dummy_data_param
        count = len(self.top_blobs)
        fillers = list(parameter.data_filler)
        self.check(
            len(fillers) in (0, 1, count),
            f"has {len(fillers)} data_filler for {count} tops; give none, one or {count}",
        )
        if not fillers:
            fillers = [caffe_pb2.FillerParameter()]
        self._fillers = fillers * count if len(fillers) == 1 else fillers
        for blob, shape, filler in zip(self.top_blobs, self._top_shapes(count), self._fillers):
            blob.reshape(shape)
            if filler.type == "constant":
                self._fill(blob, filler)

    def _top_shapes(self, count):
        parameter = self.parameter.dummy_data_param
        old = [list(getattr(parameter, name)) for name in ("num", "channels", "height", "width")]
        given = [list(shape.dim) for shape in parameter.shape]
        self.check(
            not (any(old) and given), "has shape and num, channels, height, width; give shape"
        )
        names = ("num", "channels", "height", "width") if any(old) else ("shape",)
        for values, name in zip(old if any(old) else [given], names):
            self.check(
                len(values) in (1, count),
                f"has {len(values)} {name} for {count} tops; give 1 or {count}",
            )
        if any(old):
            return list(zip(*(values * count if len(values) == 1 else values for values in old)))
        return given * count if len(given) == 1 else given

    def _fill(self, blob, filler):
        with naming(self):
            fill(blob, filler)

    def reshape(self, shapes):
        return [blob.shape for blob in self.top_blobs]

    def forward(self, bottoms, keep):
        tops = []
        for blob, filler in zip(self.top_blobs, self._fillers):
            if filler.type != "constant":
                # A blob of its own: who kept the values of the last pass keeps them.
                blob = Blob(blob.shape, self.device)
                self._fill(blob, filler)
            tops.append(blob.data)
        return tops
