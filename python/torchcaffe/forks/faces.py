"""Layers of face recognition's forks: CenterLoss and MarginInnerProduct."""

import math

import torch

from torchcaffe.layers.base import ComputedLayer, Layer, layer
from torchcaffe.layers.classification import class_labels
from torchcaffe.layers.losses import Loss


def _check_labels(layer, samples, labels):
    layer.check(
        math.prod(labels) == samples,
        f"has {math.prod(labels)} labels for {samples} samples, expected one for each",
    )


@layer("CenterLoss")
class CenterLoss(Loss, Layer):
    """Half the squared distance of the features (first bottom) to their class's centre, over N.

    params[0]  the centres, (num_output, features); features are the axes from `axis` on

    The centres do not learn by the gradient. What they get in its place, whatever the loss_weight,
    is the sum of centre - features over the class's samples, divided by their number plus 1; a
    class without samples gets 0. Wen et al., A discriminative feature learning approach for deep
    face recognition, 2016.
    """

    def setup(self, shapes):
        given = self.parameter.center_loss_param
        self.check(given.num_output > 0, "num_output is 0, expected the number of classes")
        self._axis = self.canonical_axis(given.axis, len(shapes[0]))
        self.add_parameter(
            (given.num_output, math.prod(shapes[0][self._axis :])), given.center_filler
        )

    def reshape(self, shapes):
        super().reshape(shapes)
        features, expected = math.prod(shapes[0][self._axis :]), self.params[0].shape[1]
        self.check(features == expected, f"its bottom has {features} features, expected {expected}")
        _check_labels(self, math.prod(shapes[0][: self._axis]), shapes[1])
        return [()]

    def forward(self, bottoms, keep):
        centers = self.params[0].data
        x = bottoms[0].reshape(-1, centers.shape[1])
        labels, _ = class_labels(self, bottoms[1].reshape(-1), len(centers))
        difference = x - centers[labels]
        if keep:
            self._kept = labels, difference, bottoms[0].shape
        return [difference.square().sum() / (2 * len(x))]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[1], "cannot make a gradient for its labels")
        labels, difference, shape = self._kept
        if self.param_propagate_down[0]:
            centers = self.params[0].shape
            sums = difference.new_zeros(centers).index_add_(0, labels, difference, alpha=-1)
            counts = labels.bincount(minlength=centers[0])
            self.params[0].add_diff(sums / (1 + counts)[:, None])
        if not propagate_down[0]:
            return [None, None]
        return [(difference * (top_diffs[0] / len(difference))).reshape(shape), None]


@layer("MarginInnerProduct")
class MarginInnerProduct(ComputedLayer):
    """InnerProduct without a bias, of weights of length 1, with a margin in the label's angle.

    params[0]  weight, (num_output, values); each forward pass scales its rows to length 1

    With t the angle between a sample x and a row, a score is |x| cos t; the score of the label
    (second bottom) is |x| (psi(t) + lambda cos t) / (1 + lambda), psi(t) = (-1)^k cos(m t) - 2 k
    where t is from k pi / m to (k + 1) pi / m. m is 1 to 4 for `type` SINGLE to QUADRUPLE; SINGLE
    has no lambda. In the n-th forward pass (after `iteration`) lambda is base (1 + gamma n)^-power,
    but at least lambda_min; a second top is lambda. Liu et al., SphereFace, 2017.

    The gradient is the derivative of that. SphereFace's own code takes the weights' without margin,
    and scales the label's share of the samples' to length 1; a training there goes other ways.
    """

    bottoms = (2, 2)
    tops = (1, 2)
    ignored_by_force_backward = (1,)

    def setup(self, shapes):
        given = self.parameter.margin_inner_product_param
        self.check(given.num_output > 0, "num_output is 0, expected 1 or more")
        self._margin = 1 + given.type
        self._axis = self.canonical_axis(given.axis, len(shapes[0]))
        self._passes = given.iteration
        self.add_parameter(
            (given.num_output, math.prod(shapes[0][self._axis :])), given.weight_filler
        )

    def reshape(self, shapes):
        inner, expected = math.prod(shapes[0][self._axis :]), self.params[0].shape[1]
        self.check(
            inner == expected, f"its bottom has {inner} values a sample, expected {expected}"
        )
        _check_labels(self, math.prod(shapes[0][: self._axis]), shapes[1])
        top = (*shapes[0][: self._axis], self.params[0].shape[0])
        return [top, (1,)][: len(self.top_blobs)]

    def forward(self, bottoms, keep):
        given = self.parameter.margin_inner_product_param
        self._passes += 1
        self._lambda = max(
            given.base * (1 + given.gamma * self._passes) ** -given.power, given.lambda_min
        )
        weight = self.params[0].data
        weight.div_(weight.norm(dim=1, keepdim=True))
        return super().forward(bottoms, keep)

    def forget_last_pass(self):
        self._passes -= 1

    def compute(self, bottoms, params):
        x = bottoms[0].reshape(-1, params[0].shape[1])
        labels, _ = class_labels(self, bottoms[1].reshape(-1, 1), len(params[0]))
        scores = torch.nn.functional.linear(x, torch.nn.functional.normalize(params[0]))
        if self._margin > 1:
            length = x.norm(dim=1, keepdim=True)
            cosine = scores.gather(1, labels) / length
            psi = self._psi(cosine)
            label = length * (psi + self._lambda * cosine) / (1 + self._lambda)
            scores = scores.scatter(1, labels, label)
        scores = scores.reshape(self.top_blobs[0].shape)
        return [scores, scores.new_full((1,), self._lambda)][: len(self.top_blobs)]

    def _psi(self, cosine):
        multiple = {
            2: lambda c: 2 * c**2 - 1,
            3: lambda c: 4 * c**3 - 3 * c,
            4: lambda c: 8 * c**4 - 8 * c**2 + 1,
        }[self._margin](cosine)
        turns = sum(
            (cosine < math.cos(k * math.pi / self._margin)).to(cosine.dtype)
            for k in range(1, self._margin)
        )
        return (1 - 2 * (turns % 2)) * multiple - 2 * turns

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[1], "cannot make a gradient for its labels")
        return super().backward(top_diffs, propagate_down)
