"""Layers that act on each value by itself."""

import torch

from torchcaffe.layers.base import ComputedLayer, layer


class NeuronLayer(ComputedLayer):
    """One bottom, one top of its shape."""

    def reshape(self, shapes):
        return [shapes[0]]


@layer("ReLU")
class ReLU(NeuronLayer):
    """max(x, 0) + negative_slope min(x, 0). BVLC: gradient `negative_slope` at x = 0."""

    def forward(self, bottoms, keep):
        slope = self.parameter.relu_param.negative_slope
        x = bottoms[0]
        top = torch.relu(x) if slope == 0 else torch.nn.functional.leaky_relu(x, slope)
        if keep:
            self._bottom = top if slope == 0 else x
        return [top]

    def backward(self, top_diffs, propagate_down):
        slope = self.parameter.relu_param.negative_slope
        if not propagate_down[0]:
            return [None]
        if slope == 0:
            return [torch.ops.aten.threshold_backward(top_diffs[0], self._bottom, 0)]
        return [torch.ops.aten.leaky_relu_backward(top_diffs[0], self._bottom, slope, False)]
