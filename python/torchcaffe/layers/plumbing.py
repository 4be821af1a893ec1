"""Layers that move values and compute nothing."""

import itertools
import math

import torch

from torchcaffe.layers.base import Layer, layer


@layer("Input")
class Input(Layer):
    """Tops that the caller fills. `input_param`: one shape for all tops or one for each.

    A shape that the caller gives a top later stays, as in BVLC Caffe: only the building of the net
    looks at `input_param`.
    """

    bottoms = (0, 0)
    tops = (1, None)

    def setup(self, shapes):
        given = self.parameter.input_param.shape
        count = len(self.top_blobs)
        self.check(
            len(given) in (0, 1, count),
            f"has {len(given)} shapes for {count} tops; give one for each, or one for all",
        )
        shapes = [tuple(shape.dim) for shape in given]
        self._given = shapes * count if len(shapes) == 1 else shapes

    def reshape(self, shapes):
        if self._given:
            made, self._given = self._given, None
            return made
        return [blob.shape for blob in self.top_blobs]

    def forward(self, bottoms, keep):
        return [blob.data for blob in self.top_blobs]


@layer("Parameter")
class Parameter(Layer):
    """A parameter blob of `parameter_param { shape }` as top, zeros at the start.

    As in BVLC Caffe the gradient of the top is the parameter's: each backward pass replaces it and
    does not add to it.
    """

    bottoms = (0, 0)

    def setup(self, shapes):
        self.add_parameter(self.parameter.parameter_param.shape.dim)

    def reshape(self, shapes):
        return [self.params[0].shape]

    def forward(self, bottoms, keep):
        return [self.params[0].data]

    def backward(self, top_diffs, propagate_down):
        # A copy: solvers clip and scale gradients in place, and this one may be other blobs' too.
        self.params[0].set_diff(top_diffs[0].clone())
        return []


@layer("Split")
class Split(Layer):
    """The bottom as every top; gradients add up. The net inserts it (graph.with_splits)."""

    tops = (1, None)

    def reshape(self, shapes):
        return [shapes[0]] * len(self.top_blobs)

    def forward(self, bottoms, keep):
        return [bottoms[0]] * len(self.top_blobs)

    def backward(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None]
        total = top_diffs[0]
        for diff in top_diffs[1:]:
            total = total + diff
        return [total]


@layer("Silence")
class Silence(Layer):
    """No top, so that the bottoms are not outputs of the net. Gradient: zeros."""

    bottoms = (1, None)
    tops = (0, 0)
    reads_bottoms = False

    def reshape(self, shapes):
        return []

    def backward(self, top_diffs, propagate_down):
        return [
            torch.zeros(blob.shape, device=self.device) if wanted else None
            for blob, wanted in zip(self.bottom_blobs, propagate_down)
        ]


class _AlongAxis(Layer):
    """A layer whose axis may also be given by an older, unsigned field (`concat_dim`)."""

    def axis(self, given, old, axes):
        self.check(
            not (given.HasField("axis") and given.HasField(old)), f"has axis and {old}; give axis"
        )
        if not given.HasField(old):
            return self.canonical_axis(given.axis, axes)
        place = getattr(given, old)
        self.check(place < axes, f"{old} {place} is out of range for a bottom of {axes} axes")
        return place


@layer("Concat")
class Concat(_AlongAxis):
    """The bottoms one after the other along `axis`; the other axes are equal."""

    bottoms = (1, None)

    def reshape(self, shapes):
        first = shapes[0]
        self._axis = axis = self.axis(self.parameter.concat_param, "concat_dim", len(first))
        for place, shape in enumerate(shapes):
            self.check(
                len(shape) == len(first)
                and all(a == b for i, (a, b) in enumerate(zip(shape, first)) if i != axis),
                f"its bottom {place} is of shape {_text(shape)}, the first of {_text(first)}; "
                f"they may differ in axis {axis} only",
            )
        self._sizes = [shape[axis] for shape in shapes]
        return [(*first[:axis], sum(self._sizes), *first[axis + 1 :])]

    def forward(self, bottoms, keep):
        return [torch.cat(bottoms, self._axis) if len(bottoms) > 1 else bottoms[0]]

    def backward(self, top_diffs, propagate_down):
        parts = top_diffs[0].split(self._sizes, self._axis)
        return [part if wanted else None for part, wanted in zip(parts, propagate_down)]


@layer("Slice")
class Slice(_AlongAxis):
    """Parts of the bottom along `axis`: cut before each `slice_point`, or into equal parts.

    Fails on a `slice_point` at the very end, where BVLC Caffe makes a last top without values.
    """

    tops = (1, None)

    def reshape(self, shapes):
        shape, count = shapes[0], len(self.top_blobs)
        given = self.parameter.slice_param
        self._axis = axis = self.axis(given, "slice_dim", len(shape))
        points = list(given.slice_point)
        if points:
            self.check(
                len(points) == count - 1,
                f"has {len(points)} slice_point for {count} tops, expected {count - 1}",
            )
            ends = [0, *points, shape[axis]]
            self.check(
                all(a < b for a, b in itertools.pairwise(ends)),
                f"slice_point {points} do not rise between 0 and {shape[axis]}, "
                f"the size of axis {axis}",
            )
            self._sizes = [b - a for a, b in itertools.pairwise(ends)]
        else:
            self.check(
                shape[axis] % count == 0,
                f"{count} tops do not divide axis {axis} of size {shape[axis]}; give slice_point",
            )
            self._sizes = [shape[axis] // count] * count
        return [(*shape[:axis], size, *shape[axis + 1 :]) for size in self._sizes]

    def forward(self, bottoms, keep):
        return list(bottoms[0].split(self._sizes, self._axis))

    def backward(self, top_diffs, propagate_down):
        return [torch.cat(top_diffs, self._axis) if propagate_down[0] else None]


class _Reshaped(Layer):
    """A layer whose top has the bottom's values in another shape."""

    def setup(self, shapes):
        self.check(
            self.top_blobs[0] is not self.bottom_blobs[0],
            "cannot work in place; give its top another name than its bottom's",
        )

    def reshape(self, shapes):
        self._bottom, self._top = shapes[0], self.new_shape(shapes[0])
        return [self._top]

    def new_shape(self, shape):
        raise NotImplementedError

    def forward(self, bottoms, keep):
        return [bottoms[0].reshape(self._top)]

    def backward(self, top_diffs, propagate_down):
        return [top_diffs[0].reshape(self._bottom) if propagate_down[0] else None]


@layer("Reshape")
class Reshape(_Reshaped):
    """`num_axes` axes from `axis` on (-1: all of them) replaced by `shape`.

    A dim of 0 copies the bottom's size at that place, one dim of -1 is what remains.
    BVLC Caffe loses the gradient where a Flatten reads this layer's top; here it has it.
    """

    def new_shape(self, shape):
        given = self.parameter.reshape_param
        axes, dims = len(shape), list(given.shape.dim)
        start = given.axis if given.axis >= 0 else axes + given.axis + 1
        self.check(
            0 <= start <= axes, f"axis {given.axis} is out of range for a bottom of {axes} axes"
        )
        self.check(given.num_axes >= -1, f"num_axes is {given.num_axes}, expected -1 or more")
        end = axes if given.num_axes == -1 else start + given.num_axes
        self.check(
            end <= axes,
            f"axis {start} and num_axes {given.num_axes} reach over the {axes} axes of its bottom",
        )
        self.check(dims.count(-1) <= 1, f"shape {_text(dims)} has more than one dim of -1")
        self.check(min(dims, default=0) >= -1, f"shape {_text(dims)} has a negative dim")
        for place, size in enumerate(dims):
            if size == 0:
                self.check(
                    start + place < axes,
                    f"dim {place} of shape is 0, but its bottom has no axis {start + place}",
                )
                dims[place] = shape[start + place]
        kept = math.prod(shape[:start]) * math.prod(shape[end:])
        if -1 in dims:
            others = kept * math.prod(size for size in dims if size != -1)
            count = math.prod(shape)
            self.check(
                others and count % others == 0,
                f"its bottom has {count} values, which {others}, the product of the other dims, "
                "does not divide",
            )
            dims[dims.index(-1)] = count // others
        top = (*shape[:start], *dims, *shape[end:])
        self.check(
            math.prod(top) == math.prod(shape),
            f"its bottom of shape {_text(shape)} has {math.prod(shape)} values, "
            f"the top's shape {_text(top)} {math.prod(top)}; they must be as many",
        )
        return top


@layer("Flatten")
class Flatten(_Reshaped):
    """The axes from `axis` to `end_axis`, both included, as one."""

    def new_shape(self, shape):
        given = self.parameter.flatten_param
        start = self.canonical_axis(given.axis, len(shape))
        end = self.canonical_axis(given.end_axis, len(shape)) + 1
        # As in BVLC Caffe, an end just before the start puts in an axis of size 1.
        self.check(end >= start, f"end_axis {end - 1} is before axis {start}")
        return (*shape[:start], math.prod(shape[start:end]), *shape[end:])


@layer("Tile")
class Tile(Layer):
    """The bottom `tiles` times along `axis`."""

    def setup(self, shapes):
        tiles = self.parameter.tile_param.tiles
        self.check(tiles > 0, f"tiles is {tiles}, expected 1 or more")

    def reshape(self, shapes):
        shape, given = shapes[0], self.parameter.tile_param
        self._shape = shape
        self._axis = axis = self.canonical_axis(given.axis, len(shape))
        return [(*shape[:axis], shape[axis] * given.tiles, *shape[axis + 1 :])]

    def forward(self, bottoms, keep):
        return [torch.cat([bottoms[0]] * self.parameter.tile_param.tiles, self._axis)]

    def backward(self, top_diffs, propagate_down):
        if not propagate_down[0]:
            return [None]
        tiled = top_diffs[0].unflatten(
            self._axis, (self.parameter.tile_param.tiles, self._shape[self._axis])
        )
        return [tiled.sum(self._axis)]


@layer("BatchReindex")
class BatchReindex(Layer):
    """The samples of the first bottom that the second one numbers, in its order.

    A number may come several times; gradients add up. Fails on a number that is no sample.
    BVLC Caffe ends with force_backward; here the numbers get no gradient.
    """

    bottoms = (2, 2)
    ignored_by_force_backward = (1,)

    def reshape(self, shapes):
        samples, numbers = shapes
        self.check(
            len(samples) > 0 and len(numbers) == 1,
            f"its second bottom is of shape {_text(numbers)}, expected one axis",
        )
        return [(numbers[0], *samples[1:])]

    def forward(self, bottoms, keep):
        samples, numbers = bottoms
        self._numbers, self._shape = numbers.long(), samples.shape
        if numbers.numel():
            # Not the truncated numbers: -0.5 is refused as BVLC Caffe does.
            least, most = numbers.min().item(), numbers.max().item()
            self.check(
                least >= 0 and most < samples.shape[0],
                f"its second bottom names samples from {least:g} to {most:g}, "
                f"expected numbers from 0 to {samples.shape[0] - 1}",
            )
        return [samples.index_select(0, self._numbers)]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[1], "has no gradient for its second bottom, the numbers")
        if not propagate_down[0]:
            return [None, None]
        diff = torch.zeros(self._shape, device=self.device)
        return [diff.index_add_(0, self._numbers, top_diffs[0]), None]


@layer("Filter")
class Filter(Layer):
    """The samples of each bottom for which the last bottom, the selector, is not 0.

    As in BVLC Caffe the tops have all samples until the first pass; a pass without any sample makes
    tops of size 0. Its gradient is zeros then, where BVLC Caffe divides by zero. BVLC Caffe ends
    with force_backward; here the selector gets no gradient.
    """

    bottoms = (2, None)
    tops = (1, None)

    def setup(self, shapes):
        count = len(self.bottom_blobs) - 1
        self.check(
            len(self.top_blobs) == count,
            f"has {len(self.top_blobs)} tops for {count} bottoms and a selector, expected {count}",
        )
        self.ignored_by_force_backward = (count,)
        self._first = True

    def reshape(self, shapes):
        *samples, selector = shapes
        self.check(
            math.prod(selector[1:]) == 1 and len(selector) > 0,
            f"its selector is of shape {_text(selector)}, expected one value a sample",
        )
        for place, shape in enumerate(samples):
            self.check(
                shape[:1] == selector[:1],
                f"its bottom {place} is of shape {_text(shape)}, "
                f"its selector of {_text(selector)}; give both as many samples",
            )
        count = selector[0]
        if not self._first:
            count = int(self.bottom_blobs[-1].data.count_nonzero())
        self._first = False
        return [(count, *shape[1:]) for shape in samples]

    def forward(self, bottoms, keep):
        *samples, selector = bottoms
        self._chosen = selector.reshape(-1).nonzero().reshape(-1)
        self._shapes = [bottom.shape for bottom in samples]
        return [bottom.index_select(0, self._chosen) for bottom in samples]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[-1], "has no gradient for its last bottom, the selector")
        diffs = []
        for diff, shape, wanted in zip(top_diffs, self._shapes, propagate_down):
            if wanted:
                whole = torch.zeros(shape, device=self.device)
                diffs.append(whole.index_copy_(0, self._chosen, diff))
            else:
                diffs.append(None)
        return [*diffs, None]


def _text(shape):
    return " ".join(map(str, shape)) or "()"
