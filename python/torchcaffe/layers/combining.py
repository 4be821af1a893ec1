"""Layers that combine values: of several bottoms (Eltwise), of the axes of one (Reduction)."""

import functools

import torch

from torchcaffe.layers.base import ComputedLayer, Layer, layer
from torchcaffe.schema import caffe_pb2


@layer("Eltwise")
class Eltwise(Layer):
    """Bottoms of one shape, value by value: SUM (with a `coeff` for each bottom), PROD or MAX.

    MAX takes, where the first two bottoms are equal, the second; a later bottom only where it is
    greater. The whole gradient goes to the bottom that was taken.
    PROD's gradient is the product of the other bottoms; with `stable_prod_grad: false` it is the
    top divided by the bottom, which is not finite where a bottom is 0.
    In place (top of the name of a bottom) this computes the same; BVLC Caffe overwrites its own
    input then, and sums without it.
    """

    bottoms = (2, None)

    def setup(self, shapes):
        given, count = self.parameter.eltwise_param, len(shapes)
        self.check(
            len(given.coeff) in (0, count),
            f"has {len(given.coeff)} coeff for {count} bottoms; give one for each or none",
        )
        self.check(
            given.operation != caffe_pb2.EltwiseParameter.PROD or not given.coeff,
            "has coeff, which is for operation: SUM; here it is PROD",
        )
        self._operation = given.operation
        self._coeff = list(given.coeff) or [1.0] * count

    def reshape(self, shapes):
        for place, shape in enumerate(shapes):
            self.check(
                shape == shapes[0],
                f"its bottom {place} is of shape {tuple(shape)}, the first of {tuple(shapes[0])}; "
                "they must be equal",
            )
        return [shapes[0]]

    def forward(self, bottoms, keep):
        if self._operation == caffe_pb2.EltwiseParameter.SUM:
            return [self._sum(bottoms)]
        if self._operation == caffe_pb2.EltwiseParameter.PROD:
            top = functools.reduce(torch.mul, bottoms)
            if keep:
                self._bottoms, self._top = bottoms, top
            return [top]
        taken = (bottoms[0] <= bottoms[1]).to(torch.int32)
        top = torch.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])
        for place, bottom in enumerate(bottoms[2:], 2):
            greater = bottom > top
            top = torch.where(greater, bottom, top)
            taken = torch.where(greater, place, taken)
        if keep:
            self._taken = taken
        return [top]

    def _sum(self, bottoms):
        terms = list(zip(bottoms, self._coeff))
        # `add` multiplies as it adds: no tensor for each product.
        (first, coeff), rest = terms[0], terms[1:]
        total = first if coeff == 1 else first * coeff
        for bottom, coeff in rest:
            total = torch.add(total, bottom, alpha=coeff)
        return total

    def backward(self, top_diffs, propagate_down):
        return [
            self._gradient(place, top_diffs[0]) if wanted else None
            for place, wanted in enumerate(propagate_down)
        ]

    def _gradient(self, place, diff):
        if self._operation == caffe_pb2.EltwiseParameter.SUM:
            return diff if self._coeff[place] == 1 else diff * self._coeff[place]
        if self._operation == caffe_pb2.EltwiseParameter.MAX:
            return torch.where(self._taken == place, diff, 0)
        if not self.parameter.eltwise_param.stable_prod_grad:
            return self._top / self._bottoms[place] * diff
        others = (bottom for i, bottom in enumerate(self._bottoms) if i != place)
        return functools.reduce(torch.mul, others) * diff


@layer("Reduction")
class Reduction(ComputedLayer):
    """All axes from `axis` on, reduced to one value: SUM, ASUM (of magnitudes), SUMSQ (of squares)
    or MEAN, times `coeff`. The magnitude's gradient at 0 is 0."""

    def reshape(self, shapes):
        axes = len(shapes[0])
        self._axis = self.canonical_axis(self.parameter.reduction_param.axis, axes)
        return [shapes[0][: self._axis]]

    def compute(self, bottoms, params):
        given = self.parameter.reduction_param
        x = bottoms[0].flatten(self._axis)
        reduced = {
            given.SUM: lambda: x.sum(-1),
            given.ASUM: lambda: x.abs().sum(-1),
            given.SUMSQ: lambda: (x * x).sum(-1),
            given.MEAN: lambda: x.mean(-1),
        }[given.operation]()
        return reduced if given.coeff == 1 else reduced * given.coeff
