"""Blobs as scripts and Python layers see them: numpy arrays over the engine's memory."""

import numpy as np
import torch

from torchcaffe.errors import CaffeError

_touched = {}
"""{address of a device's memory: (tensor, array)} of arrays given out since the last run."""


class Blob:
    """A blob of a net. `data` and `diff` are float32 numpy arrays, which may be written to.

    On the CPU they are views of the blob's own memory, and stay valid until it is reshaped. On
    another device each look at them copies from it, and what has been looked at is copied back
    before the net runs next, as in BVLC Caffe.
    """

    def __init__(self, blob):
        self._blob = blob
        self._mirrors = {}

    @property
    def data(self):
        return self._array("data", self._blob.pin_data())

    @property
    def diff(self):
        return self._array("diff", self._blob.pin_diff())

    def _array(self, which, tensor):
        if tensor.device.type == "cpu":
            return tensor.numpy()
        # Blobs that share memory share what is to be copied back too.
        address = tensor.data_ptr()
        if address in _touched:
            return _touched[address][1].reshape(tensor.shape)
        mirror = self._mirrors.get(which)
        if mirror is None or mirror.shape != tuple(tensor.shape):
            mirror = self._mirrors[which] = np.empty(tensor.shape, np.float32)
        mirror[...] = tensor.cpu().numpy()
        _touched[address] = (tensor, mirror)
        return mirror

    @property
    def shape(self):
        return list(self._blob.shape)

    @property
    def count(self):
        return self._blob.count

    @property
    def num(self):
        return self._legacy_size(0)

    @property
    def channels(self):
        return self._legacy_size(1)

    @property
    def height(self):
        return self._legacy_size(2)

    @property
    def width(self):
        return self._legacy_size(3)

    def _legacy_size(self, axis):
        """The size of one of the four axes that blobs once had; 1 for an axis that is not there."""
        shape = self._blob.shape
        if len(shape) > 4:
            raise CaffeError(
                f"num, channels, height, width are of 4 axes; the blob has {len(shape)}"
            )
        return shape[axis] if axis < len(shape) else 1

    def reshape(self, *shape, **named):
        """Give the blob a shape, for instance `reshape(10, 3, 64, 64)`."""
        if named:
            raise CaffeError("Blob.reshape takes sizes only, no named arguments")
        upload()
        self._blob.reshape(shape)


class Blobs:
    """A list of the blobs of a layer (`net.params[...]`, `layer.blobs`), over the engine's list."""

    def __init__(self, blobs):
        self._engine_blobs = blobs
        self._views = {}

    def _view(self, blob):
        return self._views.setdefault(id(blob), Blob(blob))

    def __len__(self):
        return len(self._engine_blobs)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self._view(blob) for blob in self._engine_blobs[place]]
        return self._view(self._engine_blobs[place])

    def __iter__(self):
        return (self._view(blob) for blob in self._engine_blobs)


def upload():
    """Copy back to their devices what scripts may have written into arrays of blobs."""
    with torch.no_grad():
        for tensor, array in _touched.values():
            tensor.copy_(torch.from_numpy(array))
    _touched.clear()
