"""Layers of Fast R-CNN's fork: ROIPooling and SmoothL1Loss."""

import math

import torch

from torchcaffe.blob import by
from torchcaffe.forks.without_gradient import WithoutGradient
from torchcaffe.layers.base import ComputedLayer, Layer, layer
from torchcaffe.layers.losses import Loss


@layer("ROIPooling")
class ROIPooling(WithoutGradient, Layer):
    """The greatest value in each of pooled_h x pooled_w parts of each region of the first bottom.

    The second bottom has a region a row: which image, and x1, y1, x2, y2 in its pixels. Times
    `spatial_scale` and rounded (halves away from zero) they are the first and the last column and
    row; at least one. Parts begin at the rounded-down and end at the rounded-up multiple of the
    region's share, and overlap so; one outside of the image is 0. Top: regions x channels x
    pooled_h x pooled_w. The regions' gradient is 0. Girshick, Fast R-CNN, 2015.
    """

    bottoms = (2, 2)
    ignored_by_force_backward = (1,)

    def setup(self, shapes):
        given = self.parameter.roi_pooling_param
        self._pooled = (given.pooled_h, given.pooled_w)
        self.check(min(self._pooled) > 0, f"has pooled_h, pooled_w {by(self._pooled)}; give both")
        self.check(given.spatial_scale > 0, f"has spatial_scale {given.spatial_scale:g}")

    def reshape(self, shapes):
        image, regions = shapes
        self.check(len(image) == 4, f"its bottom has {len(image)} axes, expected 4")
        self.check(
            len(regions) > 0 and math.prod(regions[1:]) == 5,
            f"its second bottom is {by(regions)}, expected image, x1, y1, x2, y2 a region",
        )
        return [(regions[0], image[1], *self._pooled)]

    def forward(self, bottoms, keep):
        x, regions = bottoms
        top = torch.zeros(self.reshape([x.shape, regions.shape])[0], device=x.device)
        places = torch.full(top.shape, -1, device=x.device)
        scale = self.parameter.roi_pooling_param.spatial_scale
        images = []
        for number, (image, *corners) in enumerate(regions.reshape(-1, 5).tolist()):
            self.check(
                0 <= image < len(x),
                f"region {number} is of image {image:g}, its bottom has 0 to {len(x) - 1}",
            )
            self.check(
                all(map(math.isfinite, corners)),
                f"region {number} has corners {corners}; its second bottom must be finite",
            )
            images.append(int(image))
            left, up, right, down = (_rounded(corner * scale) for corner in corners)
            rows = self._parts(up, down, self._pooled[0], x.shape[2])
            columns = self._parts(left, right, self._pooled[1], x.shape[3])
            self._pool(x[int(image)], rows, columns, top[number], places[number])
        if keep:
            self._kept = images, places, x.shape
        return [top]

    def _parts(self, first, last, count, size):
        """[(start, stop)] of the parts along an axis, within the image."""
        length = max(last - first + 1, 1)
        clipped = ((k * length // count, -(-(k + 1) * length // count)) for k in range(count))
        return [tuple(min(max(end + first, 0), size) for end in ends) for ends in clipped]

    def _pool(self, image, rows, columns, top, places):
        """Fill a region's top and the places of its values. Columns first: of equal values the one
        in the first row is taken, and there the first."""
        for j, (left, right) in enumerate(columns):
            if left >= right:
                continue
            greatest, at = image[:, :, left:right].max(2)
            for i, (up, down) in enumerate(rows):
                if up >= down:
                    continue
                top[:, i, j], row = greatest[:, up:down].max(1)
                column = at[:, up:down].gather(1, row[:, None])[:, 0]
                places[:, i, j] = (row + up) * image.shape[2] + column + left

    def backward(self, top_diffs, propagate_down):
        gradients = self.zeros(propagate_down)
        if not propagate_down[0]:
            return gradients
        images, places, shape = self._kept
        gradient = gradients[0].flatten(2)
        diff = top_diffs[0] * (places >= 0)
        for number, image in enumerate(images):
            at = places[number].flatten(1).clamp(min=0)
            gradient[image].scatter_add_(1, at, diff[number].flatten(1))
        return [gradient.reshape(shape), gradients[1]]


def _rounded(value):
    """C's round: halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


@layer("SmoothL1Loss")
class SmoothL1Loss(WithoutGradient, Loss, ComputedLayer):
    """The sum of f(first - second bottom) over the size of the first axis.

    f(d) is (sigma d)^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2). A third bottom
    multiplies d before f, a fourth f itself; their gradient is 0. Also SSD's. Girshick, Fast
    R-CNN, 2015; the weights and sigma from Faster R-CNN.
    """

    bottoms = (2, 4)
    ignored_by_force_backward = (2, 3)

    def setup(self, shapes):
        super().setup(shapes)
        sigma = self.parameter.smooth_l1_loss_param.sigma
        self.check(sigma > 0, f"has sigma {sigma:g}; give more than 0")

    def reshape(self, shapes):
        super().reshape(shapes)
        for place, shape in enumerate(shapes):
            self.check(
                math.prod(shape) == math.prod(shapes[0]),
                f"its bottom {place} is {by(shape)}, expected as many values as the first, "
                f"{by(shapes[0])}",
            )
        return [()]

    def compute(self, bottoms, params):
        first, *others = (bottom.reshape(bottoms[0].shape) for bottom in bottoms)
        difference = first - others[0]
        if len(others) > 1:
            difference = difference * others[1]
        square = self.parameter.smooth_l1_loss_param.sigma**2
        size = difference.abs()
        losses = torch.where(
            size < 1 / square, size.square() * (square / 2), size - 1 / (2 * square)
        )
        if len(others) > 2:
            losses = losses * others[2]
        return losses.sum() / len(first)

    def backward(self, top_diffs, propagate_down):
        others = len(propagate_down) - 2
        gradients = super().backward(top_diffs, [*propagate_down[:2], *[False] * others])
        return [*gradients[:2], *self.zeros(propagate_down)[2:]]
