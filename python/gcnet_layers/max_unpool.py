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
          python_param { module: "gcnet_layers"  layer: "MaxUnpool"
                         param_str: '{"name": "unpool"}' }
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

    # The same on torch tensors, for engines that offer them (torchcaffe). Such an engine may hand
    # over the mask of its own pooling without overlap as int64: right by construction, and no two
    # values meet.

    takes_index_mask = True

    def forward_tensors(self, bottoms):
        import torch

        values, mask = bottoms
        height, width = values.shape[2:]
        plane = [self.height or 2 * height, self.width or 2 * width]
        if mask.dtype == torch.int64:
            self.index = mask
            self.unpooled = self._again(values, plane)
            return [torch.ops.aten.max_unpool2d.out(values, mask, plane, out=self.unpooled)]
        self.index = _checked(mask, (*values.shape[:2], *plane))
        unpooled = values.new_zeros((*values.shape[:2], plane[0] * plane[1]))
        unpooled.scatter_add_(2, self.index.flatten(2), values.flatten(2))
        return [unpooled.view(*values.shape[:2], *plane)]

    def _again(self, values, plane):
        """The memory of the last pass, which is large and costs more to get than to fill."""
        import torch

        top = (*values.shape[:2], *plane)
        last = getattr(self, "unpooled", None)
        if last is not None and last.shape == top and last.device == values.device:
            return last
        # PyTorch's unpooling on a GPU writes in the contiguous order only.
        on_cpu = values.device.type == "cpu"
        order = torch.channels_last if on_cpu else torch.contiguous_format
        return values.new_empty(top).to(memory_format=order)

    def backward_tensors(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None, None]
        # Channels last for both, the order in which unpooled faces come: nothing is copied then.
        diff, index = (
            tensor.permute(0, 2, 3, 1).flatten(1, 2) for tensor in (top_diffs[0], self.index)
        )
        count, channels, height, width = self.index.shape
        found = diff.gather(1, index).view(count, height, width, channels)
        return [found.permute(0, 3, 1, 2), None]


def _checked(mask, top):
    """The mask as int64. Raises ValueError for places that `top`, a shape, does not have."""
    if mask.numel() and not (mask.min() >= 0 and mask.max() < top[2] * top[3]):
        raise ValueError(_out_of_range(mask, top))
    index = mask.long()
    if (index != mask).any():
        raise ValueError(FRACTIONAL)
    return index
