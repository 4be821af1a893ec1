"""From a net's text to its nodes: blobs, parameters, and which gradients are wanted.

What BVLC Caffe's Net::Init does behind the rules of state and the splits (graph.py).
"""

import collections

from torchcaffe import layers
from torchcaffe.blob import Blob, shape_text
from torchcaffe.node import Learnable, Node
from torchcaffe.schema import caffe_pb2


class Builder:
    """The nodes of a NetParameter with splits, made layer by layer.

    nodes       [Node]
    blobs       {name: Blob}, in the order of making
    learnable   [Learnable]
    unread      names of the blobs that no layer reads

    `places`: of its layers in the net's text (graph.filtered). `phase`: of the layers that give
    none. `device`: where tensors live. Raises CaffeError as Net.
    """

    def __init__(self, parameter, places, phase, device):
        self._phase, self._device = phase, device
        self.nodes, self.learnable = [], []
        self.blobs = collections.OrderedDict()
        self.unread = set()
        self._needing = set()  # names of the blobs above a parameter to be learned
        self._shared = {}  # name of a parameter -> Learnable
        self._with_parameters = set()  # names of layers
        for layer_parameter, place in zip(parameter.layer, places, strict=True):
            self._add(layer_parameter, place)
        self._leave_out_what_no_loss_needs()
        if parameter.force_backward:
            self._force_backward()

    def _add(self, parameter, place):
        """Append a node: its blobs, parameters and need of a backward pass."""
        if not parameter.HasField("phase"):
            parameter.phase = self._phase
        layer = layers.make(parameter, parameter.phase, self._device, place)
        node = Node(len(self.nodes), layer, *self._connect(layer))
        layer.setup([blob.shape for blob in layer.bottom_blobs])
        self._check_name(layer)
        node.reshape()
        self.nodes.append(node)
        self._weigh(node)
        node.propagate_down = list(parameter.propagate_down) or [
            bottom in self._needing for bottom in node.bottoms
        ]
        learns = [
            self._add_parameter(layer, place, spec) for place, spec in enumerate(_specs(layer))
        ]
        node.needs_backward = any(learns) or any(bottom in self._needing for bottom in node.bottoms)
        if node.needs_backward:
            self._needing.update(node.tops)

    def _check_name(self, layer):
        """Parameters are found by their layer's name, in files and by a solver's test nets."""
        if not layer.params or not layer.name:
            return
        if layer.name in self._with_parameters:
            layer.fail(
                "another layer of this name has parameters too, and a caffemodel would mix them "
                "up; rename one or give them rules (include { phase: ... })"
            )
        self._with_parameters.add(layer.name)

    def _connect(self, layer):
        """Give a layer the net's blobs; the names of its bottoms and tops."""
        parameter = layer.parameter
        bottoms, tops = list(parameter.bottom), list(parameter.top)
        if parameter.propagate_down and len(parameter.propagate_down) != len(bottoms):
            layer.fail(
                f"has {len(parameter.propagate_down)} propagate_down for "
                f"{len(bottoms)} bottoms; give one for each or none"
            )
        self.unread.difference_update(bottoms)
        self.unread.update(tops)
        while len(tops) < layer.automatic_tops:
            tops.append(f"(automatic {len(self.nodes)} {len(tops)})")
        _check_count(layer, "bottom", len(bottoms), layer.bottoms)
        _check_count(layer, "top", len(tops), layer.tops)
        layer.bottom_blobs = [self.blobs[name] for name in bottoms]
        for place, name in enumerate(tops):
            in_place = bottoms[place : place + 1] == [name]
            if not in_place and name in self.blobs:
                layer.fail(self._made_twice(name, tops, place))
            self.blobs.setdefault(name, Blob((), self._device))
        layer.top_blobs = [self.blobs[name] for name in tops]
        return bottoms, tops

    def _made_twice(self, name, tops, place):
        if name in tops[:place]:
            return f"two of its tops are named {name!r}; give one another name"
        maker = next(node.layer.shown for node in self.nodes if name in node.tops)
        return (
            f"its top {name!r} is already made by layer {maker}; give one of the two another name "
            "(in place works only for the bottom of the same place, if no other layer reads it)"
        )

    def _weigh(self, node):
        """The loss_weight of the tops: the text's, or the layer type's of the first one."""
        layer, given = node.layer, node.layer.parameter.loss_weight
        if layer.loss_weight and not given:
            given.append(layer.loss_weight)
        if len(given) not in (0, len(node.tops)):
            layer.fail(
                f"has {len(given)} loss_weight for {len(node.tops)} tops; give one for each or none"
            )
        if given:
            node.loss_weights = list(given)

    def _add_parameter(self, layer, place, spec):
        """Take over a parameter blob, or share it with the layer that had its name first.

        Returns whether its gradient is wanted.
        """
        wanted = layer.param_propagate_down[place] = spec.lr_mult != 0
        if spec.name not in self._shared:
            learnable = Learnable(layer.params[place], layer.shown, spec)
            self.learnable.append(learnable)
            if spec.name:
                self._shared[spec.name] = learnable
            return wanted
        blob, learnable = layer.params[place], self._shared[spec.name]
        owned = learnable.blob
        permissive = spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE
        if blob.count != owned.count if permissive else blob.shape != owned.shape:
            layer.fail(
                f"shares param {spec.name!r} with layer {learnable.owner}, of shape "
                f"{shape_text(owned.shape)}, and its own is {shape_text(blob.shape)}; "
                "make them equal" + ("" if permissive else " or give share_mode: PERMISSIVE")
            )
        if blob.shape == owned.shape:
            layer.params[place] = owned
        else:
            blob.share(owned)
        learnable.shared_by(layer, spec)
        return wanted

    def _leave_out_what_no_loss_needs(self):
        """Drop the backward pass of layers that no loss depends on (Net::Init's second walk)."""
        under_loss, skipped = set(), set()
        for node in reversed(self.nodes):
            contributes = any(node.loss_weights) or not under_loss.isdisjoint(node.tops)
            if node.needs_backward and skipped.issuperset(node.tops):
                node.needs_backward = False
                node.propagate_down = [False] * len(node.bottoms)
            if contributes:
                under_loss.update(node.bottoms)
            else:
                node.needs_backward = False
                node.propagate_down = [False] * len(node.bottoms)
            skipped.update(
                bottom for bottom, wanted in zip(node.bottoms, node.propagate_down) if not wanted
            )

    def _force_backward(self):
        for node in self.nodes:
            node.needs_backward = True
            node.propagate_down = [
                wanted or place not in node.layer.ignored_by_force_backward
                for place, wanted in enumerate(node.propagate_down)
            ]
            node.layer.param_propagate_down = [True] * len(node.layer.params)


def _specs(layer):
    """A ParamSpec for each parameter of a layer. Fails if the text has more."""
    given = list(layer.parameter.param)
    if len(given) > len(layer.params):
        layer.fail(f"has {len(given)} param but only {len(layer.params)} blobs")
    return given + [caffe_pb2.ParamSpec()] * (len(layer.params) - len(given))


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
