"""Net and Blob as pycaffe has them, over torchcaffe's own."""

import collections

import numpy as np
from google.protobuf import text_format

from torchcaffe.errors import CaffeError
from torchcaffe.net import Net as _Net
from torchcaffe.schema import caffe_pb2


class Blob:
    """A blob with `data` and `diff` as numpy views, float32, which may be written to."""

    def __init__(self, blob):
        self._blob = blob

    @property
    def data(self):
        return self._blob.pin_data().numpy()

    @property
    def diff(self):
        return self._blob.pin_diff().numpy()

    @property
    def shape(self):
        return list(self._blob.shape)

    @property
    def count(self):
        return self._blob.count

    def reshape(self, *shape):
        self._blob.reshape(shape)


class Net:
    """pycaffe's Net(file, phase, level, stages, weights)."""

    def __init__(self, network_file, phase, level=0, stages=(), weights=None):
        parameter = caffe_pb2.NetParameter()
        with open(network_file) as file:
            text_format.Parse(file.read(), parameter)
        parameter.state.phase = phase
        parameter.state.level = level
        parameter.state.stage.extend(stages or ())
        self._wrap(_Net(parameter))

    def _wrap(self, net):
        self._net = net
        self.blobs = collections.OrderedDict((n, Blob(b)) for n, b in net.blobs.items())
        self.params = collections.OrderedDict(
            (layer.name, [Blob(b) for b in layer.params]) for layer in net.layers if layer.params
        )
        self.inputs, self.outputs = net.inputs, net.outputs
        return self

    def forward(self):
        self._net.forward()
        return {name: self.blobs[name].data for name in self.outputs}

    def backward(self):
        self._net.backward()
        return {}

    def reshape(self):
        self._net.reshape()

    def set_input_arrays(self, data, labels):
        """Give a net whose first layer is MemoryData its arrays (see MemoryData.set_arrays).

        `labels` may also have one axis. Raises CaffeError if there is no such layer.
        """
        first = self._net.layers[0] if self._net.layers else None
        if first is None or first.parameter.type != "MemoryData":
            raise CaffeError("set_input_arrays: the net's first layer is not a MemoryData layer")
        if getattr(labels, "ndim", None) == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        first.set_arrays(data, labels)
