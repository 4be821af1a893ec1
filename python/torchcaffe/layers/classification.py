"""Softmax, and what is said of classes: Accuracy, ArgMax."""

import math

import torch

from torchcaffe.layers.base import Layer, layer


def check_labels(layer, scores, labels, axis):
    """Fail unless a bottom of shape `labels` has a label for each place of the scores' classes."""
    expected = math.prod(scores) // scores[axis] if scores[axis] else 0
    layer.check(
        math.prod(labels) == expected,
        f"has {math.prod(labels)} labels, expected {expected}: one for each vector of scores along "
        f"axis {axis} of its bottom of shape {tuple(scores)}",
    )


def class_labels(layer, labels, classes, ignored=None):
    """The labels as whole numbers (fractions cut off, as BVLC Caffe does), and which ones count.

    labels   tensor of any shape
    classes  labels are from 0 to below this
    ignored  a label that does not count; None: all count

    Returns an int64 tensor, 0 where a label does not count, and a bool tensor, None if all count;
    both of the labels' shape. Fails with the first label out of range (BVLC Caffe then reads
    memory that is not the bottom's).
    """
    numbers = labels.long()
    counted = None
    if ignored is not None:
        counted = numbers != ignored
        numbers = numbers * counted
    wrong = (numbers < 0) | (numbers >= classes)
    if wrong.any():
        layer.fail(
            f"a label is {labels[wrong][0].item():g}, expected a whole number from 0 to "
            f"{classes - 1}, since there are {classes} classes; correct the labels or the number "
            "of classes"
        )
    return numbers, counted


@layer("Softmax")
class Softmax(Layer):
    """exp(x) divided by its sum along `axis`."""

    def reshape(self, shapes):
        self.axis = self.canonical_axis(self.parameter.softmax_param.axis, len(shapes[0]))
        return [shapes[0]]

    def forward(self, bottoms, keep):
        top = torch.softmax(bottoms[0], self.axis)
        if keep:
            self._top = top
        return [top]

    def backward(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None]
        diff = top_diffs[0]
        return [torch.ops.aten._softmax_backward_data(diff, self._top, self.axis, diff.dtype)]


@layer("Accuracy")
class Accuracy(Layer):
    """The share of labels (second bottom) whose score is among the `top_k` best along `axis`.

    BVLC: as good a score of another class counts as better; labels that are `ignore_label` do not
    count; no label at all gives 0. A second top has the share for each class, 0 for a class
    without labels. It has no gradient: BVLC Caffe aborts with force_backward, here the bottoms
    then get none.
    """

    bottoms = (2, 2)
    tops = (1, 2)
    ignored_by_force_backward = (0, 1)

    def reshape(self, shapes):
        given = self.parameter.accuracy_param
        scores, labels = shapes
        self.axis = self.canonical_axis(given.axis, len(scores))
        check_labels(self, scores, labels, self.axis)
        classes = scores[self.axis]
        self.check(
            given.top_k <= classes, f"top_k is {given.top_k}, but its bottom has {classes} classes"
        )
        return [(), (classes,)][: len(self.top_blobs)]

    def forward(self, bottoms, keep):
        given = self.parameter.accuracy_param
        scores = bottoms[0].movedim(self.axis, 0)
        scores = scores.reshape(len(scores), -1)
        labels, counted = class_labels(
            self,
            bottoms[1].flatten(),
            len(scores),
            given.ignore_label if given.HasField("ignore_label") else None,
        )
        own = scores.gather(0, labels[None])
        # The label's own score is as good as itself; one that is not a number is not, as in BVLC.
        right = ((scores >= own).sum(0) - 1 < given.top_k).float()
        weights = torch.ones_like(right) if counted is None else counted.float()
        right *= weights
        tops = [right.sum() / weights.sum().clamp(min=1)]
        if len(self.top_blobs) == 2:
            hits, of = (
                torch.zeros(len(scores), device=self.device).index_add_(0, labels, each)
                for each in (right, weights)
            )
            tops.append(hits / of.clamp(min=1))
        return tops

    def backward(self, top_diffs, propagate_down):
        self.check(
            not any(propagate_down), "has no gradient; it is no loss, leave out its loss_weight"
        )
        return [None, None]


@layer("ArgMax")
class ArgMax(Layer):
    """The places of the `top_k` greatest values, greatest first.

    Along `axis` the top is the bottom's shape with top_k there: places, or with `out_max_val` the
    values. Without axis it is over all of a sample's values: N x 1 x top_k, or with out_max_val
    N x 2 x top_k with places, then values; and axes of 1 as many as the bottom has. BVLC: of equal
    values the last place is first. It has no gradient: BVLC Caffe aborts, here it is an error only
    if the bottom's gradient is wanted, and force_backward does not ask for it.
    """

    ignored_by_force_backward = (0,)

    def setup(self, shapes):
        self._axis(shapes[0])

    def _axis(self, shape):
        given = self.parameter.argmax_param
        axis = None
        if given.HasField("axis"):
            axis = self.canonical_axis(given.axis, len(shape))
        count = math.prod(shape[1:]) if axis is None else shape[axis]
        self.check(
            1 <= given.top_k <= count,
            f"top_k is {given.top_k}, expected a number from 1 to {count}, the number of values "
            "to choose from",
        )
        return axis

    def reshape(self, shapes):
        given = self.parameter.argmax_param
        shape = shapes[0]
        self.axis = self._axis(shape)
        if self.axis is not None:
            return [(*shape[: self.axis], given.top_k, *shape[self.axis + 1 :])]
        ones = (1,) * (len(shape) - 3)
        return [(shape[0], 2 if given.out_max_val else 1, given.top_k, *ones)]

    def forward(self, bottoms, keep):
        given = self.parameter.argmax_param
        x, axis = bottoms[0], self.axis
        if axis is None:
            x, axis = x.reshape(len(x), math.prod(x.shape[1:])), 1
        # From the back, so that the first of equal values is the last.
        flipped = x.flip(axis)
        if given.top_k == 1:
            places = flipped.argmax(axis, keepdim=True)
        else:
            order = flipped.argsort(dim=axis, descending=True, stable=True)
            places = order.narrow(axis, 0, given.top_k)
        places = x.shape[axis] - 1 - places
        values = x.gather(axis, places) if given.out_max_val else None
        places = places.to(x.dtype)
        if self.axis is not None:
            return [places if values is None else values]
        top = places if values is None else torch.stack([places, values], 1)
        return [top.reshape(self.top_blobs[0].shape)]

    def backward(self, top_diffs, propagate_down):
        return self.no_gradient(propagate_down)
