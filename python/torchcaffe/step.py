"""Steps: the parts of a net that run at once, and what the net may ask of each."""


class Step:
    """Nodes of a net, one after the other, that run at once.

    nodes   [Node]
    kept    bool, whether the last `forward` has kept what `backward` needs; only this class sets it

    A subclass says how they run (`_forward`, `_backward`), and one of several nodes adds to `undo`.
    """

    def __init__(self, nodes):
        self.nodes = nodes
        self.kept = False

    def forward(self, keep):
        """Run the nodes on the net's blobs; `keep` says whether `backward` may follow."""
        self.kept = False
        self._forward(keep)
        self.kept = keep

    def backward(self):
        """Set the gradients of the bottoms and add to those of the parameters.

        Only after a forward pass that was kept; any number of times. It does nothing where the net
        needs no gradient of these nodes.
        """
        if any(node.needs_backward for node in self.nodes):
            self._backward()

    def undo(self):
        """Take back what the last forward pass has changed beside its tops: statistics, states.

        The nodes can then run once more. A step of several nodes also gives its bottoms back what
        it has written over, since each node may run by itself then.
        """
        for node in self.nodes:
            node.layer.forget_last_pass()
        self.kept = False

    def _forward(self, keep):
        raise NotImplementedError

    def _backward(self):
        raise NotImplementedError


class LayerStep(Step):
    """One layer."""

    def __init__(self, node):
        super().__init__([node])
        self._node, self._layer = node, node.layer

    def _forward(self, keep):
        layer = self._layer
        if not layer.reads_bottoms:
            return
        bottoms = [self._bottom(blob, keep) for blob in layer.bottom_blobs]
        self._node.fit([bottom.shape for bottom in bottoms])
        results = layer.forward(bottoms, keep)
        for blob, result in zip(layer.top_blobs, results):
            blob.set_data(result)

    def _bottom(self, blob, keep):
        """The tensor of a bottom; a copy if the layer keeps it and then writes over its memory."""
        layer = self._layer
        overwritten = keep and blob.pinned_data and any(blob is top for top in layer.top_blobs)
        return blob.data.clone() if overwritten else blob.data

    def _backward(self):
        layer, wanted = self._layer, self._node.propagate_down
        if not (layer.bottom_blobs or layer.params):
            return
        diffs = layer.backward([blob.diff for blob in layer.top_blobs], wanted)
        for blob, diff, want in zip(layer.bottom_blobs, diffs, wanted):
            if want:
                blob.set_diff(diff)
