"""Losses. Each makes one number; its gradient times the loss_weight goes back.

A loss's weight arrives as the gradient of its top. Labels are whole numbers in float blobs. None
of the bottoms has to be of at most 4 axes, as some of BVLC Caffe's losses demand.
"""

import math

import torch

from torchcaffe import protofile
from torchcaffe.layers.base import ComputedLayer, Layer, layer
from torchcaffe.layers.classification import check_labels, class_labels
from torchcaffe.schema import caffe_pb2

SMALLEST = torch.finfo(torch.float32).tiny
"""SoftmaxWithLoss takes probabilities below as this (C's FLT_MIN)."""

SMALLEST_GIVEN = 1e-20
"""InfogainLoss and MultinomialLogisticLoss take probabilities below as this."""

_MODES = caffe_pb2.LossParameter


class Loss:
    """What losses have in common: two bottoms of the same first axis, a top of no axes."""

    bottoms = (2, 2)
    automatic_tops = 1
    loss_weight = 1
    ignored_by_force_backward = (1,)

    def reshape(self, shapes):
        first, second = shapes[:2]
        self.check(
            first and second and first[0] == second[0],
            f"its bottoms are of shapes {tuple(first)} and {tuple(second)}, expected the same "
            "first axis",
        )
        return [()]

    def normalization(self, default):
        """`loss_param { normalization }`, or the older `normalize`, or else `default`."""
        given = self.parameter.loss_param
        if given.HasField("normalization"):
            return given.normalization
        if given.HasField("normalize"):
            return _MODES.VALID if given.normalize else _MODES.BATCH_SIZE
        return default

    @property
    def ignored_label(self):
        given = self.parameter.loss_param
        return given.ignore_label if given.HasField("ignore_label") else None


def normalizer(mode, outer, inner, counted):
    """What a sum over outer x inner labels is divided by, at least 1.

    FULL: all labels; VALID: those that count; BATCH_SIZE: `outer`; NONE: 1. `counted` is a bool
    tensor or None, if all count. Returns a number or a tensor of no axes.
    """
    if mode == _MODES.VALID and counted is not None:
        return counted.sum().clamp(min=1)
    if mode == _MODES.BATCH_SIZE:
        return max(outer, 1)
    return 1 if mode == _MODES.NONE else max(outer * inner, 1)


class ClassLoss(Loss, Layer):
    """A loss of scores (first bottom) along an axis of classes and labels (second bottom).

    A label for each place of the scores but the axis. A second top has the softmax of the scores.
    """

    tops = (1, 2)

    def class_axis(self):
        """The axis that the parameters name."""
        raise NotImplementedError

    def reshape(self, shapes):
        super().reshape(shapes)
        self.axis = self.canonical_axis(self.class_axis(), len(shapes[0]))
        check_labels(self, shapes[0], shapes[1], self.axis)
        return [(), shapes[0]][: len(self.top_blobs)]

    def labels(self, bottoms):
        """The labels with the scores' axes (1 along the classes), which ones count, the divisor."""
        shape = list(bottoms[0].shape)
        classes, shape[self.axis] = shape[self.axis], 1
        labels, counted = class_labels(self, bottoms[1].reshape(shape), classes, self.ignored_label)
        divisor = normalizer(
            self.normalization(_MODES.VALID),
            math.prod(shape[: self.axis]),
            math.prod(shape[self.axis :]),
            counted,
        )
        return labels, counted, divisor

    def scaled(self, diff, counted, divisor, top_diff):
        """`diff` times the loss weight over the divisor, 0 for labels that do not count."""
        scale = top_diff / divisor
        return diff.mul_(scale if counted is None else counted * scale)


@layer("SoftmaxWithLoss")
class SoftmaxWithLoss(ClassLoss):
    """-log of the softmax, along `softmax_param { axis }`, of the label's score.

    BVLC: divided by the labels that count (VALID) unless normalization says otherwise; the
    probability is at least FLT_MIN in the loss, but the gradient goes on. The gradient of the
    second top is not used. In BVLC Caffe 1.0 a second top always fails (its number of loss_weight
    fits either this layer or the Softmax inside); here it needs a loss_weight for each top.
    """

    def class_axis(self):
        return self.parameter.softmax_param.axis

    def forward(self, bottoms, keep):
        probabilities = torch.softmax(bottoms[0], self.axis)
        labels, counted, divisor = self.labels(bottoms)
        # Not log_softmax: a loss near 0 is then rounded as in BVLC Caffe.
        logs = probabilities.gather(self.axis, labels).clamp_(min=SMALLEST).log_()
        if counted is not None:
            logs.mul_(counted)
        if keep:
            self._kept = probabilities, labels, counted, divisor
        return [-logs.sum() / divisor, probabilities][: len(self.top_blobs)]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[1], "cannot make a gradient for its labels")
        if not propagate_down[0]:
            return [None, None]
        probabilities, labels, counted, divisor = self._kept
        diff = probabilities.scatter_add(
            self.axis, labels, probabilities.new_full((), -1).expand(labels.shape)
        )
        return [self.scaled(diff, counted, divisor, top_diffs[0]), None]


@layer("InfogainLoss")
class InfogainLoss(ClassLoss):
    """Minus the sum of row `label` of H, classes x classes, times the log of the scores' softmax.

    The axis of the softmax is `infogain_loss_param { axis }`; H is the third bottom or the file
    `source` (binaryproto), of any shape of classes x classes values. BVLC: divided as
    SoftmaxWithLoss, but the older `normalize` is an error; probabilities are at least 1e-20. A
    second top needs a loss_weight for each top. BVLC Caffe aborts with force_backward and a third
    bottom; here H then gets no gradient.
    """

    bottoms = (2, 3)
    ignored_by_force_backward = (1, 2)

    def class_axis(self):
        return self.parameter.infogain_loss_param.axis

    def setup(self, shapes):
        given = self.parameter.infogain_loss_param
        self.check(
            not self.parameter.loss_param.HasField("normalize"),
            "does not know the older loss_param { normalize }; give normalization",
        )
        if len(shapes) < 3:
            self.check(
                given.HasField("source"),
                "has no matrix; give infogain_loss_param { source: ... } or a third bottom",
            )
            blob = protofile.read(given.source, protofile.BlobProto, "a binary BlobProto")
            matrix = protofile.values(blob, given.source)
            self._matrix = torch.from_numpy(matrix).to(self.device)

    def reshape(self, shapes):
        tops = super().reshape(shapes)
        classes = shapes[0][self.axis]
        count = math.prod(shapes[2]) if len(shapes) == 3 else self._matrix.numel()
        self.check(
            count == classes**2,
            f"its matrix has {count} values, expected {classes**2} for {classes} classes",
        )
        return tops

    def forward(self, bottoms, keep):
        probabilities = torch.softmax(bottoms[0], self.axis)
        labels, counted, divisor = self.labels(bottoms)
        classes = bottoms[0].shape[self.axis]
        matrix = (bottoms[2] if len(bottoms) == 3 else self._matrix).reshape(classes, classes)
        # The rows of H for the labels, their values along the axis of classes.
        gains = matrix[labels.squeeze(self.axis)].movedim(-1, self.axis)
        losses = gains * probabilities.clamp(min=SMALLEST_GIVEN).log_()
        if counted is not None:
            losses.mul_(counted)
        if keep:
            self._kept = probabilities, gains, counted, divisor
        return [-losses.sum() / divisor, probabilities][: len(self.top_blobs)]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[1], "cannot make a gradient for its labels")
        self.check(not any(propagate_down[2:]), "cannot make a gradient for its matrix")
        if not propagate_down[0]:
            return [None] * len(propagate_down)
        probabilities, gains, counted, divisor = self._kept
        diff = probabilities * gains.sum(self.axis, keepdim=True) - gains
        diff = self.scaled(diff, counted, divisor, top_diffs[0])
        return [diff, *[None] * (len(propagate_down) - 1)]


@layer("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Loss, Layer):
    """-log of the probability (first bottom, N x classes) of the label, divided by N.

    BVLC: probabilities are at least 1e-20; `loss_param` is not read.
    """

    def reshape(self, shapes):
        super().reshape(shapes)
        _check_one_label_each(self, shapes[0], shapes[1])
        return [()]

    def forward(self, bottoms, keep):
        x = _samples(bottoms[0])
        labels, _ = class_labels(self, bottoms[1].reshape(-1, 1), x.shape[1])
        picked = x.gather(1, labels).clamp_(min=SMALLEST_GIVEN)
        if keep:
            self._kept = labels, picked, bottoms[0].shape
        return [-picked.log().sum() / len(x)]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[1], "cannot make a gradient for its labels")
        if not propagate_down[0]:
            return [None, None]
        labels, picked, shape = self._kept
        diff = picked.new_zeros(shape[0], math.prod(shape[1:]))
        diff.scatter_(1, labels, -top_diffs[0] / shape[0] / picked)
        return [diff.reshape(shape), None]


@layer("HingeLoss")
class HingeLoss(Loss, ComputedLayer):
    """The sum of max(0, 1 - t x) over N x classes, t = 1 for the label's class and else -1, or of
    its squares (`norm: L2`), divided by N. BVLC: `loss_param` is not read."""

    def reshape(self, shapes):
        super().reshape(shapes)
        _check_one_label_each(self, shapes[0], shapes[1])
        return [()]

    def compute(self, bottoms, params):
        x = _samples(bottoms[0])
        labels, _ = class_labels(self, bottoms[1].reshape(-1, 1), x.shape[1])
        signs = torch.ones_like(x).scatter_(1, labels, -1)
        margins = torch.relu(1 + signs * x)
        if self.parameter.hinge_loss_param.norm == caffe_pb2.HingeLossParameter.L2:
            margins = margins.square()
        return margins.sum() / len(x)

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[1], "cannot make a gradient for its labels")
        return super().backward(top_diffs, propagate_down)


@layer("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(Loss, Layer):
    """-(t log s + (1 - t) log(1 - s)), s the sigmoid of the scores, t the targets from 0 to 1.

    BVLC: divided by the size of the first axis (BATCH_SIZE) unless normalization says otherwise;
    targets whose whole part is `ignore_label` do not count.
    """

    def reshape(self, shapes):
        super().reshape(shapes)
        scores, targets = shapes
        self.check(
            math.prod(scores) == math.prod(targets),
            f"has {math.prod(scores)} scores and {math.prod(targets)} targets, expected as many",
        )
        return [()]

    def forward(self, bottoms, keep):
        x = bottoms[0]
        targets = bottoms[1].reshape(x.shape)
        counted = None if self.ignored_label is None else targets.long() != self.ignored_label
        divisor = normalizer(
            self.normalization(_MODES.BATCH_SIZE), len(x), math.prod(x.shape[1:]), counted
        )
        # Not log1p: BVLC rounds what is far below the losses' unit to 0.
        losses = x.clamp(min=0) - x * targets + torch.log(1 + torch.exp(-x.abs()))
        if counted is not None:
            losses.mul_(counted)
        if keep:
            self._kept = x, targets, counted, divisor
        return [losses.sum() / divisor]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[1], "cannot make a gradient for its targets")
        if not propagate_down[0]:
            return [None, None]
        x, targets, counted, divisor = self._kept
        scale = top_diffs[0] / divisor
        diff = torch.tanh(x * 0.5).mul_(0.5).add_(0.5).sub_(targets)  # rounds as BVLC's sigmoid
        return [diff.mul_(scale if counted is None else counted * scale), None]


@layer("EuclideanLoss")
class EuclideanLoss(Loss, Layer):
    """Half of the sum of squares of the difference of the bottoms, divided by N.

    Both bottoms get gradients. BVLC: samples may be of different shapes with as many values;
    `loss_param` is not read.
    """

    ignored_by_force_backward = ()

    def reshape(self, shapes):
        super().reshape(shapes)
        first, second = shapes
        self.check(
            math.prod(first[1:]) == math.prod(second[1:]),
            f"its bottoms have {math.prod(first[1:])} and {math.prod(second[1:])} values a sample, "
            "expected as many",
        )
        return [()]

    def forward(self, bottoms, keep):
        difference = bottoms[0] - bottoms[1].reshape(bottoms[0].shape)
        if keep:
            self._kept = difference, bottoms[1].shape
        return [difference.square().sum() / (2 * len(difference))]

    def backward(self, top_diffs, propagate_down):
        difference, second = self._kept
        scaled = difference * (top_diffs[0] / len(difference))
        return [
            scaled if propagate_down[0] else None,
            -scaled.reshape(second) if propagate_down[1] else None,
        ]


@layer("ContrastiveLoss")
class ContrastiveLoss(Loss, Layer):
    """d^2 for pairs (first and second bottom, N x channels) that are similar (third bottom not 0),
    max(0, margin - d)^2 for the others, halved and divided by N; d is their distance.

    `legacy_version`: max(0, margin - d^2) for the others. BVLC: the gradient divides by d + 1e-4.
    """

    bottoms = (3, 3)
    ignored_by_force_backward = (2,)

    def reshape(self, shapes):
        super().reshape(shapes)
        first, second, labels = shapes
        for shape in (first, second):
            self.check(
                len(shape) >= 2 and math.prod(shape[2:]) == 1 and shape[1] == first[1],
                f"its bottoms are of shapes {tuple(first)} and {tuple(second)}, expected "
                "N x channels, the same for both",
            )
        _check_one_label_each(self, first, labels)
        return [()]

    def forward(self, bottoms, keep):
        given = self.parameter.contrastive_loss_param
        difference = _samples(bottoms[0]) - _samples(bottoms[1])
        similar = bottoms[2].reshape(-1, 1).long() != 0
        squares = difference.square().sum(1, keepdim=True)
        if given.legacy_version:
            others = (given.margin - squares).clamp_(min=0)
        else:
            others = (given.margin - squares.sqrt()).clamp_(min=0).square_()
        if keep:
            self._kept = difference, similar, squares, [each.shape for each in bottoms]
        return [torch.where(similar, squares, others).sum() / (2 * len(difference))]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[2], "cannot make a gradient for its labels")
        given = self.parameter.contrastive_loss_param
        difference, similar, squares, shapes = self._kept
        if given.legacy_version:
            others = -(squares < given.margin).to(squares.dtype)
        else:
            distances = squares.sqrt()
            others = (distances - given.margin).clamp_(max=0) / (distances + 1e-4)
        factors = torch.where(similar, torch.ones_like(others), others)
        diff = difference * (factors * (top_diffs[0] / len(difference)))
        return [
            diff.reshape(shapes[0]) if propagate_down[0] else None,
            -diff.reshape(shapes[1]) if propagate_down[1] else None,
            None,
        ]


def _samples(x):
    """A bottom as N x values."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def _check_one_label_each(layer, shape, labels):
    """Fail unless there is a label for each sample; BVLC Caffe reads the first N of more labels."""
    layer.check(
        math.prod(labels) == shape[0],
        f"has {math.prod(labels)} labels for {shape[0]} samples, expected one for each",
    )
