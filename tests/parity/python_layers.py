"""Python layers of the parity tests, for Python 3.9 and numpy 1.19 in both engines."""

import caffe
import numpy as np


class Affine(caffe.Layer):
    """Two bottoms of N x C: top 0 = a * (bottom 0) + b, top 1 = bottom 0 * bottom 1.

    param_str: the value that a starts with. Gradients are those of the formula.
    """

    def setup(self, bottom, top):
        assert len(bottom) == 2 and len(top) == 2
        self.blobs.add_blob(bottom[0].channels)
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = float(self.param_str)
        self.passes = 0

    def reshape(self, bottom, top):
        for place in range(2):
            top[place].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.passes += 1
        top[0].data[...] = self.blobs[0].data * bottom[0].data + self.blobs[1].data
        top[1].data[...] = bottom[0].data * bottom[1].data

    def backward(self, top, propagate_down, bottom):
        assert all(type(want) is bool for want in propagate_down)
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(axis=0)
        self.blobs[1].diff[...] += top[0].diff.sum()
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data + top[1].diff * bottom[1].data
        if propagate_down[1]:
            bottom[1].diff[...] = top[1].diff * bottom[0].data


class Counter(caffe.Layer):
    """No bottoms: a data layer whose `reshape` makes another batch size in each pass."""

    def setup(self, bottom, top):
        self.number = 0

    def reshape(self, bottom, top):
        self.number += 1
        top[0].reshape(1 + self.number % 3, 2)

    def forward(self, bottom, top):
        top[0].data[...] = np.arange(top[0].count).reshape(top[0].data.shape) + self.number

    def backward(self, top, propagate_down, bottom):
        pass


class Double(caffe.Layer):
    """Twice the bottom, also in place."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = (2 + self.phase) * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff


class Unlucky(Double):
    """Raises what scripts catch: a RuntimeError."""

    def setup(self, bottom, top):
        raise RuntimeError("no luck")
