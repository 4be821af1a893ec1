"""Layers of segmentation's forks that make an image larger: Interp, Upsample, Unpooling."""

import torch

from torchcaffe.blob import by
from torchcaffe.forks.without_gradient import WithoutGradient
from torchcaffe.layers.base import ComputedLayer, Layer, layer


@layer("Interp")
class Interp(ComputedLayer):
    """A 4-axis bottom in another size, interpolated linearly in both axes (DeepLab, PSPNet).

    The corners' values stay at the corners. `pad_beg` and `pad_end`, at most 0, first cut off as
    many rows and columns before and behind. Of n, `shrink_factor` s makes (n - 1) / s + 1, rounded
    down, and then `zoom_factor` z makes (n - 1) z + 1; or `height` and `width` say the size.
    """

    def reshape(self, shapes):
        given = self.parameter.interp_param
        (shape,) = shapes
        self.check(len(shape) == 4, f"its bottom has {len(shape)} axes, expected 4")
        self.check(
            given.pad_beg <= 0 and given.pad_end <= 0,
            f"has pad_beg {given.pad_beg} and pad_end {given.pad_end}; give at most 0",
        )
        sizes = [size + given.pad_beg + given.pad_end for size in shape[2:]]
        self.check(
            min(sizes) > 0,
            f"its pad_beg {given.pad_beg} and pad_end {given.pad_end} leave nothing of an image "
            f"of {by(shape[2:])}",
        )
        factors = given.HasField("zoom_factor") or given.HasField("shrink_factor")
        fixed = given.HasField("height") or given.HasField("width")
        self.check(factors != fixed, "give zoom_factor, shrink_factor or both, or height and width")
        if fixed:
            self._sizes = (given.height, given.width)
            self.check(
                min(self._sizes) > 0,
                f"has height {given.height} and width {given.width}; give both, at least 1",
            )
        else:
            self.check(
                given.zoom_factor > 0 and given.shrink_factor > 0,
                f"has zoom_factor {given.zoom_factor} and shrink_factor {given.shrink_factor}; "
                "give at least 1",
            )
            shrunk = [(size - 1) // given.shrink_factor + 1 for size in sizes]
            self._sizes = tuple((size - 1) * given.zoom_factor + 1 for size in shrunk)
        return [(*shape[:2], *self._sizes)]

    def compute(self, bottoms, params):
        given = self.parameter.interp_param
        rows, columns = (
            slice(-given.pad_beg, size + given.pad_end) for size in bottoms[0].shape[2:]
        )
        return torch.nn.functional.interpolate(
            bottoms[0][:, :, rows, columns], self._sizes, mode="bilinear", align_corners=True
        )


class _ByMask(WithoutGradient, Layer):
    """Puts the values of the first bottom where the second, the mask of a max pooling, says.

    The rest of the top is 0. Of several values for one place (from overlapping windows) the last
    stays, and each of them gets the place's gradient, as in the forks. The mask's gradient is 0.
    """

    bottoms = (1, 2)
    ignored_by_force_backward = (1,)
    takes_index_mask = True

    def image(self, image):
        """The top's height and width for the bottoms'."""
        raise NotImplementedError

    def without_mask(self, values):
        """The top for a bottom without a mask."""
        raise NotImplementedError

    def diff_without_mask(self, diff):
        raise NotImplementedError

    def reshape(self, shapes):
        for shape in shapes:
            self.check(len(shape) == 4, f"its bottom has {len(shape)} axes, expected 4")
            self.check(
                shape == shapes[0],
                f"its mask is {by(shape)} and its first bottom {by(shapes[0])}; make them equal",
            )
        self._sizes = self.image(tuple(shapes[0][2:]))
        self.check(min(self._sizes) > 0, f"its top would be {by(self._sizes)} large")
        return [(*shapes[0][:2], *self._sizes)]

    def forward(self, bottoms, keep):
        values = bottoms[0]
        self._index = None
        if len(bottoms) == 1:
            return [self.without_mask(values)]
        places = self._sizes[0] * self._sizes[1]
        index = bottoms[1].long()
        low, high = (int(each) for each in index.aminmax())
        self.check(
            low >= 0 and high < places,
            f"its mask has places from {low} to {high}, but its top of {by(self._sizes)} has 0 to "
            f"{places - 1}; give the size of what the mask's pooling has pooled",
        )
        self._index = index.flatten(2)
        top = torch.zeros((*values.shape[:2], places), device=values.device)
        return [top.scatter_(2, self._index, values.flatten(2)).unflatten(2, self._sizes)]

    def backward(self, top_diffs, propagate_down):
        gradients = self.zeros(propagate_down)
        if propagate_down[0] and self._index is None:
            gradients[0] = self.diff_without_mask(top_diffs[0])
        elif propagate_down[0]:
            shape = self.bottom_blobs[0].shape
            gradients[0] = top_diffs[0].flatten(2).gather(2, self._index).reshape(shape)
        return gradients


@layer("Upsample")
class Upsample(_ByMask):
    """SegNet's, of values and the mask of their max pooling; YOLO's, of one bottom.

    The top's size is `upsample_h` and `upsample_w`, or the bottom's times `scale` (`scale_h`,
    `scale_w`), less one with `pad_out_h`, `pad_out_w`. One bottom: each value `scale` x `scale`
    times. Badrinarayanan et al., SegNet, 2015.
    """

    def setup(self, shapes):
        given = self.parameter.upsample_param
        for pair, single in (
            (("upsample_h", "upsample_w"), None),
            (("scale_h", "scale_w"), "scale"),
        ):
            count = sum(given.HasField(name) for name in pair)
            self.check(
                count in (0, 2) and not (count and single and given.HasField(single)),
                f"give both {pair[0]} and {pair[1]}" + (f", or {single}" if single else ""),
            )
        self._fixed = (given.upsample_h, given.upsample_w) if given.HasField("upsample_h") else None
        self._scales = (
            (given.scale_h, given.scale_w) if given.HasField("scale_h") else (given.scale,) * 2
        )
        self._cut = (int(given.pad_out_h), int(given.pad_out_w))
        self.check(
            len(shapes) == 2 or not (self._fixed or any(self._cut)),
            "has one bottom, for which there is only scale; or give the mask as the second",
        )

    def image(self, image):
        return self._fixed or tuple(
            size * scale - cut for size, scale, cut in zip(image, self._scales, self._cut)
        )

    def without_mask(self, values):
        rows, columns = self._scales
        return values.repeat_interleave(rows, 2).repeat_interleave(columns, 3)

    def diff_without_mask(self, diff):
        rows, columns = self._scales
        return diff.unflatten(3, (-1, columns)).unflatten(2, (-1, rows)).sum((3, 5))


@layer("Unpooling")
class Unpooling(_ByMask):
    """DeconvNet's, of values and the mask of their max pooling.

    The top's size is `unpool_size` (`unpool_h`, `unpool_w`); without it, of n the greater of
    (n - 1) stride + kernel and n stride + 1. Without a mask a value goes to the first place of its
    window. Noh et al., Learning deconvolution network, 2015.
    """

    def setup(self, shapes):
        self._fixed = self._pair("unpool_size", "unpool")
        self._kernel, self._stride = (
            self._pair("kernel_size", "kernel"),
            self._pair("stride", "stride"),
        )
        self.check(self._stride and min(self._stride) > 0, "has stride 0; give at least 1")
        self.check(self._pair("pad", "pad") == (0, 0), "has a pad, which the fork does not allow")
        self.check(
            self._fixed or self._kernel, "has neither unpool_size nor the pooling's kernel_size"
        )

    def _pair(self, field, prefix):
        """(for rows, for columns); None where the text does not say and there is no default."""
        given = self.parameter.unpooling_param
        pair = [name for name in (f"{prefix}_h", f"{prefix}_w") if given.HasField(name)]
        self.check(
            len(pair) in (0, 2) and not (pair and given.HasField(field)),
            f"give either {field} or both {prefix}_h and {prefix}_w",
        )
        if pair:
            return tuple(getattr(given, name) for name in pair)
        return (getattr(given, field),) * 2 if getattr(given, field) or field == "pad" else None

    def image(self, image):
        return self._fixed or tuple(
            max((size - 1) * stride + kernel, size * stride + 1)
            for size, stride, kernel in zip(image, self._stride, self._kernel)
        )

    def _windows(self, top, image):
        """The first place of each window, as a view of the top."""
        rows, columns = self._stride
        return top[:, :, ::rows, ::columns][:, :, : image[0], : image[1]]

    def without_mask(self, values):
        image = values.shape[2:]
        top = torch.zeros((*values.shape[:2], *self._sizes), device=values.device)
        firsts = self._windows(top, image)
        self.check(
            firsts.shape == values.shape,
            f"its top of {by(self._sizes)} has no {by(image)} windows at stride {by(self._stride)}",
        )
        firsts.copy_(values)
        return top

    def diff_without_mask(self, diff):
        return self._windows(diff, self.bottom_blobs[0].shape[2:])
