"""Net: a graph of layers, built from a NetParameter as BVLC Caffe builds it.

Read `Net.__init__` from the top: what the net's state includes, splits (graph.py), then layer by
layer the blobs, shapes and parameters, then which layers a backward pass has to visit
(building.py). `forward` and `backward` walk over steps; a step is a layer, or several that
fusion.py runs as one.
"""

import torch

from torchcaffe import fusion, graph
from torchcaffe.building import Builder
from torchcaffe.errors import CaffeError, net_title
from torchcaffe.recomputation import Recomputation
from torchcaffe.schema import caffe_pb2
from torchcaffe.step import LayerStep

# BVLC Caffe computes in float32 everywhere; cuDNN would round convolutions' inputs to 10 bits.
torch.backends.cudnn.conv.fp32_precision = "ieee"


class Net:
    """The layers, blobs and parameters of a net.

    `parameter`: a NetParameter with its `state` set; it may be of any age (schema/upgrade.py has
    been applied). `device`: where tensors live.

    nodes            [Node], a layer each, in order
    layers           [Layer], those of the nodes
    blobs            {name: Blob}, in the order of making
    learnable        [Learnable], the parameters that a solver changes, each once
    inputs, outputs  names of blobs that an Input layer makes, and that no layer reads
    steps            [Step], in order; together they are all nodes

    Raises CaffeError for everything that is wrong with the net, naming the layer. BVLC Caffe takes
    two layers with parameters of one name, which its weight files then mix up; here it is wrong.
    What BVLC Caffe overwrites in place is kept here for the gradient, so that it is right also in
    chains of layers in place where BVLC Caffe's is not.
    """

    def __init__(self, parameter, device="cpu"):
        self.device = torch.device(device)
        self.name = parameter.name
        self.phase = parameter.state.phase
        kept, places = graph.filtered(parameter)
        self.parameter, places = graph.with_splits(kept, places, whole=parameter)
        with torch.no_grad():
            built = Builder(self.parameter, places, self.phase, self.device)
        self.nodes, self.blobs, self.learnable = built.nodes, built.blobs, built.learnable
        self.layers = [node.layer for node in self.nodes]
        self.inputs = [
            top for node in self.nodes if node.layer.parameter.type == "Input" for top in node.tops
        ]
        self.outputs = sorted(built.unread)
        self._start_from_loss_weights(self.nodes)
        fusion.pass_masks_as_indices(self.nodes)
        self.steps = fusion.steps(self.nodes)
        self._recomputation = Recomputation(self.nodes, self.phase)

    def reshape(self):
        """Give every blob the shape that follows from the inputs' shapes."""
        for node in self.nodes:
            node.reshape()
        self._start_from_loss_weights(self.nodes)

    @torch.no_grad()
    def forward(self, start=0, end=None, keep=None):
        """Run the nodes from place `start` to `end`, both included; returns the loss.

        The loss is the sum over their tops with a weight, a tensor of no axes. `keep` says whether
        layers remember what `backward` needs; None: in the training phase, and in a net whose
        `backward` was called before. Raises CaffeError for a net without layers.
        """
        if not self.nodes:
            raise CaffeError(
                f"{net_title(self.name)}: has no layers in the phase "
                f"{caffe_pb2.Phase.Name(self.phase)}; write some, or change their include and "
                "exclude rules"
            )
        end = len(self.nodes) - 1 if end is None else end
        keep = self._recomputation.keeps(keep)
        loss = torch.zeros((), device=self.device)
        for step in self._steps_between(start, end, as_they_were=False):
            step.forward(keep)
            self._recomputation.ran(step)
            self._start_from_loss_weights(step.nodes)
            for node in step.nodes:
                for blob, weight in zip(node.layer.top_blobs, node.loss_weights):
                    if weight:
                        loss = loss + (blob.data * blob.diff).sum()
        return loss

    @torch.no_grad()
    def backward(self, start=None, end=0):
        """Run the backward pass from place `start` down to `end`, both included.

        Parameters' gradients are added to; blobs' gradients are replaced.
        """
        start = len(self.nodes) - 1 if start is None else start
        steps = self._steps_between(end, start, as_they_were=True)
        below = [step for step in self.steps if step.nodes[0].place <= start]
        self._recomputation.before_backward(steps, below)
        self._start_from_loss_weights(self.nodes)
        for step in reversed(steps):
            step.backward()

    def _start_from_loss_weights(self, nodes):
        """A loss's gradient is its weight, unless somebody has written another into the blob."""
        for node in nodes:
            for blob, weight in zip(node.layer.top_blobs, node.loss_weights):
                if weight and blob.has_no_diff:
                    blob.set_diff(torch.full(blob.shape, weight, device=self.device))

    def _steps_between(self, start, end, as_they_were):
        """The steps for nodes `start` to `end`; one that reaches over an end is taken apart.

        `as_they_were`: its layers then remember what the step has kept for `backward`.
        """
        for boundary in (start, end + 1):
            for step in self.steps:
                if step.nodes[0].place < boundary <= step.nodes[-1].place:
                    self._take_apart(step, as_they_were)
                    break
        return [
            step
            for step in self.steps
            if start <= step.nodes[0].place and step.nodes[-1].place <= end
        ]

    def _take_apart(self, step, as_it_was):
        place = self.steps.index(step)
        single = [LayerStep(node) for node in step.nodes]
        self.steps[place : place + 1] = single
        if step.kept and as_it_was:
            step.undo()
            for one in single:
                one.forward(True)

    def clear_diffs(self):
        """Set the gradients of all parameters to zero."""
        for learnable in self.learnable:
            learnable.blob.clear_diff()
