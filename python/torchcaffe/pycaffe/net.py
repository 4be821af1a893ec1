"""Net as pycaffe has it, over torchcaffe's own."""

import collections
import os

import numpy as np

from torchcaffe import weights as weight_files
from torchcaffe.arrays import Blob, Blobs, upload
from torchcaffe.errors import CaffeError
from torchcaffe.net import Net as _Net
from torchcaffe.pycaffe import engine
from torchcaffe.schema import read


class Net:
    """A net from a prototxt file: `Net(file, phase, level=0, stages=None, weights=None)`.

    Also `Net(file, weights, phase)`, the older form. phase: caffe.TRAIN or caffe.TEST; level and
    stages choose layers by their include and exclude rules; weights: a .caffemodel or .h5 file.

    blobs, params             {name: Blob}, {layer: its parameter blobs}, in the net's order
    inputs, outputs           names of the blobs that are fed, and of those that nothing reads
    layers, layer_dict        layers with `type` and `blobs`; for Python layers the object itself
    bottom_names, top_names   {layer: names of blobs}
    blob_loss_weights         {blob: its weight in the loss}

    Raises CaffeError, which is a RuntimeError, as BVLC Caffe raises for a file that is missing, and
    TypeError, as there, without a phase.
    """

    def __init__(self, network_file, *arguments, **named):
        if arguments and isinstance(arguments[0], str | os.PathLike):
            path, *rest = arguments
            self._build(network_file, *rest, weights=path, **named)
        else:
            self._build(network_file, *arguments, **named)

    def _build(self, network_file, phase=None, level=0, stages=None, weights=None):
        if phase is None:
            raise TypeError(
                "caffe.Net: the phase is missing; write caffe.Net(network_file, caffe.TEST), with "
                "weights caffe.Net(network_file, caffe.TEST, weights=...), or caffe.TRAIN"
            )
        for path in (network_file, weights):
            if path is not None and not os.path.exists(path):
                raise CaffeError(f"Could not open file {path}")
        parameter = read.net(network_file)
        parameter.state.phase = phase
        parameter.state.level = level
        parameter.state.stage.extend(stages or ())
        self._wrap(_Net(parameter, engine.device()))
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def _of(cls, net):
        """The pycaffe Net of an engine's, for instance a solver's."""
        return cls.__new__(cls)._wrap(net)

    def _wrap(self, net):
        self._net = net
        self._blob_names = _names(net)
        self._blobs = [Blob(blob) for blob in net.blobs.values()]
        self.blobs = collections.OrderedDict(zip(self._blob_names, self._blobs))
        self.layers = [
            NetLayer(layer) if (instance := getattr(layer, "instance", None)) is None else instance
            for layer in net.layers
        ]
        self._layer_names = [layer.name for layer in net.layers]
        self.layer_dict = collections.OrderedDict(zip(self._layer_names, self.layers))
        self.params = collections.OrderedDict(
            (layer.name, Blobs(layer.params)) for layer in net.layers if layer.params
        )
        self.inputs, self.outputs = list(net.inputs), list(net.outputs)
        shown = dict(zip(net.blobs, self._blob_names))
        self.bottom_names = collections.OrderedDict(
            (node.layer.name, list(node.bottoms)) for node in net.nodes
        )
        self.top_names = collections.OrderedDict(
            (node.layer.name, [shown[top] for top in node.tops]) for node in net.nodes
        )
        weights = dict.fromkeys(net.blobs, 0.0)
        for node in net.nodes:
            weights.update(zip(node.tops, node.loss_weights))
        self._blob_loss_weights = list(weights.values())
        self.blob_loss_weights = collections.OrderedDict(
            zip(self._blob_names, self._blob_loss_weights)
        )
        self._inputs = [self._blob_names.index(name) for name in self.inputs]
        self._outputs = [self._blob_names.index(name) for name in self.outputs]
        self._callbacks = {"forward": ([], []), "backward": ([], [])}
        return self

    def _bottom_ids(self, place):
        return self._ids(self._net.nodes[place].bottoms)

    def _top_ids(self, place):
        return self._ids(self._net.nodes[place].tops)

    def _ids(self, names):
        blobs = list(self._net.blobs)
        return [blobs.index(name) for name in names]

    def _place(self, layer):
        if layer not in self._layer_names:
            raise ValueError(f"no layer {layer!r} in the net")
        return self._layer_names.index(layer)

    # ---- Running

    def forward(self, blobs=None, start=None, end=None, **inputs):
        """Run the layers from `start` to `end` (names; both included); all by default.

        inputs: {input blob: array}, all inputs or none, to be copied in first.
        Returns {name: array} of the outputs (of the tops of `end` if it is given) and of `blobs`.
        """
        first = 0 if start is None else self._place(start)
        last = len(self.layers) - 1 if end is None else self._place(end)
        wanted = {*(self.outputs if end is None else self.top_names[end]), *(blobs or ())}
        if inputs:
            self._fill(inputs, self.inputs, "data", "inputs")
        self._forward(first, last)
        return {name: self.blobs[name].data for name in wanted}

    def backward(self, diffs=None, start=None, end=None, **top_diffs):
        """Run the backward pass from layer `start` down to `end` (names; both included).

        top_diffs: {output blob: array}, all outputs or none; by default the losses' own.
        Returns {name: gradient} of the inputs (of the bottoms of `end` if given) and of `diffs`.
        """
        first = len(self.layers) - 1 if start is None else self._place(start)
        last = 0 if end is None else self._place(end)
        wanted = {*(self.inputs if end is None else self.bottom_names[end]), *(diffs or ())}
        if top_diffs:
            self._fill(top_diffs, self.outputs, "diff", "outputs")
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in wanted}

    def _fill(self, arrays, names, which, what):
        if set(arrays) != set(names):
            raise Exception(f"got arrays for {sorted(arrays)}, expected the net's {what} {names}")
        for name, array in arrays.items():
            count = self.blobs[name].shape[0]
            if array.shape[0] != count:
                raise Exception(f"{name}: got {array.shape[0]} items, expected a batch of {count}")
            getattr(self.blobs[name], which)[...] = array

    def _forward(self, first, last):
        """Run by places; returns the loss."""
        upload()
        return float(self._net.forward(first, last))

    def _backward(self, first, last):
        upload()
        self._net.backward(first, last)

    def forward_all(self, blobs=None, **inputs):
        """Run `forward` over as many items as the arrays have, in batches; the last one is padded.

        Returns {name: array of all items} of the outputs and of `blobs`.
        """
        gathered = {name: [] for name in {*self.outputs, *(blobs or ())}}
        for batch in self._batch(inputs):
            for name, array in self.forward(blobs=blobs, **batch).items():
                gathered[name].extend(array.copy())
        return _without_padding(gathered, _count(inputs))

    def forward_backward_all(self, blobs=None, diffs=None, **arrays):
        """As `forward_all`, with the backward pass; arrays: of inputs, and of outputs' gradients.

        Returns ({name: values}, {name: gradients}).
        """
        forward = self._batch({name: arrays[name] for name in self.inputs if name in arrays})
        backward = self._batch({name: arrays[name] for name in self.outputs if name in arrays})
        values = {name: [] for name in {*self.outputs, *(blobs or ())}}
        gradients = {name: [] for name in {*self.inputs, *(diffs or ())}}
        backward = iter(backward)
        for batch in forward:
            for name, array in self.forward(blobs=blobs, **batch).items():
                values[name].extend(array.copy())
            for name, array in self.backward(diffs=diffs, **next(backward, {})).items():
                gradients[name].extend(array.copy())
        count = _count(arrays)
        return _without_padding(values, count), _without_padding(gradients, count)

    def _batch(self, arrays):
        """Yield {name: array} of the net's batch size; the last one is filled up with zeros."""
        if not arrays:
            return
        size = next(iter(self.blobs.values())).shape[0]
        for first in range(0, _count(arrays), size):
            batch = {
                name: np.asarray(array[first : first + size]) for name, array in arrays.items()
            }
            missing = size - _count(batch)
            yield {
                name: np.concatenate([array, np.zeros((missing, *array.shape[1:]))])
                if missing
                else array
                for name, array in batch.items()
            }

    def reshape(self):
        """Give all blobs the shapes that follow from the inputs'."""
        upload()
        self._net.reshape()

    def set_input_arrays(self, data, labels):
        """Give the net's first layer, a MemoryData layer, its values.

        data: float32, N x channels x height x width, N a multiple of the batch size; labels:
        float32, N or N x 1 x 1 x 1. They are not copied.
        """
        layer = self._net.layers[0]
        if layer.parameter.type != "MemoryData":
            raise CaffeError("set_input_arrays needs a MemoryData layer as the net's first layer")
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        for name, array in (("data", data), ("labels", labels)):
            if array.dtype != np.float32 or array.ndim != 4 or not array.flags.c_contiguous:
                raise CaffeError(f"{name} must be float32, of 4 axes and C contiguous")
        layer.set_input_arrays(data, labels)

    def before_forward(self, function):
        """Call `function(place of the layer)` before each layer's forward pass."""
        self._add_callback("forward", 0, function)

    def after_forward(self, function):
        self._add_callback("forward", 1, function)

    def before_backward(self, function):
        self._add_callback("backward", 0, function)

    def after_backward(self, function):
        self._add_callback("backward", 1, function)

    def _add_callback(self, direction, place, function):
        if not any(self._callbacks[direction]):
            # The engine's own net runs layer by layer from now on, also within a solver's step.
            run = getattr(self._net, direction)
            wrapped = self._each_forward if direction == "forward" else self._each_backward
            setattr(self._net, direction, lambda *range, **more: wrapped(run, *range, **more))
        self._callbacks[direction][place].append(function)

    def _each_forward(self, run, start=0, end=None, keep=None):
        before, after = self._callbacks["forward"]
        loss = 0
        for place in range(start, len(self.layers) if end is None else end + 1):
            for function in before:
                function(place)
            loss = loss + run(place, place, keep=keep)
            for function in after:
                function(place)
        return loss

    def _each_backward(self, run, start=None, end=0):
        before, after = self._callbacks["backward"]
        start = len(self.layers) - 1 if start is None else start
        for place in range(start, end - 1, -1):
            for function in before:
                function(place)
            if self._net.nodes[place].needs_backward:
                run(place, place)
            for function in after:
                function(place)

    # ---- Parameters

    def copy_from(self, weights):
        """Copy the parameters of a .caffemodel or .h5 file into the layers of the same names."""
        upload()
        weight_files.copy_from(self._net, weights)

    def share_with(self, other):
        """Use the memory of another net's parameters in the layers of the same names."""
        upload()
        weight_files.share(self._net, other._net)

    def save(self, path):
        """Write a .caffemodel file."""
        upload()
        weight_files.save(self._net, path)

    def save_hdf5(self, path):
        """Write the parameters as HDF5, for `load_hdf5`, or `copy_from` of a file named *.h5."""
        upload()
        weight_files.save_hdf5(self._net, path)

    def load_hdf5(self, path):
        upload()
        weight_files.load_hdf5(self._net, path)

    def clear_param_diffs(self):
        """Set the gradients of all parameters to zero."""
        upload()
        self._net.clear_diffs()


class NetLayer:
    """A layer of a net as `net.layers` shows it: its `type` and its parameter `blobs`."""

    def __init__(self, layer):
        self.type = layer.parameter.type
        self.blobs = Blobs(layer.params)


def _names(net):
    """The blobs' names; those that no prototxt names have one for all, as in BVLC Caffe.

    There `top_names` and `outputs` then tell other blobs' names, or fail; here they are right.
    """
    automatic = set()
    for node in net.nodes:
        automatic.update(node.tops[len(node.layer.parameter.top) :])
    return ["(automatic)" if name in automatic else name for name in net.blobs]


def _count(arrays):
    return len(next(iter(arrays.values())))


def _without_padding(gathered, count):
    return {name: np.asarray(items)[:count] for name, items in gathered.items()}
