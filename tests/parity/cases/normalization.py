import math

import numpy as np

from parity.case import cases, single


@cases("LRN", count=12)
def lrn(chance, number):
    region = ("ACROSS_CHANNELS", "WITHIN_CHANNEL")[number % 2]
    return single(
        "LRN",
        {"x": (*chance.shape(2, 1, 8), *chance.shape(2, 1, 7))},
        f"lrn_param {{ norm_region: {region}  local_size: {chance.choice((1, 3, 5, 7))}"
        f"  alpha: {chance.uniform(0.1, 2):.3f}  beta: {chance.choice((0.5, 0.75, 1.3))}"
        f"  k: {chance.choice((0.5, 1, 2))} }}",
    )


@cases("BatchNorm", count=12)
def batch_norm(chance, number):
    shape = (1, 3) if number == 10 else ()
    while math.prod(shape[:1] + shape[2:]) < 3 and number != 10:
        # Of two values a channel, both engines' gradients are nothing but rounding.
        shape = chance.shape(chance.choice((2, 3, 4, 4, 5)))
    given = {0: "use_global_stats: true", 1: "use_global_stats: false"}.get(number % 5, "")
    rng = np.random.RandomState(number)
    channels = shape[1]
    return single(
        "BatchNorm",
        {"x": shape},
        f"{chance.maybe('param { lr_mult: 0 }  param { lr_mult: 0 }', 0.3)}"
        f"batch_norm_param {{ {given}  eps: {chance.choice((1e-5, 1e-3, 0.5))}"
        f"  moving_average_fraction: {chance.choice((0.999, 0.9, 0))} }}",
        tops=(("x",), ("top",))[chance.randint(0, 1)],
        params={
            ("layer", 0): rng.standard_normal(channels),
            ("layer", 1): rng.uniform(0.1, 3, channels),
            ("layer", 2): [0 if number == 9 else rng.uniform(0.5, 5)],
        },
        phase=("TRAIN", "TEST")[number % 3 == 2],
        passes=2,
    )


@cases("MVN", count=8)
def mvn(chance, number):
    return single(
        "MVN",
        {"x": chance.shape(1 + number % 4, 3, 6)},
        f"mvn_param {{ normalize_variance: {('true', 'false')[number // 4]}"
        f"  across_channels: {chance.flag()}  eps: {chance.choice((1e-9, 0.1, 1))} }}",
    )


def broadcast(chance, number, layer_type, text):
    """A layer with a parameter, or every third time with a second bottom; some in place."""
    axes = chance.randint(1, 5)
    shape = chance.shape(axes, 2 if number == 4 else 1)
    axis = chance.randint(0, axes - 1)
    count = chance.randint(0, axes - axis)
    in_place = chance.random() < 0.4
    inputs = {"x": shape}
    num_axes = "" if count == 1 else f"num_axes: {count}"
    if number % 3 == 2:
        inputs["small"] = shape[axis : axis + count]
        num_axes = ""
    elif chance.random() < 0.3:
        num_axes = "num_axes: -1"
    return single(
        layer_type,
        inputs,
        f"{layer_type.lower()}_param {{ axis: {chance.choice((axis, axis - axes))}  {num_axes}"
        f"  {text} }}",
        tops=("x",) if in_place else ("top",),
    )


@cases("Scale", count=12)
def scale(chance, number):
    return broadcast(chance, number, "Scale", f"bias_term: {chance.flag()}")


@cases("Bias", count=8)
def bias(chance, number):
    return broadcast(chance, number, "Bias", "")
