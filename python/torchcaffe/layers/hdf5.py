"""Layers that read and write HDF5 files."""

import os

import h5py
import numpy as np

from torchcaffe.data.transform import new_generator
from torchcaffe.errors import CaffeError
from torchcaffe.layers.base import Layer, layer
from torchcaffe.layers.data import PrefetchedLayer, naming


@layer("HDF5Data")
class HDF5Data(PrefetchedLayer):
    """Rows of the datasets of HDF5 files; each top reads the dataset that has its name.

    `source` is a list of files, separated by white space, read in order and round again; a batch
    goes on from one file into the next. `shuffle` orders the files anew in each round and the rows
    in each reading. A file is held in memory while its rows are given out. Values become float32.

    Raises CaffeError for a list or file that is missing, a dataset that a file lacks or that holds
    no numbers, first axes that differ, and rows of another shape than in the first file (which BVLC
    Caffe reads as the first file's shape).
    """

    tops = (1, None)

    def setup(self, shapes):
        parameter = self.parameter.hdf5_data_param
        self.check(
            parameter.batch_size > 0, "has no batch_size; give hdf5_data_param { batch_size }"
        )
        self.check(
            not self.parameter.HasField("transform_param"),
            "does not transform data; remove transform_param and write the file transformed",
        )
        names = list(self.parameter.top)
        random = new_generator() if parameter.shuffle else None
        with naming(self):
            files = _file_list(parameter.source)
            order = _permutation(len(files), random)
            first = _load(files[order[0]], names)
        rows = [array.shape[1:] for array in first]
        batches = _row_batches(files, order, names, rows, parameter.batch_size, random)
        self.start([(parameter.batch_size, *row) for row in rows], batches)


def _file_list(source):
    if os.path.isfile(source) and h5py.is_hdf5(source):
        raise CaffeError(
            f"source {source}: is an HDF5 file; source is a text file that lists HDF5 files, one a "
            "line: write this path into one"
        )
    try:
        with open(source, encoding="utf-8", errors="surrogateescape") as file:
            files = file.read().split()
    except OSError as error:
        raise CaffeError(f"source {source}: {error.strerror}") from None
    if not files:
        raise CaffeError(f"{source}: is empty, expected the paths of HDF5 files")
    for file in files:
        if not os.path.isfile(file):
            raise CaffeError(f"{source}: lists {file}, which is missing")
    return files


def _permutation(count, random):
    return np.arange(count) if random is None else random.permutation(count)


def _load(path, names):
    try:
        with h5py.File(path, "r") as file:
            arrays = [_dataset(path, file, name) for name in names]
    except CaffeError:
        raise
    except (OSError, RuntimeError) as error:
        raise CaffeError(f"{path}: no readable HDF5 file ({error})") from None
    for name, array in zip(names, arrays):
        if len(array) != len(arrays[0]):
            raise CaffeError(
                f"{path}: dataset {name!r} has {len(array)} rows and {names[0]!r} "
                f"{len(arrays[0])}; give all as many"
            )
    if not len(arrays[0]):
        raise CaffeError(f"{path}: dataset {names[0]!r} has no rows; remove the file from the list")
    return arrays


def _dataset(path, file, name):
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise CaffeError(
            f"{path}: no dataset {name!r}, there are {', '.join(sorted(file)) or 'none'}; "
            "tops must have the datasets' names"
        )
    if dataset.dtype.kind not in "iuf" or not dataset.shape:
        raise CaffeError(
            f"{path}: dataset {name!r} is {dataset.dtype} {dataset.shape}, expected numbers in rows"
        )
    return np.asarray(dataset[()], np.float32)


def _row_batches(files, order, names, row_shapes, size, random):
    """Batches of rows; loads a file when the first of its rows is wanted."""
    made, filled = None, 0
    arrays = None
    while True:
        for place in order:
            if arrays is None or len(files) > 1:
                arrays = _load(files[place], names)
            for name, array, shape in zip(names, arrays, row_shapes):
                if array.shape[1:] != shape:
                    raise CaffeError(
                        f"{files[place]}: rows of {name!r} are {array.shape[1:]}, in the first "
                        f"file {shape}; give all files one shape"
                    )
            rows = _permutation(len(arrays[0]), random)
            while len(rows):
                if made is None:
                    made = [np.empty((size, *shape), np.float32) for shape in row_shapes]
                taken, rows = rows[: size - filled], rows[size - filled :]
                for batch, array in zip(made, arrays):
                    batch[filled : filled + len(taken)] = array[taken]
                filled += len(taken)
                if filled == size:
                    yield made
                    made, filled = None, 0
        order = _permutation(len(files), random)


@layer("HDF5Output")
class HDF5Output(Layer):
    """Writes its bottoms into the datasets `data` and `label` of an HDF5 file, with four axes each.

    The file is made empty at setup and holds one batch. BVLC Caffe aborts at a second forward,
    since the datasets exist; here it is a CaffeError unless the values are the same (as after a
    backward pass that runs the net once more). BVLC Caffe's file is complete when the net is gone,
    this one after each forward. There is no gradient.
    """

    bottoms = (2, 2)
    tops = (0, 0)

    def setup(self, shapes):
        self._path = self.parameter.hdf5_output_param.file_name
        self._open("w").close()

    def _open(self, mode):
        try:
            return h5py.File(self._path, mode)
        except (OSError, ValueError) as error:
            self.fail(f"cannot write file_name {self._path!r} ({error})")

    def reshape(self, shapes):
        return []

    def forward(self, bottoms, keep):
        self.check(
            len(bottoms[0]) == len(bottoms[1]),
            f"has {len(bottoms[0])} rows of data and {len(bottoms[1])} of labels; give as many",
        )
        arrays = {}
        for name, bottom in zip(("data", "label"), bottoms):
            self.check(bottom.dim() <= 4, f"got {bottom.dim()} axes for {name}, expected at most 4")
            shape = (*bottom.shape, 1, 1, 1, 1)[:4]
            arrays[name] = bottom.reshape(shape).cpu().numpy()
        with self._open("a") as file:
            for name, array in arrays.items():
                if name not in file:
                    file.create_dataset(name, data=array)
                elif not np.array_equal(file[name][()], array, equal_nan=True):
                    self.fail(
                        f"has written one batch to {self._path} already and a file holds one; "
                        "run one forward, or write from the script"
                    )
        return []

    def backward(self, top_diffs, propagate_down):
        return [
            blob.data.new_zeros(blob.shape) if wanted else None
            for blob, wanted in zip(self.bottom_blobs, propagate_down)
        ]
