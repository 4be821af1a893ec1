"""InnerProduct."""

import math

import torch

from torchcaffe.layers.base import ComputedLayer, layer


@layer("InnerProduct")
class InnerProduct(ComputedLayer):
    """y = W x + b over the axes from `axis` on, flattened; W is num_output x K (K x num_output with
    `transpose`), b num_output."""

    def setup(self, shapes):
        given = self.parameter.inner_product_param
        self.check(given.num_output > 0, "num_output is 0, expected 1 or more")
        self.axis = self.canonical_axis(given.axis, len(shapes[0]))
        inner = math.prod(shapes[0][self.axis :])
        shape = (inner, given.num_output) if given.transpose else (given.num_output, inner)
        self.add_parameter(shape, given.weight_filler)
        if given.bias_term:
            self.add_parameter((given.num_output,), given.bias_filler)

    def reshape(self, shapes):
        given = self.parameter.inner_product_param
        expected = self.params[0].shape[0 if given.transpose else 1]
        self.axis = self.canonical_axis(given.axis, len(shapes[0]))
        inner = math.prod(shapes[0][self.axis :])
        self.check(
            inner == expected, f"its bottom has {inner} values a sample, expected {expected}"
        )
        return [(*shapes[0][: self.axis], given.num_output)]

    def compute(self, bottoms, params):
        given = self.parameter.inner_product_param
        x = bottoms[0].flatten(self.axis)
        weights = params[0].t() if given.transpose else params[0]
        return torch.nn.functional.linear(x, weights, *params[1:])
