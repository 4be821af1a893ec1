"""BN, the batch normalisation of forks that had it before BVLC Caffe: two layers of one name."""

import torch

from torchcaffe.layers.base import ComputedLayer, layer
from torchcaffe.schema import caffe_pb2

EPS = 1e-9
"""What DeconvNet and SegNet add to the variance."""


@layer("BN")
class BN(ComputedLayer):
    """scale (x - mean) / sqrt(variance + eps) + shift, of each channel (axis 1).

    params[0]  scale, (1, channels, 1, 1), as all of them
    params[1]  shift
    params[2]  mean, of PSPNet's form only
    params[3]  variance, of PSPNet's form only

    DeconvNet and SegNet (`scale_filler`, `shift_filler`, `bn_mode`): in mode LEARN, mean and biased
    variance are the batch's in both phases, and second and third tops are these; in mode INFERENCE
    the layer is scale x + shift, into which their scripts have worked the statistics.

    PSPNet and TSN (any of `slope_filler`, `bias_filler`, `momentum`, `eps`, `frozen`): the batch's
    in the phase TRAIN, where each pass makes momentum * params + (1 - momentum) * batch of the last
    two; these are taken in the phase TEST, and with `frozen`, which also stops all learning here.
    """

    tops = (1, 3)

    def setup(self, shapes):
        given = self.parameter.bn_param
        (shape,) = shapes
        self.check(len(shape) >= 2, f"its bottom has {len(shape)} axes, expected at least 2")
        self.channels = shape[1]
        pspnet = [
            name
            for name in ("slope_filler", "bias_filler", "momentum", "eps", "frozen")
            if given.HasField(name)
        ]
        segnet = [
            name for name in ("scale_filler", "shift_filler", "bn_mode") if given.HasField(name)
        ]
        self.check(
            not (pspnet and segnet),
            f"has {', '.join(segnet)} (SegNet's form) and {', '.join(pspnet)} (PSPNet's); "
            "give fields of one",
        )
        self._learned_inference = given.bn_mode == given.INFERENCE
        self._has_statistics = bool(pspnet)
        self._given_statistics = self._has_statistics and (
            given.frozen or self.phase == caffe_pb2.TEST
        )
        self.check(
            len(self.top_blobs) == 1 or not (self._has_statistics or self._learned_inference),
            "has tops for the batch's mean and variance, which only bn_mode: LEARN makes",
        )
        self._eps = given.eps if self._has_statistics else EPS
        fillers = [given.scale_filler, given.shift_filler]
        if self._has_statistics:
            fillers = [given.slope_filler, given.bias_filler]
        shape = (1, self.channels, 1, 1)
        for filler in fillers:
            self.add_parameter(shape, filler)
        if self._has_statistics:
            self.add_parameter(shape)
            self.add_parameter(shape, caffe_pb2.FillerParameter(value=float(given.frozen)))
            while len(self.parameter.param) < len(self.params):
                self.parameter.param.add()
            for spec in list(self.parameter.param)[0 if given.frozen else 2 :]:
                spec.lr_mult = spec.decay_mult = 0
        self._before = None

    def reshape(self, shapes):
        (shape,) = shapes
        channels = shape[1] if len(shape) > 1 else None
        self.check(
            channels == self.channels,
            f"its bottom has {channels} channels, expected {self.channels}",
        )
        return [shape, *[(1, self.channels, 1, 1)] * (len(self.top_blobs) - 1)]

    def forward(self, bottoms, keep):
        if self._has_statistics and not self._given_statistics:
            momentum = self.parameter.bn_param.momentum
            self._before = [blob.data.clone() for blob in self.params[2:]]
            for blob, batch in zip(self.params[2:], self._statistics(bottoms[0])):
                blob.data.mul_(momentum).add_(batch.reshape(blob.shape), alpha=1 - momentum)
        return super().forward(bottoms, keep)

    def forget_last_pass(self):
        for blob, values in zip(self.params[2:], self._before or ()):
            blob.data.copy_(values)

    def _statistics(self, x):
        """Mean and variance of each channel."""
        axes = [axis for axis in range(x.dim()) if axis != 1]
        variance, mean = torch.var_mean(x, axes, correction=0)
        return mean, variance

    def compute(self, bottoms, params):
        (x,) = bottoms
        wide = (1, -1, *[1] * (x.dim() - 2))
        scale, shift = (param.reshape(wide) for param in params[:2])
        if self._learned_inference:
            return x * scale + shift
        if self._given_statistics:
            mean, variance = params[2:]
        else:
            mean, variance = self._statistics(x)
        deviation = (variance.reshape(wide) + self._eps).sqrt()
        top = (x - mean.reshape(wide)) / deviation * scale + shift
        shape = (1, self.channels, 1, 1)
        return [top, mean.reshape(shape), variance.reshape(shape)][: len(self.top_blobs)]
