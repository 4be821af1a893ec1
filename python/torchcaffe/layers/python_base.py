"""Layer: the base of layers that are written in Python, as `caffe.Layer`."""

from torchcaffe.arrays import Blobs


class LayerBlobs(Blobs):
    """The parameter blobs of a Python layer, which it makes itself."""

    def __init__(self, layer):
        super().__init__(layer.params)
        self._layer = layer

    def add_blob(self, *shape):
        """Append a blob of zeros; call it from `setup`."""
        self._layer.add_parameter(shape)


class Layer:
    """What a class derives from that a net names in `python_param { module layer param_str }`.

    The net calls `setup(bottom, top)` once, `reshape(bottom, top)` before each forward pass,
    `forward(bottom, top)` and `backward(top, propagate_down, bottom)`; bottom and top are lists of
    Blobs. It may use `self.param_str`, `self.phase` and `self.blobs` (`self.blobs.add_blob(2, 3)`
    makes a parameter, whose gradient `backward` adds to `self.blobs[0].diff`).

    A class may have, for speed, `forward_tensors(self, bottoms)` that returns the tops and
    `backward_tensors(self, top_diffs, propagate_down)` that returns the bottoms' gradients, None
    where none is wanted; both work on torch tensors of any device and memory order. If both are
    there they are used instead of `forward` and `backward`, and `reshape` runs only when a
    bottom's shape has changed; it should then ask for `blob.shape` rather than `blob.data.shape`,
    which would keep the blob in the memory order of numpy.
    """

    param_str = ""

    def __init__(self, engine_layer):
        self._blobs = LayerBlobs(engine_layer)
        self.phase = engine_layer.phase

    @property
    def blobs(self):
        return self._blobs

    @property
    def type(self):
        return "Python"

    def setup(self, bottom, top):
        """Read `self.param_str`, check the bottoms."""

    def reshape(self, bottom, top):
        """Give the tops their shapes."""
        raise NotImplementedError("a Python layer must have reshape(self, bottom, top)")

    def forward(self, bottom, top):
        """Write `top[...].data`."""
        raise NotImplementedError("a Python layer must have forward(self, bottom, top)")

    def backward(self, top, propagate_down, bottom):
        """Write `bottom[...].diff`."""
        raise NotImplementedError(
            "a Python layer whose bottoms need gradients must have "
            "backward(self, top, propagate_down, bottom)"
        )
