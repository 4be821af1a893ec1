"""MaxUnpool: puts pooled values back where their maxima were (Table I's "MaxUnPool", after
Noh et al., reference [31] of the paper)."""

import numpy as np

from gcnet_layers.reported import ReportedLayer, shape_text


FRACTIONAL = "mask has fractional entries, expected whole numbers"


def _out_of_range(mask, top):
    return (
        "mask has entries from {:g} to {:g}, expected 0 to {} for tops of {}x{}; the "
        "mask must come from the pooling that this layer undoes".format(
            float(mask.min()), float(mask.max()), top[2] * top[3] - 1, top[2], top[3]
        )
    )


class MaxUnpool(ReportedLayer):
    """Scatter N x C x h x w values to N x C x H x W by the mask of a max pooling layer.

    bottom 0: values, float32, N x C x h x w.
    bottom 1: mask, the second top of Caffe's MAX pooling, same shape: for each value its index
        in the H*W plane it came from, as a float. It gets no gradient.
    top 0: N x C x H x W, zero where no mask entry points. Values that point to one place (from
        overlapping pooling windows) add up, which makes backward exactly the transpose.
    param_str: optional JSON, `{"height": H, "width": W}`; without it H = 2 h and W = 2 w, the
        inverse of 2x2 pooling with stride 2.

        layer {
          name: "unpool"  type: "Python"  bottom: "pool"  bottom: "mask"  top: "unpool"
          python_param { module: "gcnet_layers"  layer: "MaxUnpool"  param_str: '{"name": "unpool"}' }
        }

    Raises (printed with the layer's name before Caffe aborts): ValueError for bottoms that are
    not 4-dimensional or differ in shape, for an H or W that is not a positive whole number, and
    for a mask entry that is not a whole number from 0 to H*W - 1.
    """

    parameters = {"height": None, "width": None}
    bottoms = ("values", "mask")

    def setup(self, bottom, top):
        super().setup(bottom, top)
        for key in self.parameters:
            size = getattr(self, key)
            if size is not None and (type(size) is not int or size < 1):
                raise ValueError(
                    "param_str has {} {!r}, expected a positive whole number".format(key, size)
                )

    def reshape(self, bottom, top):
        values, mask = tuple(bottom[0].shape), tuple(bottom[1].shape)
        if len(values) != 4 or values != mask:
            raise ValueError(
                "values are {} and mask is {}, expected two blobs of one shape "
                "N x C x h x w".format(shape_text(bottom[0]), shape_text(bottom[1]))
            )
        count, channels, height, width = values
        top[0].reshape(count, channels, self.height or 2 * height, self.width or 2 * width)

    def forward(self, bottom, top):
        unpooled = top[0].data
        plane = unpooled.shape[2] * unpooled.shape[3]
        mask = bottom[1].data
        # Written so that NaN, which compares as false, is refused as well.
        if not (mask.min(initial=0) >= 0 and mask.max(initial=0) < plane):
            raise ValueError(_out_of_range(mask, unpooled.shape))
        index = mask.astype(np.int64)
        if (index != mask).any():
            raise ValueError(FRACTIONAL)
        index += np.arange(0, unpooled.size, plane).reshape(mask.shape[:2] + (1, 1))
        self.target = index.ravel()
        values = bottom[0].data.ravel()
        flat = unpooled.reshape(-1)
        flat.fill(0)
        flat[self.target] = values
        # An assignment keeps one of several values for a place. Then some nonzero value is missing,
        # and only then the sums are taken, which cost eight times as much.
        if np.count_nonzero(unpooled != 0) != np.count_nonzero(values != 0):
            flat[...] = np.bincount(self.target, weights=values, minlength=unpooled.size)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff.ravel()[self.target].reshape(bottom[0].diff.shape)

    # The same on torch tensors, for engines that offer them (torchcaffe). Mostly each mask entry
    # lies in the 2x2 window of its own value; then no two values meet, and four selections do.

    def forward_tensors(self, bottoms):
        values, mask = bottoms
        count, channels, height, width = values.shape
        top = (count, channels, self.height or 2 * height, self.width or 2 * width)
        self.own = _own_windows(mask) if top[2:] == (2 * height, 2 * width) else None
        if self.own is None:
            return [self._scatter(values, mask, top)]
        import torch

        unpooled = values.new_empty(top).to(memory_format=_memory_order(values))
        zero = values.new_zeros(())
        for corner, here in zip(_corners(unpooled), self.own):
            torch.where(here, values, zero, out=corner)
        return [unpooled]

    def backward_tensors(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None, None]
        diff = top_diffs[0]
        if self.own is None:
            return [diff.flatten(2).gather(2, self.index).reshape(self.bottom_shape), None]
        corners = _corners(diff)
        found = corners[0]
        for corner, here in zip(corners[1:], self.own[1:]):
            found = corner.where(here, found)
        return [found, None]

    def _scatter(self, values, mask, top):
        plane = top[2] * top[3]
        if mask.numel() and not (mask.min() >= 0 and mask.max() < plane):
            raise ValueError(_out_of_range(mask, top))
        index = mask.long()
        if (index != mask).any():
            raise ValueError(FRACTIONAL)
        self.index, self.bottom_shape = index.flatten(2), values.shape
        unpooled = values.new_zeros(top[:2] + (plane,))
        unpooled.scatter_add_(2, self.index, values.flatten(2))
        return unpooled.reshape(top).contiguous(memory_format=_memory_order(values))


def _own_windows(mask):
    """For each corner of 2x2 windows whether a value goes there; None if one goes elsewhere."""
    import torch

    height, width = mask.shape[2:]
    rows = torch.arange(height, device=mask.device, dtype=mask.dtype) * (4 * width)
    columns = torch.arange(width, device=mask.device, dtype=mask.dtype) * 2
    inside = mask - (rows[:, None] + columns)
    corners = [inside == place for place in (0, 1, 2 * width, 2 * width + 1)]
    all_found = (corners[0] | corners[1] | corners[2] | corners[3]).all()
    return corners if all_found else None


def _corners(unpooled):
    return [unpooled[:, :, i::2, j::2] for i in range(2) for j in range(2)]


def _memory_order(tensor):
    import torch

    channels_last = tensor.is_contiguous(memory_format=torch.channels_last)
    if channels_last and not tensor.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format
