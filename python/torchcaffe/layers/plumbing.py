"""Layers that move values and compute nothing."""

from torchcaffe.layers.base import Layer, layer


@layer("Input")
class Input(Layer):
    """Tops that the caller fills. `input_param`: one shape for all tops or one for each."""

    bottoms = (0, 0)
    tops = (1, None)

    def reshape(self, shapes):
        given = self.parameter.input_param.shape
        count = len(self.parameter.top)
        self.check(
            len(given) in (0, 1, count), f"has {len(given)} shapes for {count} tops; give one or {count}"
        )
        return [
            tuple(given[place if len(given) > 1 else 0].dim) if given else blob.shape
            for place, blob in enumerate(self.top_blobs)
        ]

    def forward(self, bottoms, keep):
        return [blob.data for blob in self.top_blobs]


@layer("Split")
class Split(Layer):
    """The bottom as every top; gradients add up. The net inserts it (graph.with_splits)."""

    tops = (1, None)

    def reshape(self, shapes):
        return [shapes[0]] * len(self.top_blobs)

    def forward(self, bottoms, keep):
        return [bottoms[0]] * len(self.top_blobs)

    def backward(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None]
        total = top_diffs[0]
        for diff in top_diffs[1:]:
            total = total + diff
        return [total]
