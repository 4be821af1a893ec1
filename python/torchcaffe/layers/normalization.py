"""Layers that normalise values, and the learned scale and bias that follow them."""

import torch

from torchcaffe.blob import by
from torchcaffe.layers.base import ComputedLayer, Layer, layer
from torchcaffe.schema import caffe_pb2


@layer("LRN")
class LRN(ComputedLayer):
    """Local response normalisation, of windows of `local_size` (odd) values.

    ACROSS_CHANNELS, of a bottom of 4 axes: x / (k + alpha / local_size * sum of squares)^beta over
    neighbouring channels. WITHIN_CHANNEL: x / (1 + alpha * mean of squares)^beta over a square
    window in the plane, whose part outside the image counts as zeros; BVLC ignores k there.
    """

    def setup(self, shapes):
        size = self.parameter.lrn_param.local_size
        self.check(size % 2 == 1, f"has local_size {size}, expected an odd number")

    def reshape(self, shapes):
        (shape,) = shapes
        self.check(len(shape) == 4, f"its bottom has {len(shape)} axes, expected 4")
        return [shape]

    def compute(self, bottoms, params):
        given = self.parameter.lrn_param
        (x,) = bottoms
        squares = x * x
        if given.norm_region == caffe_pb2.LRNParameter.WITHIN_CHANNEL:
            mean = torch.nn.functional.avg_pool2d(
                squares, given.local_size, stride=1, padding=given.local_size // 2
            )
            return x * (1 + given.alpha * mean) ** -given.beta
        channels = x.shape[1]
        reach = min(given.local_size // 2, channels - 1)
        padded = torch.nn.functional.pad(squares, (0, 0, 0, 0, reach, reach))
        total = sum(padded[:, start : start + channels] for start in range(2 * reach + 1))
        return x * (given.k + given.alpha / given.local_size * total) ** -given.beta


@layer("BatchNorm")
class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + eps), of each channel (axis 1), without scale and bias.

    params[0]  sum of the passes' means, (channels,)
    params[1]  sum of the passes' unbiased variances, (channels,)
    params[2]  sum of the passes' weights, (1,)

    Without use_global_stats the mean and the biased variance are the batch's, and each forward pass
    first multiplies the three sums by moving_average_fraction (`fraction`). With it, which is what
    the TEST phase starts from, they are params[0] and params[1] over params[2], zeros if that is 0;
    the gradient then takes them as constant.

    BVLC: the three are no parameters for the solver; `param` must give them lr_mult 0 or nothing.
    """

    def setup(self, shapes):
        given = self.parameter.batch_norm_param
        (shape,) = shapes
        self.check(len(shape) >= 2, f"its bottom has {len(shape)} axes, expected at least 2")
        self.eps = given.eps
        self.fraction = given.moving_average_fraction
        self.use_global_stats = (
            given.use_global_stats
            if given.HasField("use_global_stats")
            else self.phase == caffe_pb2.TEST
        )
        self.channels = shape[1]
        self._sums_before = None
        for size in (self.channels, self.channels, 1):
            self.add_parameter((size,))
        for place, spec in enumerate(self.parameter.param):
            self.check(
                spec.lr_mult == 0,
                f"has param {place} with lr_mult {spec.lr_mult:g}; its statistics are not learned, "
                "give lr_mult: 0 or no param",
            )
        while len(self.parameter.param) < len(self.params):
            self.parameter.param.add(lr_mult=0)

    def reshape(self, shapes):
        (shape,) = shapes
        channels = shape[1] if len(shape) > 1 else None
        self.check(
            channels == self.channels,
            f"its bottom has {channels} channels, expected {self.channels}",
        )
        return [shape]

    def forward(self, bottoms, keep):
        (x,) = bottoms
        if self.use_global_stats:
            mean, variance = self.global_stats()
            top, *saved = torch.ops.aten.native_batch_norm(
                x, None, None, mean, variance, False, 0.0, self.eps
            )
            if keep:
                self._kept = (variance + self.eps).rsqrt()
            return [top]
        mean, variance = torch.zeros((2, self.channels), device=x.device)
        top, *saved = torch.ops.aten.native_batch_norm(
            x, None, None, mean, variance, True, 1.0, self.eps
        )
        if x.numel() == self.channels:
            # One value a channel: no deviation, while PyTorch divides by 0 and rounds.
            variance.zero_()
            top = x - mean.reshape(x.shape)
        self.add_stats(mean, variance)
        if keep:
            self._kept = x, saved
        return [top]

    def forget_last_pass(self):
        if self._sums_before is not None:
            for blob, before in zip(self.params, self._sums_before):
                blob.data.copy_(before)

    def global_stats(self):
        """(mean, variance), (channels,) each, that use_global_stats means."""
        total, variances, weight = (blob.data for blob in self.params)
        weight = weight.item()
        factor = 1 / weight if weight else 0.0
        return total * factor, variances * factor

    def add_stats(self, mean, variance):
        """Count a pass's mean and unbiased variance, (channels,) each, in the sums."""
        self._sums_before = [blob.data.clone() for blob in self.params]
        for blob, value in zip(self.params, (mean, variance, 1)):
            blob.data.mul_(self.fraction).add_(value)

    def backward(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None]
        (diff,) = top_diffs
        if self.use_global_stats:
            return [diff * self._kept.reshape(-1, *[1] * (diff.dim() - 2))]
        x, (mean, inverse) = self._kept
        return [
            torch.ops.aten.native_batch_norm_backward(
                diff, x, None, None, None, mean, inverse, True, self.eps, [True, False, False]
            )[0]
        ]


@layer("MVN")
class MVN(Layer):
    """(x - mean) / (standard deviation + eps) over each plane, or with across_channels over each
    sample; without normalize_variance only x - mean.

    BVLC: a bottom has at most 4 axes and its top always 4, the missing ones of size 1; the gradient
    leaves out eps in the derivative of the deviation.
    """

    def reshape(self, shapes):
        (shape,) = shapes
        self.check(len(shape) <= 4, f"its bottom has {len(shape)} axes, expected at most 4")
        self._shape = tuple(shape)
        return [self._shape + (1,) * (4 - len(shape))]

    def forward(self, bottoms, keep):
        given = self.parameter.mvn_param
        x = bottoms[0].reshape(*self._shape, *[1] * (4 - len(self._shape)))
        top = x - self._mean(x)
        if given.normalize_variance:
            deviation = self._mean(top * top).sqrt_().add_(given.eps)
            top = top / deviation
            if keep:
                self._kept = top, deviation
        return [top]

    def backward(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None]
        (diff,) = top_diffs
        gradient = diff - self._mean(diff)
        if self.parameter.mvn_param.normalize_variance:
            top, deviation = self._kept
            gradient = (gradient - top * self._mean(top * diff)) / deviation
        return [gradient.reshape(self._shape)]

    def _mean(self, x):
        across = self.parameter.mvn_param.across_channels
        return x.mean((1, 2, 3) if across else (2, 3), keepdim=True)


class BroadcastLayer(Layer):
    """A layer that repeats a smaller blob over its first bottom's axes, from `axis` on.

    The blob is the second bottom, or with one bottom params[0] of `num_axes` axes (-1: all that
    follow, 0: one value).
    """

    bottoms = (1, 2)

    def span(self, shape):
        """The shape of the parameter for a bottom's shape, as num_axes says."""
        given = self.given
        axis = self.canonical_axis(given.axis, len(shape))
        self.check(given.num_axes >= -1, f"has num_axes {given.num_axes}, expected -1 or more")
        self.check(
            axis + given.num_axes <= len(shape),
            f"has axis {given.axis} and num_axes {given.num_axes}, too many for a bottom of "
            f"{len(shape)} axes",
        )
        return shape[axis:] if given.num_axes == -1 else shape[axis : axis + given.num_axes]

    def reshape(self, shapes):
        shape = shapes[0]
        small = tuple(shapes[1] if len(shapes) > 1 else self.params[0].shape)
        self.axis = self.canonical_axis(self.given.axis, len(shape)) if small else 0
        part = tuple(shape[self.axis : self.axis + len(small)])
        self.check(
            small == part,
            f"its {'second bottom' if len(shapes) > 1 else 'blob'} is {by(small)}, but its bottom "
            f"{by(shape)} has {by(part) or 'nothing'} from axis {self.axis} on; make them equal",
        )
        self._small = small
        return [shape]

    def _folded(self, x):
        """(outer, values of the small blob, inner...)"""
        if self.axis == 1 and len(self._small) == 1:
            return x
        middle = 1
        for size in self._small:
            middle *= size
        outer = 1
        for size in x.shape[: self.axis]:
            outer *= size
        return x.reshape(outer, middle, -1)


@layer("Scale")
class Scale(BroadcastLayer):
    """x times a smaller blob, and with bias_term plus another of the same shape.

    params   scale (with one bottom; starts from 1), then bias (with bias_term; starts from 0)
    axis     int, from which on the scale's axes are the bottom's
    has_bias   bool

    BVLC overwrites the gradient of a scale that is as large as its bottom, instead of adding to it
    (seen with iter_size above 1 or a shared scale); here it is added as all others are.
    """

    def setup(self, shapes):
        given = self.given = self.parameter.scale_param
        small = shapes[1] if len(shapes) > 1 else self.span(shapes[0])
        if len(shapes) == 1:
            self.add_parameter(small, given.filler if given.HasField("filler") else _constant(1))
        self.has_bias = given.bias_term
        if self.has_bias:
            self.add_parameter(small, given.bias_filler)

    def forward(self, bottoms, keep):
        x = self._folded(bottoms[0])
        self._scale = self._values(bottoms)
        bias = self.params[-1].data.reshape(-1) if self.has_bias else None
        if keep:
            self._bottom = x
        # Batch normalisation by mean 0 and variance 1 reads x once, and its gradients once.
        top = torch.ops.aten.native_batch_norm(x, self._scale, bias, *self._unit(), False, 0.0, 0.0)
        return [top[0].reshape(bottoms[0].shape)]

    def backward(self, top_diffs, propagate_down):
        of_param = len(propagate_down) == 1
        wants_scale = self.param_propagate_down[0] if of_param else propagate_down[1]
        wants_bias = self.has_bias and self.param_propagate_down[-1]
        diff = self._folded(top_diffs[0])
        scale = self.params[0].data.reshape(-1) if of_param else self._scale
        # CUDA's code asks for the batch's statistics although there are none: empty ones do.
        none = scale.new_empty(0)
        bottom_diff, scale_diff, bias_diff = torch.ops.aten.native_batch_norm_backward(
            diff, self._bottom, scale, *self._unit(), none, none, False, 0.0,
            [propagate_down[0], wants_scale, wants_bias],
        )  # fmt: skip
        if wants_bias:
            self.params[-1].add_diff(bias_diff)
        if wants_scale and of_param:
            self.params[0].add_diff(scale_diff)
        gradients = [bottom_diff.reshape(top_diffs[0].shape) if propagate_down[0] else None]
        if not of_param:
            gradients.append(scale_diff.reshape(self._small) if wants_scale else None)
        return gradients

    def _values(self, bottoms):
        values = bottoms[1] if len(bottoms) > 1 else self.params[0].data
        return values.reshape(-1)

    def _unit(self):
        size = len(self._scale)
        return torch.zeros(size, device=self.device), torch.ones(size, device=self.device)


@layer("Bias")
class Bias(BroadcastLayer):
    """x plus a smaller blob: the second bottom, or params[0] (starts from 0)."""

    def setup(self, shapes):
        self.given = self.parameter.bias_param
        if len(shapes) == 1:
            self.add_parameter(self.span(shapes[0]), self.given.filler)

    def forward(self, bottoms, keep):
        bias = bottoms[1] if len(bottoms) > 1 else self.params[0].data
        behind = bottoms[0].dim() - self.axis - bias.dim()
        return [bottoms[0] + bias.reshape(*bias.shape, *[1] * behind)]

    def backward(self, top_diffs, propagate_down):
        (diff,) = top_diffs
        of_param = len(propagate_down) == 1
        gradients = [diff if propagate_down[0] else None]
        bias_diff = None
        if self.param_propagate_down[0] if of_param else propagate_down[1]:
            folded = self._folded(diff)
            bias_diff = folded.sum((0, *range(2, folded.dim())))
        if not of_param:
            gradients.append(None if bias_diff is None else bias_diff.reshape(self._small))
        elif bias_diff is not None:
            self.params[0].add_diff(bias_diff)
        return gradients


def _constant(value):
    return caffe_pb2.FillerParameter(type="constant", value=value)
