"""Segmentation's layers: Interp, Upsample, Unpooling, BN, and Pooling that rounds down."""

import math

import numpy as np

from forks.definition import define

random = np.random.RandomState(2)


def interp(rows, columns, cut=(0, 0)):
    """Linear between the corners, of an image without `cut` rows and columns at its ends."""

    def tops(inputs, params):
        (x,) = inputs
        x = x[:, :, cut[0] : x.shape[2] - cut[1], cut[0] : x.shape[3] - cut[1]]
        top = np.zeros((*x.shape[:2], rows, columns))
        for i in range(rows):
            for j in range(columns):
                y = i * (x.shape[2] - 1) / (rows - 1) if rows > 1 else 0
                z = j * (x.shape[3] - 1) / (columns - 1) if columns > 1 else 0
                for m in range(x.shape[2]):
                    for n in range(x.shape[3]):
                        share = max(0, 1 - abs(y - m)) * max(0, 1 - abs(z - n))
                        top[:, :, i, j] += share * x[:, :, m, n]
        return [top]

    return tops


image = random.standard_normal((2, 2, 4, 5))
for fields, tops in (
    ("height: 7  width: 6", interp(7, 6)),
    ("height: 3  width: 1", interp(3, 1)),
    ("zoom_factor: 2", interp(7, 9)),
    ("shrink_factor: 2", interp(2, 3)),
    ("shrink_factor: 2  zoom_factor: 3", interp(4, 7)),
    ("zoom_factor: 2  pad_beg: -1  pad_end: -1", interp(3, 5, (1, 1))),
):
    define(f"Interp {fields}", "Interp", {"x": image}, f"interp_param {{ {fields} }}", tops)


def by_mask(rows, columns):
    def tops(inputs, params):
        values, mask = inputs
        top = np.zeros((*values.shape[:2], rows, columns))
        for n, c, i, j in np.ndindex(values.shape):
            place = int(mask[n, c, i, j])
            top[n, c, place // columns, place % columns] = values[n, c, i, j]
        return [top]

    return tops


def mask(shape, places):
    """Different places in each plane."""
    planes = [random.permutation(places)[: shape[2] * shape[3]] for _ in range(shape[0] * shape[1])]
    return np.array(planes, np.float64).reshape(shape)


values = random.standard_normal((2, 2, 2, 3))
for layer_type, fields, rows, columns in (
    ("Upsample", "upsample_param { }", 4, 6),
    ("Upsample", "upsample_param { scale: 3 }", 6, 9),
    ("Upsample", "upsample_param { scale: 2  pad_out_h: true }", 3, 6),
    ("Upsample", "upsample_param { scale_h: 2  scale_w: 4 }", 4, 12),
    ("Upsample", "upsample_param { upsample_h: 5  upsample_w: 7 }", 5, 7),
    ("Unpooling", "unpooling_param { unpool_size: 6 }", 6, 6),
    ("Unpooling", "unpooling_param { unpool_h: 4  unpool_w: 7 }", 4, 7),
    ("Unpooling", "unpooling_param { kernel_size: 3  stride: 2 }", 5, 7),
):
    define(
        f"{layer_type} {fields}",
        layer_type,
        {"x": values, "mask": mask(values.shape, rows * columns)},
        fields,
        by_mask(rows, columns),
        constant=["mask"],
    )


define(
    "Upsample of one bottom",
    "Upsample",
    {"x": values},
    "upsample_param { scale: 2 }",
    lambda inputs, params: [np.kron(inputs[0], np.ones((2, 2)))],
)


def first_places(inputs, params):
    top = np.zeros((2, 2, 5, 7))
    top[:, :, :4:2, :6:2] = inputs[0]
    return [top]


define(
    "Unpooling of one bottom",
    "Unpooling",
    {"x": values},
    "unpooling_param { kernel_size: 2  stride: 2  unpool_h: 5  unpool_w: 7 }",
    first_places,
)


# ---- BN


def normalized(x, mean, variance, eps, scale, shift):
    return (x - mean) / np.sqrt(variance + eps) * scale + shift


def of_batch(eps, tops=1):
    def bn(inputs, params):
        (x,) = inputs
        mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        return [normalized(x, mean, variance, eps, *params[:2]), mean, variance][:tops]

    return bn


def of_params(inputs, params):
    scale, shift, mean, variance = params
    return [normalized(inputs[0], mean, variance, 1e-3, scale, shift)]


x = random.standard_normal((3, 2, 2, 3))
scale, shift, mean = random.standard_normal((3, 1, 2, 1, 1))
variance = random.uniform(0.5, 2, (1, 2, 1, 1))
FILLERS = 'scale_filler { type: "constant"  value: 1 }'
define("BN", "BN", {"x": x}, "", of_batch(1e-9), params=[scale, shift])
define(
    "BN of SegNet in the phase TEST",
    "BN",
    {"x": x},
    f"bn_param {{ {FILLERS} }}",
    of_batch(1e-9, tops=3),
    params=[scale, shift],
    phase="TEST",
)
define(
    "BN, bn_mode: INFERENCE",
    "BN",
    {"x": x},
    f"bn_param {{ {FILLERS}  bn_mode: INFERENCE }}",
    lambda inputs, params: [inputs[0] * params[0] + params[1]],
    params=[scale, shift],
)
define(
    "BN of PSPNet",
    "BN",
    {"x": x},
    "bn_param { momentum: 0.9  eps: 1e-3 }",
    of_batch(1e-3),
    params=[scale, shift, mean, variance],
    learned=(True, True, False, False),
)
for name, phase, fields in (("TEST", "TEST", ""), ("frozen", "TRAIN", "frozen: true")):
    define(
        f"BN of PSPNet, {name}",
        "BN",
        {"x": x},
        f"bn_param {{ eps: 1e-3  {fields} }}",
        of_params,
        params=[scale, shift, mean, variance],
        phase=phase,
        learned=(True, True, False, False),
    )


# ---- Pooling


def pooled(inputs, params, rounded=math.floor):
    (x,) = inputs
    rows, columns = (rounded((size - 3) / 2) + 1 for size in x.shape[2:])
    top = np.zeros((*x.shape[:2], rows, columns))
    for i in range(rows):
        for j in range(columns):
            top[:, :, i, j] = x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((2, 3))
    return [top]


for flag, rounded in (("false", math.floor), ("true", math.ceil)):
    define(
        f"Pooling ceil_mode: {flag}",
        "Pooling",
        {"x": random.standard_normal((2, 2, 6, 8))},
        f"pooling_param {{ pool: MAX  kernel_size: 3  stride: 2  ceil_mode: {flag} }}",
        lambda inputs, params, rounded=rounded: pooled(inputs, params, rounded),
    )
