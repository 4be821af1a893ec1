"""Layers of MobileNets' forks: a convolution of each channel by itself, and ReLU6."""

import torch

from torchcaffe.layers.base import ComputedLayer, layer
from torchcaffe.layers.vision import Convolution


@layer("DepthwiseConvolution", "ConvolutionDepthwise")
class DepthwiseConvolution(Convolution):
    """Convolution with a group for each channel, weight (channels, 1, *kernel).

    `convolution_param` as in Convolution; `group` and `num_output` may be left out, and are the
    number of channels. Howard et al., MobileNets, 2017.
    """

    def setup(self, shapes):
        given = self.parameter.convolution_param
        channels = shapes[0][self.canonical_axis(given.axis, len(shapes[0]))]
        for field in ("group", "num_output"):
            self.check(
                not given.HasField(field) or getattr(given, field) == channels,
                f"has {field} {getattr(given, field)} for {channels} channels; give as many, or "
                f"leave {field} out",
            )
            setattr(given, field, channels)
        super().setup(shapes)


@layer("ReLU6")
class ReLU6(ComputedLayer):
    """min(max(x, 0), 6), whose gradient is 0 where it cuts off."""

    def reshape(self, shapes):
        return shapes

    def compute(self, bottoms, params):
        return torch.nn.functional.relu6(bottoms[0])
