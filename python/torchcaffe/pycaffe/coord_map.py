"""How places in one blob of a NetSpec belong to places in another, for cropping one to the other.

A map (axis, scale, shift) says where along the axes after `axis` a place of a layer's bottom is in
its top: scale times it, plus shift. axis None: the layer leaves places alone.
"""

import numpy as np

from torchcaffe.pycaffe.net_spec import layers as L

PASS_THROUGH_LAYERS = [
    "AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Log", "LRN", "Exp", "MVN",
    "Power", "ReLU", "PReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold",
]  # fmt: skip


class UndefinedMapException(Exception):
    """A layer of this type has no map."""


class AxisMismatchException(Exception):
    """Two maps are of different axes."""


def conv_params(fn):
    """(axis, stride, extent, pad) of the kernel of a Convolution, Im2col, Pooling and so on."""
    params = fn.params.get("convolution_param", fn.params)
    sided = {f"{name}_{side}" for name in ("pad", "kernel", "stride") for side in "hw"}
    assert not sided & set(fn.params), (
        f"coordinates are mapped only for square kernels, not {sorted(sided & set(fn.params))}"
    )

    def sizes(name, *default):
        return np.array(params.get(name, *default) if default else params[name], ndmin=1)

    extent = (sizes("kernel_size") - 1) * sizes("dilation", 1) + 1
    return params.get("axis", 1), sizes("stride", 1), extent, sizes("pad", 0)


def crop_params(fn):
    """(axis, offset) of a Crop."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def coord_map(fn):
    """The map of a layer. Raises UndefinedMapException for types that have none."""
    if fn.type_name in PASS_THROUGH_LAYERS:
        return None, 1, 0
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset
    raise UndefinedMapException(f"places are not mapped through layers of type {fn.type_name}")


def compose(base_map, next_map):
    """The map that does `next_map` and then `base_map`."""
    axis, scale, shift = base_map
    next_axis, next_scale, next_shift = next_map
    if None not in (axis, next_axis) and axis != next_axis:
        raise AxisMismatchException(f"maps are of axis {axis} and of axis {next_axis}")
    return (
        next_axis if axis is None else axis,
        scale * next_scale,
        scale * next_shift + shift,
    )


def inverse(coord_map):
    """The map that goes back."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def coord_map_from_to(top_from, top_to):
    """The map from the places of one top to those of another, by a blob that both come from.

    Raises RuntimeError if there is none.
    """
    from_maps = dict(_ancestors(top_from))
    for top, its_map in _ancestors(top_to):
        if top in from_maps:
            return compose(its_map, inverse(from_maps[top]))
    raise RuntimeError("the two tops have no blob in common below them that places map to")


def _ancestors(top):
    """Pairs of a blob below `top` (itself first) and the map from it to `top`."""
    waiting = [(top, (None, 1, 0))]
    seen = set()
    while waiting:
        top, its_map = waiting.pop()
        if top in seen:
            continue
        seen.add(top)
        yield top, its_map
        try:
            below = compose(its_map, coord_map(top.fn))
        except UndefinedMapException:
            continue
        # A Crop's second bottom only lends its size.
        bottoms = top.fn.inputs[:1] if top.fn.type_name == "Crop" else top.fn.inputs
        waiting.extend((bottom, below) for bottom in bottoms)


def crop(top_from, top_to):
    """A Crop of `top_from` to the places of `top_to`.

    Raises AssertionError for scales that differ and for offsets that are negative or no whole
    numbers.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    assert np.all(np.equal(scale, 1)), f"the two tops have different scales ({scale})"
    assert np.all(np.less_equal(shift, 0)), f"cannot crop by the negative offset {-shift}"
    assert np.all(np.round(shift) == shift), f"cannot crop by {-shift}, no whole number"
    offset = [int(size) for size in np.atleast_1d(-np.round(shift))]
    return L.Crop(top_from, top_to, crop_param={"axis": axis + 1, "offset": offset})
