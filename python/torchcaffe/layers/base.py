"""What a layer is, and the registry of layer types.

A layer type is a class with the decorator `@layer("Name")` in the file of its family. Most types
only say what they compute (ComputedLayer); those whose gradient is worth writing by hand, for speed
or because BVLC Caffe's is not the derivative, say both directions (Layer).
"""

import difflib

import torch

from torchcaffe.blob import Blob
from torchcaffe.errors import CaffeError, layer_title
from torchcaffe.fillers import fill
from torchcaffe.schema import circulating

LAYERS = {}
"""{type of a layer in prototxt: its class}"""


def layer(*types):
    """Register a class for the layer types that prototxt files call it by.

    Raises CaffeError for a type that a class is registered for already.
    """

    def register(cls):
        for name in types:
            if name in LAYERS:
                raise CaffeError(
                    f"layer type {name!r} is registered by {_full_name(LAYERS[name])} and by "
                    f"{_full_name(cls)}; give one of them another name"
                )
            LAYERS[name] = cls
        return cls

    return register


def make(parameter, phase, device, place):
    """The Layer for a LayerParameter, the net's `place`-th (Layer.place).

    Raises CaffeError for a type that there is not.
    """
    kind = parameter.type
    if kind not in LAYERS:
        near = difflib.get_close_matches(kind, LAYERS, n=3, cutoff=0.5)
        there = f"there are {', '.join(sorted(LAYERS))}"
        hint = f"did you mean {' or '.join(near)}?" if near else there
        title = layer_title(parameter.name, kind, place)
        fork = circulating.about_type(kind)
        raise CaffeError(
            f"{title}: its type {fork}" if fork else f"{title}: no layer type {kind!r}; {hint}"
        )
    made = LAYERS[kind](parameter, phase, device)
    made.place = place
    return made


class Layer:
    """One layer of a net.

    The net calls `setup` once with the bottoms' shapes, then `reshape` before the first and after
    each change of a bottom's shape, `forward` for each pass, and `backward` for a pass that was
    kept. Tensors are float32, of the shapes of the blobs and in any memory order. A bottom's tensor
    must not be written to.
    """

    bottoms = (1, 1)
    """The least and the greatest number of bottoms; None: any number."""

    tops = (1, 1)
    """The least and the greatest number of tops; None: any number."""

    automatic_tops = 0
    """To how many tops the net completes those that the prototxt names (BVLC's AutoTopBlobs)."""

    loss_weight = 0
    """The loss_weight of the first top where the prototxt gives none; 1 for losses."""

    ignored_by_force_backward = ()
    """Places of bottoms that get no gradient even with force_backward (labels)."""

    reads_bottoms = True
    """Whether `forward` is called; if not, what nobody else reads is not computed."""

    takes_index_mask = False
    """Whether a bottom that is the mask of a max pooling may be int64, as PyTorch has it."""

    place = None
    """Which layer of the net's text it is, from 1; None of a Split that the net has inserted."""

    def __init__(self, parameter, phase, device):
        self.parameter = parameter
        self.name = parameter.name
        self.phase = phase
        self.device = torch.device(device)
        self.params = []
        """The parameter Blobs, in the order of .caffemodel files."""
        self.param_propagate_down = []
        """For each of params whether its gradient is wanted; the net sets it."""
        self.bottom_blobs = []
        self.top_blobs = []
        """The net's Blobs, for layers (Python, HDF5Output) whose code works on blobs."""

    def setup(self, shapes):
        """Check the parameters and make the parameter blobs, for bottoms of these shapes."""

    def reshape(self, shapes):
        """The tops' shapes, for the bottoms'. Raises CaffeError for shapes that do not fit."""
        raise NotImplementedError

    def forward(self, bottoms, keep):
        """The tops' tensors for the bottoms'. `keep` says whether `backward` will be called."""
        raise NotImplementedError

    def backward(self, top_diffs, propagate_down):
        """The bottoms' gradients (None where propagate_down is false); adds those of params."""
        raise NotImplementedError

    def forget_last_pass(self):
        """Called before the last pass is run again on the same bottoms: undo what it has changed.

        For layers whose passes depend on the ones before.
        """

    def add_parameter(self, shape, filler=None):
        """Append a parameter Blob, filled (zeros without a filler). Call from `setup`."""
        try:
            blob = Blob(shape, self.device)
        except CaffeError as error:
            self.fail(f"its parameter {len(self.params)} would be {error}")
        if filler is not None:
            try:
                fill(blob, filler)
            except CaffeError as error:
                self.fail(str(error))
        self.params.append(blob)
        self.param_propagate_down.append(True)
        return blob

    def canonical_axis(self, axis, axes):
        """`axis` counted from the front, for a blob of `axes` axes; fails when out of range."""
        if not -axes <= axis < axes:
            self.fail(f"axis {axis} is out of range for a bottom of {axes} axes")
        return axis % axes

    def no_gradient(self, propagate_down):
        """What `backward` of a layer without a gradient returns; fails where one is wanted."""
        self.check(
            not propagate_down[0],
            "has no gradient, but parameters below it learn from a loss above it; give "
            "propagate_down: false here, or lr_mult: 0 to those parameters",
        )
        return [None]

    @property
    def shown(self):
        """The name, or the place and type of a layer without one, for messages."""
        return self.name or f"#{self.place} ({self.parameter.type})"

    def fail(self, message):
        """Raise a CaffeError that names this layer."""
        raise CaffeError(f"{layer_title(self.name, self.parameter.type, self.place)}: {message}")

    def check(self, condition, message):
        if not condition:
            self.fail(message)


class ComputedLayer(Layer):
    """A layer whose gradient PyTorch derives from `compute`."""

    def compute(self, bottoms, params):
        """The tops' tensors (a tensor or a sequence), by operations that PyTorch differentiates."""
        raise NotImplementedError

    def forward(self, bottoms, keep):
        params = [blob.data for blob in self.params]
        if not keep:
            return _sequence(self.compute(bottoms, params))
        with torch.enable_grad():
            # `.data` and not `.detach()`: a parameter may change before `backward`.
            self._inputs = [tensor.data.requires_grad_() for tensor in (*bottoms, *params)]
            self._outputs = _sequence(
                self.compute(self._inputs[: len(bottoms)], self._inputs[len(bottoms) :])
            )
        return [tensor.detach() for tensor in self._outputs]

    def backward(self, top_diffs, propagate_down):
        wanted = [*propagate_down, *self.param_propagate_down]
        outputs = [
            (output, diff) for output, diff in zip(self._outputs, top_diffs) if output.requires_grad
        ]
        inputs = [tensor for tensor, want in zip(self._inputs, wanted) if want]
        gradients = [None] * len(inputs)
        if outputs and inputs:
            gradients = torch.autograd.grad(
                [output for output, _ in outputs],
                inputs,
                [diff for _, diff in outputs],
                allow_unused=True,
                retain_graph=True,
            )
        gradients = iter(gradients)
        all_gradients = [
            (torch.zeros_like(tensor) if (found := next(gradients)) is None else found)
            if want
            else None
            for tensor, want in zip(self._inputs, wanted)
        ]
        count = len(propagate_down)
        for blob, gradient in zip(self.params, all_gradients[count:]):
            if gradient is not None:
                blob.add_diff(gradient)
        return all_gradients[:count]


def _full_name(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


def _sequence(tensors):
    return [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
