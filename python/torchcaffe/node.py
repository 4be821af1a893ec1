"""What a net is made of: nodes, which are layers at their places, and learnable parameters."""

from torchcaffe.errors import CaffeError


class Node:
    """A layer at its place in a net, and what the net decides about it.

    place            int, among the net's nodes
    layer            Layer; its bottom_blobs and top_blobs are the net's Blobs
    bottoms, tops    [str], the names of those blobs
    shapes           [tuple], the bottoms' that the layer was reshaped for last
    loss_weights     [float], for each top its weight in the net's loss
    needs_backward   bool, whether a backward pass comes to the layer
    propagate_down   [bool], for each bottom whether its gradient is wanted
    """

    def __init__(self, place, layer, bottoms, tops):
        self.place, self.layer = place, layer
        self.bottoms, self.tops = bottoms, tops
        self.shapes = []
        self.loss_weights = [0.0] * len(tops)
        self.needs_backward = False
        self.propagate_down = [False] * len(bottoms)

    def reshape(self):
        """Give the tops the shapes that follow from the bottoms'.

        Raises CaffeError for shapes that do not fit the layer.
        """
        self._reshape([blob.shape for blob in self.layer.bottom_blobs])

    def fit(self, shapes):
        """`reshape` for bottoms of these shapes, unless the last ones were the same."""
        if shapes != self.shapes:
            self._reshape(shapes)

    def _reshape(self, shapes):
        layer = self.layer
        self.shapes = shapes
        tops = layer.reshape(shapes)
        if len(tops) != len(self.tops):
            layer.fail(f"makes {len(tops)} tops, but {len(self.tops)} are named")
        for blob, shape in zip(layer.top_blobs, tops):
            try:
                blob.reshape(shape)
            except CaffeError as error:
                layer.fail(f"its top would be {error}")


class Learnable:
    """A parameter that a solver changes, once for all layers that share it.

    blob                  Blob
    owner                 str, what messages call the layer that has it first
    lr_mult, decay_mult   float, as any of its layers gives them, or 1
    """

    def __init__(self, blob, owner, spec):
        self.blob, self.owner = blob, owner
        self.lr_mult, self.decay_mult = spec.lr_mult, spec.decay_mult
        self._given = {field for field in ("lr_mult", "decay_mult") if spec.HasField(field)}

    def shared_by(self, layer, spec):
        """Take the multipliers of a further layer's ParamSpec, which fails if others are given."""
        for field in ("lr_mult", "decay_mult"):
            if not spec.HasField(field):
                continue
            theirs, ours = getattr(spec, field), getattr(self, field)
            if field in self._given and theirs != ours:
                layer.fail(
                    f"param {spec.name!r} has {field} {theirs:g} and {ours:g} in layer "
                    f"{self.owner}; they share it, give one"
                )
            self._given.add(field)
            setattr(self, field, theirs)
