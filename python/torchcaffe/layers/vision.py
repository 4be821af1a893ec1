"""Layers over images: convolution and its relatives, pooling, cropping."""

import math

import torch

from torchcaffe import convolution
from torchcaffe.blob import by
from torchcaffe.layers.base import ComputedLayer, Layer, layer
from torchcaffe.memory import Buffers
from torchcaffe.schema import caffe_pb2

POOL_METHODS = {
    caffe_pb2.PoolingParameter.MAX: "MAX",
    caffe_pb2.PoolingParameter.AVE: "AVE",
    caffe_pb2.PoolingParameter.STOCHASTIC: "STOCHASTIC",
}


class WindowLayer(Layer):
    """A layer that slides the window of `convolution_param` over the axes after `axis`.

    kernel, stride, pad, dilation   tuples, an int for each spatial axis
    axis                            the axis of channels

    BVLC: each is given once for all spatial axes, or once for each, or with two spatial axes as
    `_h` and `_w` (not dilation); stride and dilation start at 1, pad at 0.
    """

    least_spatial_axes = 0

    def setup(self, shapes):
        given = self.parameter.convolution_param
        self.axis = self.canonical_axis(given.axis, len(shapes[0]))
        spatial_axes = len(shapes[0]) - self.axis - 1
        self.check(
            spatial_axes >= self.least_spatial_axes,
            f"axis {given.axis} leaves no spatial axes of a bottom of {len(shapes[0])} axes",
        )
        self.check(
            spatial_axes <= 3 or isinstance(self, Im2col),
            f"its bottom has {spatial_axes} spatial axes after axis {given.axis}, "
            "PyTorch convolves at most 3",
        )
        self.kernel = self._sizes("kernel_size", "kernel", spatial_axes, None)
        self.stride = self._sizes("stride", "stride", spatial_axes, 1)
        self.pad = self._sizes("pad", "pad", spatial_axes, 0)
        self.dilation = self._sizes("dilation", None, spatial_axes, 1)
        for name in ("kernel", "stride", "dilation"):
            sizes = getattr(self, name)
            self.check(all(sizes), f"has {name} {by(sizes)}; give at least 1")

    def _sizes(self, field, prefix, axes, default):
        given = self.parameter.convolution_param
        repeated = list(getattr(given, field))
        pair = (f"{prefix}_h", f"{prefix}_w")
        if prefix and any(given.HasField(name) for name in pair):
            self.check(axes == 2, f"has {pair[0]}/{pair[1]}, which need 2 spatial axes, got {axes}")
            self.check(
                not repeated, f"has {field} and {pair[0]}/{pair[1]}; give one of the two spellings"
            )
            return tuple(getattr(given, name) for name in pair)
        if not repeated and default is not None:
            return (default,) * axes
        self.check(
            len(repeated) in (1, axes),
            f"has {len(repeated)} {field}, expected {'1' if axes == 1 else f'1 or {axes}'}",
        )
        return tuple(repeated) if len(repeated) == axes else tuple(repeated) * axes

    @property
    def extent(self):
        """The window's size with its gaps of dilation, for each spatial axis."""
        return tuple(gap * (size - 1) + 1 for size, gap in zip(self.kernel, self.dilation))

    def slid(self, image):
        """How many windows fit into an image, for each spatial axis; fails where none does.

        BVLC rounds towards zero and so lets a window that is too large by less than the stride
        hang over the end; such a net is a mistake and refused here.
        """
        for size, pad, extent in zip(image, self.pad, self.extent):
            self.check(
                extent <= size + 2 * pad,
                f"its window {by(self.extent)} is larger than the image {by(image)} with its pad "
                f"{by(self.pad)}; make kernel_size or dilation smaller or pad greater",
            )
        return tuple(
            (size + 2 * pad - extent) // stride + 1
            for size, pad, extent, stride in zip(image, self.pad, self.extent, self.stride)
        )


class ConvolutionLayer(WindowLayer):
    """What Convolution and Deconvolution share. Any number of bottoms, a top for each.

    params[0]  weight, (rows, columns / group, *kernel)
    params[1]  bias, (num_output,), unless bias_term is false
    group      int
    """

    bottoms = (1, None)
    tops = (1, None)
    transposed = False

    def setup(self, shapes):
        super().setup(shapes)
        given = self.parameter.convolution_param
        count = len(self.top_blobs)
        self.check(
            len(shapes) == count, f"has {len(shapes)} bottoms and {count} tops; give a top for each"
        )
        self.group, self.num_output = given.group, given.num_output
        self.channels = shapes[0][self.axis]
        self.check(self.num_output > 0, "has num_output 0; give at least 1")
        self.check(
            self.group > 0 and not self.channels % self.group and not self.num_output % self.group,
            f"has group {self.group}, expected a divisor of its bottom's {self.channels} channels "
            f"and of num_output {self.num_output}",
        )
        rows, columns = self.num_output, self.channels
        if self.transposed:
            rows, columns = columns, rows
        self.add_parameter((rows, columns // self.group, *self.kernel), given.weight_filler)
        if given.bias_term:
            self.add_parameter((self.num_output,), given.bias_filler)
        self._top_buffers = [Buffers() for _ in shapes]
        self._diff_buffers = [Buffers() for _ in shapes]

    def reshape(self, shapes):
        first = shapes[0]
        axes = self.axis + 1 + len(self.kernel)
        self.check(len(first) == axes, f"its bottom has {len(first)} axes, expected {axes}")
        self.check(
            first[self.axis] == self.channels,
            f"its bottom has {first[self.axis]} channels, expected {self.channels}",
        )
        for shape in shapes:
            self.check(
                shape == first,
                f"has bottoms of shapes {by(first)} and {by(shape)}; make them equal",
            )
        image = self.image(tuple(first[self.axis + 1 :]))
        return [(*first[: self.axis], self.num_output, *image)] * len(shapes)

    def image(self, image):
        """The tops' spatial sizes for the bottoms'."""
        raise NotImplementedError

    def forward(self, bottoms, keep):
        weight = self._with_spatial_axes(self.params[0].data, 2)
        bias = self.params[1].data if len(self.params) > 1 else None
        folded = [self._folded(bottom) for bottom in bottoms]
        if keep:
            self._bottoms = folded
        return [
            self._unfolded(
                convolution.forward(x, weight, bias, self._geometry(), buffers), bottom.shape
            )
            for x, bottom, buffers in zip(folded, bottoms, self._top_buffers)
        ]

    def convolve(self, image, weight, bias):
        """The top for one bottom of the usual axes, with another weight and bias (or None)."""
        return convolution.forward(image, weight, bias, self._geometry(), self._top_buffers[0])

    def backward(self, top_diffs, propagate_down):
        weight = self._with_spatial_axes(self.params[0].data, 2)
        wanted = self.param_propagate_down
        has_bias = len(self.params) > 1
        gradients = []
        for bottom, diff, want, buffers in zip(
            self._bottoms, top_diffs, propagate_down, self._diff_buffers
        ):
            shape = diff.shape
            *results, bias_diff = (
                convolution.backward(
                    self._folded(diff),
                    bottom,
                    weight,
                    [want, wanted[0], has_bias and wanted[1]],
                    self._geometry(),
                    buffers,
                )
                if want or any(wanted)
                else (None, None, None)
            )
            gradients.append(self._unfolded(results[0], shape) if want else None)
            if wanted[0]:
                self.params[0].add_diff(results[1])
            if has_bias and wanted[1]:
                self.params[1].add_diff(bias_diff)
        return gradients

    def _geometry(self):
        filled = [list(sizes) or [start] for sizes, start in
                  ((self.stride, 1), (self.pad, 0), (self.dilation, 1))]  # fmt: skip
        return convolution.Geometry(*filled, self.group, self.transposed)

    def _folded(self, values):
        """The axes before channels as one, and at least one spatial axis."""
        if self.axis != 1:
            values = values.reshape(-1, *values.shape[self.axis :])
        return self._with_spatial_axes(values, 2)

    def _with_spatial_axes(self, values, axes):
        return values.unsqueeze(-1) if values.dim() == axes else values

    def _unfolded(self, values, shape):
        if self.axis == 1 and self.kernel:
            return values
        spatial = values.shape[2:] if self.kernel else ()
        return values.reshape(*shape[: self.axis], values.shape[1], *spatial)


@layer("Convolution")
class Convolution(ConvolutionLayer):
    """Cross-correlation with `num_output` kernels, weight (num_output, channels / group, *kernel).

    Over 0 to 3 spatial axes, as PyTorch convolves; BVLC's CPU code takes more. A window larger
    than the padded image is refused (see WindowLayer.slid), and so is dilation 0, for which BVLC
    takes the same value at all places of the window.
    """

    def image(self, image):
        return self.slid(image)


@layer("Deconvolution")
class Deconvolution(ConvolutionLayer):
    """The transpose of Convolution, weight (channels, num_output / group, *kernel).

    An image of n becomes stride (n - 1) + dilation (kernel - 1) + 1 - 2 pad.
    """

    transposed = True

    def image(self, image):
        sizes = tuple(
            stride * (size - 1) + extent - 2 * pad
            for size, pad, extent, stride in zip(image, self.pad, self.extent, self.stride)
        )
        self.check(
            all(size > 0 for size in sizes),
            f"its top would be {by(sizes)} large; make pad {by(self.pad)} smaller",
        )
        return sizes


@layer("Im2col")
class Im2col(WindowLayer, ComputedLayer):
    """The windows of a convolution as channels: (..., channels x window, *number of windows)."""

    least_spatial_axes = 1

    def reshape(self, shapes):
        (shape,) = shapes
        axes = self.axis + 1 + len(self.kernel)
        self.check(len(shape) == axes, f"its bottom has {len(shape)} axes, expected {axes}")
        channels = shape[self.axis] * math.prod(self.kernel)
        return [(*shape[: self.axis], channels, *self.slid(tuple(shape[self.axis + 1 :])))]

    def compute(self, bottoms, params):
        (x,) = bottoms
        axes = len(self.kernel)
        padding = [pad for pad in reversed(self.pad) for _ in range(2)]
        windows = torch.nn.functional.pad(x, padding)
        first = self.axis + 1
        for place in range(axes):
            windows = windows.unfold(first + place, self.extent[place], self.stride[place])
            windows = windows[..., :: self.dilation[place]]
        order = [*range(first), *range(first + axes, first + 2 * axes), *range(first, first + axes)]
        return windows.permute(order).flatten(self.axis, self.axis + axes)


class Window:
    """A pooling window: its geometry, and pooling by operations that PyTorch differentiates.

    method, kernel, stride, pad as in Pooling.
    """

    def __init__(self, method, kernel, stride, pad):
        self.method, self.kernel, self.stride, self.pad = method, kernel, stride, pad

    @property
    def is_torch(self):
        """Whether PyTorch's pooling takes the pad; its other rules are Caffe's."""
        return all(2 * pad <= kernel for kernel, pad in zip(self.kernel, self.pad))

    def pooled(self, image, ceil=True):
        """The number of windows for each axis of an image.

        BVLC: rounded up (or down); with pad, a last window that starts behind the image is dropped.
        """
        sizes = []
        for axis, (size, kernel, stride, pad) in enumerate(
            zip(image, self.kernel, self.stride, self.pad)
        ):
            room = size + 2 * pad - kernel
            count = (-(-room // stride) if ceil else room // stride) + 1
            if any(self.pad) and (count - 1) * stride >= size + self.pad[axis]:
                count -= 1
            sizes.append(count)
        return tuple(sizes)

    def pool(self, x, sizes):
        """(the top, for MAX the places of the greatest values in their h x w planes)"""
        (top, bottom), (left, right) = (
            (pad, (count - 1) * stride + kernel - size - pad)
            for count, kernel, stride, pad, size in zip(
                sizes, self.kernel, self.stride, self.pad, x.shape[2:]
            )
        )
        outside = -math.inf if self.method == "MAX" else 0
        padded = torch.nn.functional.pad(x, (left, right, top, bottom), value=outside)
        if self.method == "MAX":
            values, places = torch.nn.functional.max_pool2d(
                padded, self.kernel, self.stride, return_indices=True
            )
            width = padded.shape[3]
            return values, (places // width - top) * x.shape[3] + places % width - left
        sums = torch.nn.functional.avg_pool2d(padded, self.kernel, self.stride, divisor_override=1)
        rows, columns = (
            torch.tensor(
                [min(kernel, size + 2 * pad - i * stride) for i in range(count)], device=x.device
            )
            for count, kernel, stride, pad, size in zip(
                sizes, self.kernel, self.stride, self.pad, x.shape[2:]
            )
        )
        return sums / (rows[:, None] * columns), None


@layer("Pooling")
class Pooling(ComputedLayer):
    """The greatest (MAX) or mean (AVE) value of each window of a 4-axis bottom.

    A second top of MAX is the place of the greatest value in its h x w plane, as float; of equal
    ones the first. AVE divides by the window's size with the part of it that is in the padding, but
    not by what is behind that.

    BVLC: the number of windows is rounded up unless round_mode is FLOOR; with pad, the last window
    must start inside the image or the padding before it. Without pad and with a stride greater than
    the kernel BVLC makes windows outside the image, whose results are -FLT_MAX or NaN and whose
    gradients it writes outside its memory; they are refused here. STOCHASTIC is refused, too, as by
    BVLC on the CPU.

    method             "MAX" or "AVE"
    kernel, stride, pad   (h, w); kernel is the image with global_pooling
    mask_as_index      whether the second top is int64, for unpoolings alone (fusion.py sets it)
    """

    tops = (1, 2)
    mask_as_index = False

    def setup(self, shapes):
        given = self.parameter.pooling_param
        self.method = POOL_METHODS[given.pool]
        self.check(
            self.method != "STOCHASTIC",
            "pool: STOCHASTIC is not implemented (nor by BVLC Caffe on the CPU); use MAX or AVE",
        )
        self.check(
            self.method == "MAX" or len(self.top_blobs) == 1,
            f"has {len(self.top_blobs)} tops; the second, the mask, is only for pool: MAX",
        )
        self.global_pooling = given.global_pooling
        self.ceil = given.round_mode == caffe_pb2.PoolingParameter.CEIL
        self.stride = self._pair("stride", "stride")
        self.pad = self._pair("pad", "pad")
        self.check(all(self.stride), f"has stride {by(self.stride)}; give at least 1")
        if self.global_pooling:
            self.check(
                not any(given.HasField(f"kernel_{name}") for name in ("size", "h", "w")),
                "has global_pooling and a kernel; give one",
            )
            self.check(
                self.pad == (0, 0) and self.stride == (1, 1),
                f"has global_pooling with pad {by(self.pad)} and stride {by(self.stride)}; "
                "leave them out",
            )
            self.kernel = None
            return
        self.check(
            any(given.HasField(f"kernel_{name}") for name in ("size", "h", "w")),
            "has no kernel_size",
        )
        self.kernel = self._pair("kernel_size", "kernel")
        self.check(all(self.kernel), f"has kernel {by(self.kernel)}; give at least 1")
        self.check(
            all(pad < kernel for pad, kernel in zip(self.pad, self.kernel)),
            f"has pad {by(self.pad)} for kernel {by(self.kernel)}; pad must be smaller",
        )

    def _pair(self, field, prefix):
        given = self.parameter.pooling_param
        pair = (f"{prefix}_h", f"{prefix}_w")
        if not any(given.HasField(name) for name in pair):
            return (getattr(given, field),) * 2
        self.check(
            not given.HasField(field) and all(given.HasField(name) for name in pair),
            f"give either {field} or both {pair[0]} and {pair[1]}",
        )
        return tuple(getattr(given, name) for name in pair)

    def reshape(self, shapes):
        (shape,) = shapes
        self.check(len(shape) == 4, f"its bottom has {len(shape)} axes, expected 4")
        image = self._image = tuple(shape[2:])
        if self.global_pooling:
            self.kernel = image
        self._window = Window(self.method, self.kernel, self.stride, self.pad)
        self._sizes = self._window.pooled(image, self.ceil)
        self.check(
            all(size > 0 for size in self._sizes),
            f"its kernel {by(self.kernel)} is larger than the image {by(image)} with pad "
            f"{by(self.pad)}; make it smaller",
        )
        self.check(
            all(
                (count - 1) * stride < size + pad
                for count, stride, size, pad in zip(self._sizes, self.stride, image, self.pad)
            ),
            f"its last window of kernel {by(self.kernel)} and stride {by(self.stride)} would be "
            f"outside the image {by(image)}; use round_mode: FLOOR or a smaller stride",
        )
        return [(*shape[:2], *self._sizes)] * len(self.top_blobs)

    def compute(self, bottoms, params):
        values, places = self._window.pool(bottoms[0], self._sizes)
        if len(self.top_blobs) == 1:
            return values
        return values, places.to(values.dtype)

    def forward(self, bottoms, keep):
        if not self._window.is_torch:
            return super().forward(bottoms, keep)
        (x,) = bottoms
        if keep:
            self._bottom = x
        if self.method == "AVE":
            return [torch.ops.aten.avg_pool2d(x, *self._geometry(), self.ceil, True)]
        values, places = torch.ops.aten.max_pool2d_with_indices(x, *self._geometry(), 1, self.ceil)
        if keep:
            self._places = places
        if len(self.top_blobs) == 1:
            return [values]
        return [values, places if self.mask_as_index else places.to(values.dtype)]

    def backward(self, top_diffs, propagate_down):
        if not self._window.is_torch:
            return super().backward(top_diffs, propagate_down)
        if not propagate_down[0]:
            return [None]
        diff = top_diffs[0]
        if self.method == "AVE":
            return [
                torch.ops.aten.avg_pool2d_backward(
                    diff, self._bottom, *self._geometry(), self.ceil, True, None
                )
            ]
        return [
            torch.ops.aten.max_pool2d_with_indices_backward(
                diff, self._bottom, *self._geometry(), [1, 1], self.ceil, self._places
            )
        ]

    @property
    def has_no_overlap(self):
        """Whether this is max pooling by windows side by side that cover the image exactly."""
        return (
            self.method == "MAX"
            and self.pad == (0, 0)
            and tuple(self.kernel) == tuple(self.stride)
            and all(size % kernel == 0 for size, kernel in zip(self._image, self.kernel))
        )

    def _geometry(self):
        return list(self.kernel), list(self.stride), list(self.pad)


@layer("SPP")
class SPP(ComputedLayer):
    """Spatial pyramid pooling: at level i the image in 2^i x 2^i bins, MAX or AVE of each.

    The top is (n, sum of the levels' channels x bins); with one level only BVLC does not flatten
    it: (n, channels, 1, 1).

    BVLC: bins are ceil(size / 2^i) large and the padding is half of what they are too large
    together, rounded up; a level whose padding is not smaller than its bin is refused.
    """

    def setup(self, shapes):
        given = self.parameter.spp_param
        self.method = POOL_METHODS[given.pool]
        self.check(
            self.method != "STOCHASTIC",
            "pool: STOCHASTIC is not implemented (nor by BVLC Caffe on the CPU); use MAX or AVE",
        )
        self.check(given.pyramid_height > 0, "has pyramid_height 0; give at least 1")

    def reshape(self, shapes):
        (shape,) = shapes
        self.check(len(shape) == 4, f"its bottom has {len(shape)} axes, expected 4")
        image = tuple(shape[2:])
        height = self.parameter.spp_param.pyramid_height
        self._levels = []
        for level in range(height):
            bins = 2**level
            kernel = tuple(-(-size // bins) for size in image)
            pad = tuple((k * bins - size + 1) // 2 for k, size in zip(kernel, image))
            self.check(
                all(p < k for p, k in zip(pad, kernel)),
                f"has pyramid_height {height}, too much for an image of {by(image)}: "
                f"level {level} has bins of {by(kernel)} and pad {by(pad)}",
            )
            window = Window(self.method, kernel, kernel, pad)
            self._levels.append((window, window.pooled(image)))
        if height == 1:
            return [(*shape[:2], 1, 1)]
        return [(shape[0], shape[1] * sum(math.prod(sizes) for _, sizes in self._levels))]

    def compute(self, bottoms, params):
        tops = [window.pool(bottoms[0], sizes)[0] for window, sizes in self._levels]
        return tops[0] if len(tops) == 1 else torch.cat([top.flatten(1) for top in tops], 1)


@layer("Crop")
class Crop(Layer):
    """The first bottom from `offset` on, as large as the second from `axis` on.

    One offset is for all axes from `axis` on, else there is one for each. BVLC: the second bottom
    gives only its shape and gets no gradient.
    """

    bottoms = (2, 2)

    def setup(self, shapes):
        given = self.parameter.crop_param
        axes = len(shapes[0])
        self.axis = self.canonical_axis(given.axis, axes)
        count = len(given.offset)
        self.check(
            count <= 1 or count == axes - self.axis,
            f"has {count} offsets, expected none, 1 or {axes - self.axis} for the axes from "
            f"{self.axis} on",
        )

    def reshape(self, shapes):
        given = self.parameter.crop_param
        shape, wanted = shapes
        self.check(
            len(shape) <= len(wanted),
            f"its second bottom has {len(wanted)} axes, expected the first one's {len(shape)}",
        )
        offsets = list(given.offset) or [0]
        if len(offsets) == 1:
            offsets *= len(shape) - self.axis
        self._slices = [slice(None)] * self.axis
        for axis, offset in enumerate(offsets, self.axis):
            self.check(
                offset + wanted[axis] <= shape[axis],
                f"cannot crop {wanted[axis]} values at offset {offset} from axis {axis} "
                f"of {shape[axis]}",
            )
            self._slices.append(slice(offset, offset + wanted[axis]))
        return [(*shape[: self.axis], *wanted[self.axis : len(shape)])]

    def forward(self, bottoms, keep):
        if keep:
            self._bottoms = bottoms
        return [bottoms[0][tuple(self._slices)].clone()]

    def backward(self, top_diffs, propagate_down):
        gradients = [
            torch.zeros_like(bottom) if want else None
            for bottom, want in zip(self._bottoms, propagate_down)
        ]
        if propagate_down[0]:
            gradients[0][tuple(self._slices)] = top_diffs[0]
        return gradients
