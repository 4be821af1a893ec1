"""Net: a graph of layers, built from a NetParameter as BVLC Caffe builds it.

Read `Net.__init__` from the top: what the net's state includes, splits, then layer by layer the
blobs, shapes and parameters, then which layers a backward pass has to visit. `forward` and
`backward` walk over steps; a step is a layer, or several that fusion.py runs as one.
"""

import collections
import math

import torch

from torchcaffe import fusion, graph, layers
from torchcaffe.blob import Blob
from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2
from torchcaffe.step import LayerStep

# BVLC Caffe computes in float32 everywhere; cuDNN would round convolutions' inputs to 10 bits.
torch.backends.cudnn.conv.fp32_precision = "ieee"


class Net:
    """The layers, blobs and parameters of a net.

    `parameter`: a NetParameter with its `state` set; it may be of any age (schema/upgrade.py has
    been applied). `device`: where tensors live.

    layers           [Layer]
    layer_names      [str]
    blobs            {name: Blob}, in the order of making
    bottom_names, top_names   for each layer the names of its blobs
    parameters       [Blob] of all layers in order, shared ones repeated (BVLC's params)
    learnable        [Blob], each once; lr_mult and decay_mult are lists for them
    inputs, outputs  names of blobs that an Input layer makes, and that no layer reads

    Raises CaffeError for everything that is wrong with the net, naming the layer. BVLC Caffe takes
    two layers of one name, of which its weight files then mix up the parameters; here it is wrong.
    What BVLC Caffe overwrites in place is kept here for the gradient, so that it is right also in
    chains of layers in place where BVLC Caffe's is not.
    """

    def __init__(self, parameter, device="cpu"):
        self.device = torch.device(device)
        self.name = parameter.name
        self.state = parameter.state
        self.phase = parameter.state.phase
        self.parameter = graph.with_splits(graph.filtered(parameter), whole=parameter)
        self.layers, self.layer_names = [], []
        self.blobs = collections.OrderedDict()
        self.bottom_names, self.top_names = [], []
        self.loss_weights = []
        self.parameters, self.parameter_names = [], []
        self.parameter_places = []
        self.learnable, self.lr_mult, self.decay_mult = [], [], []
        self._lr_given, self._decay_given = [], []
        self._owners = {}
        self._propagate_down = []
        self.needs_backward = []
        self._blob_needs_backward = {}
        self._available = {}
        self._backward_was_used = False
        self._overwritten_sources = {}
        _check_names(self.parameter)
        with torch.no_grad():
            for layer_parameter in self.parameter.layer:
                self._add(layer_parameter)
        self._leave_out_what_no_loss_needs()
        if parameter.force_backward:
            self._force_backward()
        self.inputs = [
            top
            for layer, tops in zip(self.layers, self.top_names)
            if layer.parameter.type == "Input"
            for top in tops
        ]
        self.outputs = sorted(self._available)
        self._start_from_loss_weights()
        fusion.pass_masks_as_indices(self)
        self.steps = fusion.steps(self)

    # ---- Building

    def _add(self, parameter):
        """Append a layer: its blobs, parameters and need of a backward pass (BVLC's Net::Init)."""
        if not parameter.HasField("phase"):
            parameter.phase = self.phase
        layer = layers.make(parameter, parameter.phase, self.device)
        if parameter.propagate_down and len(parameter.propagate_down) != len(parameter.bottom):
            layer.fail(
                f"has {len(parameter.propagate_down)} propagate_down for "
                f"{len(parameter.bottom)} bottoms; give one for each or none"
            )
        below_needs = False
        propagate_down = []
        for place, name in enumerate(parameter.bottom):
            needs = self._blob_needs_backward[name]
            below_needs = below_needs or needs
            propagate_down.append(
                parameter.propagate_down[place] if parameter.propagate_down else needs
            )
            self._available.pop(name, None)
        bottoms = [self.blobs[name] for name in parameter.bottom]
        tops = list(parameter.top)
        self._available.update(dict.fromkeys(tops))
        while len(tops) < layer.automatic_tops:
            tops.append(f"(automatic {parameter.name} {len(tops)})")
        _check_count(layer, "bottom", len(bottoms), layer.bottoms)
        _check_count(layer, "top", len(tops), layer.tops)
        for place, name in enumerate(tops):
            if list(parameter.bottom[place : place + 1]) == [name]:
                self._note_overwritten_source(name)
            elif name in self.blobs:
                layer.fail(self._made_twice(name, tops, place))
            else:
                self.blobs[name] = Blob((), self.device)
        layer.bottom_blobs = bottoms
        layer.top_blobs = [self.blobs[name] for name in tops]
        shapes = [blob.shape for blob in bottoms]
        layer.setup(shapes)
        self._reshape_tops(layer)
        self.layers.append(layer)
        self.layer_names.append(layer.name)
        self.bottom_names.append(list(parameter.bottom))
        self.top_names.append(tops)
        if layer.loss_weight and not parameter.loss_weight:
            parameter.loss_weight.append(layer.loss_weight)
        if len(parameter.loss_weight) not in (0, len(tops)):
            layer.fail(
                f"has {len(parameter.loss_weight)} loss_weight for {len(tops)} tops; "
                "give one for each or none"
            )
        self.loss_weights.append(list(parameter.loss_weight) or [0.0] * len(tops))
        needs = below_needs
        for place in range(len(layer.params)):
            spec = parameter.param[place] if place < len(parameter.param) else caffe_pb2.ParamSpec()
            layer.param_propagate_down[place] = spec.lr_mult != 0
            needs = needs or spec.lr_mult != 0
            self._add_parameter(layer, place, spec)
        if len(parameter.param) > len(layer.params):
            layer.fail(f"has {len(parameter.param)} param but only {len(layer.params)} blobs")
        self.needs_backward.append(needs)
        self._propagate_down.append(propagate_down)
        for name in tops:
            self._blob_needs_backward[name] = needs

    def _made_twice(self, name, tops, place):
        if name in tops[:place]:
            return f"two of its tops are named {name!r}; give one another name"
        makers = zip(self.layer_names, self.top_names)
        maker = next(layer for layer, made in makers if name in made)
        return (
            f"its top {name!r} is already made by layer {maker}; give one of the two another name "
            "(in place works only for the bottom of the same place, if no other layer reads it)"
        )

    def _note_overwritten_source(self, name):
        """A layer works in place on what a layer without bottoms makes: data, or an input."""
        for tops, bottoms in zip(self.top_names, self.bottom_names):
            if name in tops and not bottoms:
                self._overwritten_sources[name] = None

    def _reshape_tops(self, layer):
        layer.shapes = [blob.shape for blob in layer.bottom_blobs]
        shapes = layer.reshape(layer.shapes)
        if len(shapes) != len(layer.top_blobs):
            layer.fail(f"makes {len(shapes)} tops, but {len(layer.top_blobs)} are named")
        for blob, shape in zip(layer.top_blobs, shapes):
            try:
                blob.reshape(shape)
            except CaffeError as error:
                layer.fail(f"its top would be {error}")

    def _add_parameter(self, layer, place, spec):
        """Take over a parameter blob, or share it with the layer that had its name first."""
        blob = layer.params[place]
        self.parameters.append(blob)
        self.parameter_names.append(spec.name or str(place))
        self.parameter_places.append((len(self.layers) - 1, place))
        owner = self._owners.get(spec.name) if spec.name else None
        if owner is None:
            if spec.name:
                self._owners[spec.name] = (len(self.learnable), layer.name)
            self.learnable.append(blob)
            self.lr_mult.append(spec.lr_mult)
            self.decay_mult.append(spec.decay_mult)
            self._lr_given.append(spec.HasField("lr_mult"))
            self._decay_given.append(spec.HasField("decay_mult"))
            return
        index, owner_name = owner
        owned = self.learnable[index]
        permissive = spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE
        if blob.count != owned.count if permissive else blob.shape != owned.shape:
            layer.fail(
                f"shares param {spec.name!r} with layer {owner_name}, of shape "
                f"{shape_text(owned.shape)}, and its own is {shape_text(blob.shape)}; "
                "make them equal"
                + ("" if permissive else " or give share_mode: PERMISSIVE")
            )
        if blob.shape == owned.shape:
            layer.params[place] = owned
            self.parameters[-1] = owned
        else:
            blob.share(owned)
        for given, values, field in (
            (self._lr_given, self.lr_mult, "lr_mult"),
            (self._decay_given, self.decay_mult, "decay_mult"),
        ):
            if spec.HasField(field):
                if given[index] and values[index] != getattr(spec, field):
                    layer.fail(
                        f"param {spec.name!r} has {field} {getattr(spec, field):g} and "
                        f"{values[index]:g} in layer {owner_name}; they share it, give one"
                    )
                given[index] = True
                values[index] = getattr(spec, field)

    def _leave_out_what_no_loss_needs(self):
        """Drop the backward pass of layers that no loss depends on (Net::Init's second walk)."""
        under_loss, skipped = set(), set()
        for i in reversed(range(len(self.layers))):
            contributes = any(self.loss_weights[i]) or any(
                top in under_loss for top in self.top_names[i]
            )
            skip = all(top in skipped for top in self.top_names[i])
            if self.needs_backward[i] and skip:
                self.needs_backward[i] = False
                self._propagate_down[i] = [False] * len(self._propagate_down[i])
            if not contributes:
                self.needs_backward[i] = False
            for place, bottom in enumerate(self.bottom_names[i]):
                if contributes:
                    under_loss.add(bottom)
                else:
                    self._propagate_down[i][place] = False
                if not self._propagate_down[i][place]:
                    skipped.add(bottom)

    def _force_backward(self):
        for i, layer in enumerate(self.layers):
            self.needs_backward[i] = True
            self._propagate_down[i] = [
                wanted or place not in layer.ignored_by_force_backward
                for place, wanted in enumerate(self._propagate_down[i])
            ]
            layer.param_propagate_down = [True] * len(layer.params)

    # ---- Running

    def reshape(self):
        """Give every blob the shape that follows from the inputs' shapes."""
        for layer in self.layers:
            self._reshape_tops(layer)
        self._start_from_loss_weights()

    @torch.no_grad()
    def forward(self, start=0, end=None, keep=None):
        """Run the layers from place `start` to `end`, both included; returns the loss.

        The loss is the weighted sum over their tops, a tensor of no axes. `keep` says whether
        layers remember what `backward` needs; None: in the training phase, and in a net whose
        `backward` was called before.
        """
        end = len(self.layers) - 1 if end is None else end
        if keep is None:
            keep = self.phase == caffe_pb2.TRAIN or self._backward_was_used
        steps = self._steps_between(start, end, as_they_were=False)
        loss = torch.zeros((), device=self.device)
        for step in steps:
            step.forward(keep)
            step.kept = keep
            for i in step.places:
                if not keep and not self.bottom_names[i]:
                    self._remember_overwritten(i)
                for blob, weight in zip(self.layers[i].top_blobs, self.loss_weights[i]):
                    if weight:
                        loss = loss + weight * blob.data.sum()
        return loss

    @torch.no_grad()
    def backward(self, start=None, end=0):
        """Run the backward pass from place `start` down to `end`, both included.

        Parameters' gradients are added to; blobs' gradients are replaced.
        """
        start = len(self.layers) - 1 if start is None else start
        self._backward_was_used = True
        steps = self._steps_between(end, start, as_they_were=True)
        if not all(step.kept for step in steps):
            self._forward_again(start)
        self._start_from_loss_weights()
        for step in reversed(steps):
            if any(self.needs_backward[i] for i in step.places):
                step.backward()

    def _start_from_loss_weights(self):
        """A loss's gradient is its weight, unless somebody has written another into the blob."""
        for layer, weights in zip(self.layers, self.loss_weights):
            for blob, weight in zip(layer.top_blobs, weights):
                if weight and blob.has_no_diff:
                    blob.set_diff(torch.full(blob.shape, weight, device=self.device))

    def _steps_between(self, start, end, as_they_were):
        """The steps for layers `start` to `end`; one that reaches over an end is taken apart.

        `as_they_were`: its layers then remember what the step has kept for `backward`.
        """
        for boundary in (start, end + 1):
            for step in self.steps:
                if step.places[0] < boundary <= step.places[-1]:
                    self._take_apart(step, as_they_were)
                    break
        return [step for step in self.steps if start <= step.places[0] and step.places[-1] <= end]

    def _take_apart(self, step, as_it_was):
        place = self.steps.index(step)
        single = [LayerStep(self, i) for i in step.places]
        self.steps[place : place + 1] = single
        if step.kept and as_it_was:
            step.undo()
            for one in single:
                one.forward(True)
                one.kept = True

    def _remember_overwritten(self, place):
        """Before a layer works in place on a source's top, the values that it had."""
        for name in self.top_names[place]:
            if name in self._overwritten_sources:
                self._overwritten_sources[name] = self.blobs[name].data.clone()

    def _forward_again(self, end):
        """Run the layers up to `end` that have not kept their pass once more; sources stay."""
        for name, values in self._overwritten_sources.items():
            if values is not None:
                self.blobs[name].set_data(values)
        for step in self.steps:
            if step.places[0] <= end and not step.kept and self.bottom_names[step.places[0]]:
                for i in step.places:
                    self.layers[i].forget_last_pass()
                step.forward(True)
                step.kept = True

    def propagate_down(self, place):
        return self._propagate_down[place]

    def clear_diffs(self):
        """Set the gradients of all parameters to zero."""
        for blob in self.learnable:
            blob.clear_diff()


def shape_text(shape):
    """`64 3 5 5 (4800)`, as BVLC Caffe writes shapes."""
    return " ".join([*map(str, shape), f"({math.prod(shape)})"])


def _check_names(net):
    seen = set()
    for layer in net.layer:
        if layer.name and layer.name in seen and layer.type != "Split":
            raise CaffeError(
                f"layer {layer.name}: there are two layers of this name in this phase; "
                "rename one or give them rules (include { phase: ... })"
            )
        seen.add(layer.name)


def _check_count(layer, what, got, limits):
    least, most = limits
    if (least is not None and got < least) or (most is not None and got > most):
        expected = (
            f"{least}"
            if least == most
            else f"at least {least}"
            if most is None
            else f"{least or 0} to {most}"
        )
        layer.fail(f"has {got} {what}s, expected {expected}")
