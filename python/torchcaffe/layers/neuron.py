"""Layers that act on each value by itself.

In place (top named as the bottom) BVLC Caffe has overwritten the bottom when the backward pass
reads it, so that Clip, BNLL and ReLU with a negative slope below 0 then get another gradient than
beside it. The layers here give the same one. Not followed, since no net can learn by it:

- Log and Power in place write over the top's gradient before they read it; here it is right.
- A later in-place layer overwrites the top that Sigmoid, TanH, Exp, ELU, Swish and Power read in
  their backward pass; here they keep their own results.
"""

import math

import torch

from torchcaffe.layers.base import Layer, layer
from torchcaffe.random_state import generator
from torchcaffe.schema import caffe_pb2


class NeuronLayer(Layer):
    """One bottom, one top of its shape; `values` makes the top and `gradient` goes back."""

    def reshape(self, shapes):
        return [shapes[0]]

    @property
    def in_place(self):
        return self.parameter.top[0] == self.parameter.bottom[0]

    def values(self, x):
        """The top's tensor, for the bottom's."""
        raise NotImplementedError

    def gradient(self, x, y, diff):
        """The bottom's gradient, for bottom, top and the top's gradient; x is y if in place."""
        raise NotImplementedError

    def forward(self, bottoms, keep):
        top = self.values(bottoms[0])
        if keep:
            self._bottom = top if self.in_place else bottoms[0]
            self._top = top
        return [top]

    def backward(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None]
        return [self.gradient(self._bottom, self._top, top_diffs[0])]


@layer("ReLU")
class ReLU(NeuronLayer):
    """max(x, 0) + negative_slope min(x, 0). BVLC: gradient `negative_slope` at x = 0."""

    def values(self, x):
        slope = self.parameter.relu_param.negative_slope
        return torch.relu(x) if slope == 0 else torch.nn.functional.leaky_relu(x, slope)

    def gradient(self, x, y, diff):
        slope = self.parameter.relu_param.negative_slope
        if slope == 0:
            return torch.ops.aten.threshold_backward(diff, y, 0)
        return torch.ops.aten.leaky_relu_backward(diff, x, slope, False)


@layer("PReLU")
class PReLU(Layer):
    """max(x, 0) + a min(x, 0), with a learnt a for each channel, or one with `channel_shared`.

    Its parameter blob is (channels) or of no axes; 0.25 without a filler. Needs at least 2 axes.
    """

    def setup(self, shapes):
        given = self.parameter.prelu_param
        self._check_axes(shapes)
        filler = given.filler
        if not given.HasField("filler"):
            filler = caffe_pb2.FillerParameter(type="constant", value=0.25)
        self.add_parameter(() if given.channel_shared else (shapes[0][1],), filler)

    def reshape(self, shapes):
        self._check_axes(shapes)
        count = self.params[0].count
        self.check(
            self.parameter.prelu_param.channel_shared or shapes[0][1] == count,
            f"its bottom has {shapes[0][1]} channels, but it has {count} slopes",
        )
        return [shapes[0]]

    def _check_axes(self, shapes):
        axes = len(shapes[0])
        self.check(axes >= 2, f"its bottom has {axes} axes, expected at least 2")

    def forward(self, bottoms, keep):
        x = bottoms[0]
        if keep:
            # The memory of a pinned blob is overwritten by this layer's own result.
            self._bottom = x.clone() if self.parameter.top[0] == self.parameter.bottom[0] else x
        return [torch.prelu(x, self.params[0].data.reshape(-1))]

    def backward(self, top_diffs, propagate_down):
        x = self._bottom
        slopes = self.params[0].data.reshape(1, -1, *[1] * (x.dim() - 2))
        diff, products = torch.ops.aten._prelu_kernel_backward(top_diffs[0], x, slopes)
        if self.param_propagate_down[0]:
            shared = self.parameter.prelu_param.channel_shared
            axes = [axis for axis in range(x.dim()) if shared or axis != 1]
            self.params[0].add_diff(products.sum(axes))
        return [diff if propagate_down[0] else None]


@layer("ELU")
class ELU(NeuronLayer):
    """x above 0, else alpha (exp(x) - 1)."""

    def values(self, x):
        return torch.nn.functional.elu(x, self.parameter.elu_param.alpha)

    def gradient(self, x, y, diff):
        return torch.where(x > 0, diff, diff * (y + self.parameter.elu_param.alpha))


@layer("Sigmoid")
class Sigmoid(NeuronLayer):
    """1 / (1 + exp(-x))."""

    def values(self, x):
        return torch.sigmoid(x)

    def gradient(self, x, y, diff):
        return torch.ops.aten.sigmoid_backward(diff, y)


@layer("TanH")
class TanH(NeuronLayer):
    """tanh(x)."""

    def values(self, x):
        return torch.tanh(x)

    def gradient(self, x, y, diff):
        return torch.ops.aten.tanh_backward(diff, y)


@layer("Swish")
class Swish(NeuronLayer):
    """x sigmoid(beta x)."""

    def forward(self, bottoms, keep):
        sigmoid = torch.sigmoid(self.parameter.swish_param.beta * bottoms[0])
        top = bottoms[0] * sigmoid
        if keep:
            self._bottom, self._top = sigmoid, top
        return [top]

    def gradient(self, x, y, diff):
        scaled = self.parameter.swish_param.beta * y
        return diff * (scaled + x * (1 - scaled))


@layer("AbsVal")
class AbsVal(NeuronLayer):
    """|x|; gradient 0 at 0. As in BVLC Caffe it fails in place."""

    def setup(self, shapes):
        self.check(not self.in_place, "cannot work in place; give its top another name")

    def values(self, x):
        return x.abs()

    def gradient(self, x, y, diff):
        return diff * x.sign()


@layer("BNLL")
class BNLL(NeuronLayer):
    """log(1 + exp(x)), without overflow for large x.

    In double precision, as BVLC Caffe computes it: far below 0, where 1 + exp(x) has few digits of
    exp(x) left, values then have BVLC's rounding.
    """

    def values(self, x):
        wide = x.double()
        return (wide.clamp(min=0) + torch.log(1 + torch.exp(-wide.abs()))).to(x.dtype)

    def gradient(self, x, y, diff):
        return diff * torch.sigmoid(x)


@layer("Clip")
class Clip(NeuronLayer):
    """max(min, min(x, max)); the gradient passes from `min` to `max`, both included.

    Fails without `clip_param` (BVLC Caffe then makes all values 0).
    """

    def setup(self, shapes):
        self.check(
            self.parameter.HasField("clip_param"),
            "has no limits; give clip_param { min: ...  max: ... }",
        )

    def values(self, x):
        given = self.parameter.clip_param
        return x.clamp(max=given.max).clamp_(min=given.min)

    def gradient(self, x, y, diff):
        given = self.parameter.clip_param
        return diff * ((x >= given.min) & (x <= given.max))


@layer("Threshold")
class Threshold(NeuronLayer):
    """1 above `threshold`, else 0.

    It has no gradient: BVLC Caffe aborts when its backward pass comes to it. Here that is an
    error only if the bottom's gradient is wanted, and force_backward does not ask for it.
    """

    ignored_by_force_backward = (0,)

    def forward(self, bottoms, keep):
        return [(bottoms[0] > self.parameter.threshold_param.threshold).to(bottoms[0].dtype)]

    def backward(self, top_diffs, propagate_down):
        return self.no_gradient(propagate_down)


def _log_of_base(layer, base):
    """log(base) of Exp and Log; 1 for the default base -1, which means e."""
    if base == -1:
        return 1.0
    layer.check(
        base > 0 and math.isfinite(base),
        f"base is {base:g}, expected a number above 0 (or -1, which means e)",
    )
    return math.log(base)


@layer("Exp")
class Exp(NeuronLayer):
    """base ^ (shift + scale x); base -1 means e."""

    def setup(self, shapes):
        given = self.parameter.exp_param
        log_base = _log_of_base(self, given.base)
        self.inner_scale = log_base * given.scale
        self.outer_scale = math.exp(log_base * given.shift)

    def values(self, x):
        top = torch.exp(x * self.inner_scale)
        return top if self.outer_scale == 1 else top.mul_(self.outer_scale)

    def gradient(self, x, y, diff):
        return diff * y * self.inner_scale


@layer("Log")
class Log(NeuronLayer):
    """The logarithm to `base` of shift + scale x; base -1 means e."""

    def setup(self, shapes):
        given = self.parameter.log_param
        self.log_base = _log_of_base(self, given.base)
        self.check(self.log_base != 0, "base is 1, to which there is no logarithm")

    def forward(self, bottoms, keep):
        given = self.parameter.log_param
        inner = bottoms[0] * given.scale + given.shift
        if keep:
            self._bottom = self._top = inner
        return [torch.log(inner).mul_(1 / self.log_base)]

    def gradient(self, x, y, diff):
        return diff * (self.parameter.log_param.scale / self.log_base) / x


@layer("Power")
class Power(NeuronLayer):
    """(shift + scale x) ^ power. With scale or power 0 the top is constant and the gradient 0.

    BVLC: the gradient for a power other than 0, 1 and 2 is power scale top / (shift + scale x),
    which is not a number where shift + scale x is 0.
    """

    def forward(self, bottoms, keep):
        given = self.parameter.power_param
        if given.power == 0:
            return [torch.ones_like(bottoms[0])]
        if given.scale == 0:
            return [torch.full_like(bottoms[0], given.shift).pow_(given.power)]
        inner = bottoms[0] * given.scale
        if given.shift != 0:
            inner.add_(given.shift)
        top = inner if given.power == 1 else inner.pow(given.power)
        if keep and given.power != 1:
            self._bottom, self._top = inner, top
        return [top]

    def backward(self, top_diffs, propagate_down):
        given = self.parameter.power_param
        factor = given.power * given.scale
        if not propagate_down[0]:
            return [None]
        if factor == 0:
            return [torch.zeros_like(top_diffs[0])]
        if given.power == 1:
            return [top_diffs[0] * factor]
        slope = self._bottom if given.power == 2 else self._top / self._bottom
        return [top_diffs[0] * slope * factor]


@layer("Dropout")
class Dropout(NeuronLayer):
    """In the training phase 0 with probability `dropout_ratio`, else x / (1 - dropout_ratio); in
    the test phase x.

    The ratio is from 0 to below 1. BVLC Caffe aborts or makes values that are not numbers beyond,
    but only in the training phase; here it is an error in both.
    """

    def setup(self, shapes):
        self.ratio = self.parameter.dropout_param.dropout_ratio
        self.check(
            0 <= self.ratio < 1,
            f"dropout_ratio is {self.ratio:g}, expected a number from 0 to below 1",
        )
        self._mask = None
        self._again = False

    def forget_last_pass(self):
        self._again = self._mask is not None

    def forward(self, bottoms, keep):
        x = bottoms[0]
        if self.phase != caffe_pb2.TRAIN or self.ratio == 0:
            return [x]
        # Also of a pass that is not kept: it may be run again, with the same mask.
        if not self._again:
            self._mask = self._new_mask(x)
        self._again = False
        return [x * self._mask]

    def _new_mask(self, x):
        # Whole numbers from 0 to 2^31 - 1: made several times as fast as by bernoulli_.
        numbers = torch.empty_like(x, dtype=torch.int32).random_(generator=generator(self.device))
        return (numbers >= int(self.ratio * 2**31)) * (1 / (1 - self.ratio))

    def backward(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None]
        return [top_diffs[0] if self._mask is None else top_diffs[0] * self._mask]
