"""A backward pass behind a forward pass that kept nothing for it: the layers run once more.

A net in the TEST phase is rarely asked for a gradient, so that keeping what `backward` needs would
cost time and memory for nothing. Once one is asked for, what was not kept is computed again from
the same data and inputs, and from then on the net's passes keep what they need.
"""

from torchcaffe.schema import caffe_pb2


class Recomputation:
    """Decides what the passes of a net keep, and makes up for what they have not kept.

    A source is a node without bottoms: data or an input. It does not run again, as it would give
    other values; those that a layer overwrites in place are therefore copied before.
    """

    def __init__(self, nodes, phase):
        self._expected = phase == caffe_pb2.TRAIN
        sources = {top for node in nodes if not node.bottoms for top in node.tops}
        self._overwritten = {
            top: None for node in nodes if node.bottoms for top in node.tops if top in sources
        }

    def keeps(self, keep):
        """Whether a forward pass keeps what `backward` needs, where its caller says `keep`.

        None: in the training phase, and in a net of which a gradient was wanted before.
        """
        return self._expected if keep is None else keep

    def ran(self, step):
        """Take note of a step that has just run forward."""
        for node in step.nodes:
            if node.bottoms:
                continue
            for name, blob in zip(node.tops, node.layer.top_blobs):
                if name in self._overwritten:
                    self._overwritten[name] = None if step.kept else (blob, blob.data.clone())

    def before_backward(self, steps, below):
        """Have all `steps` keep what their backward pass needs.

        `below`: they and the steps of the net before them, in order.
        """
        self._expected = True
        if all(step.kept for step in steps):
            return
        for copied in self._overwritten.values():
            if copied is not None:
                blob, values = copied
                blob.set_data(values)
        for step in below:
            if not step.kept and step.nodes[0].bottoms:
                step.undo()
                step.forward(True)
