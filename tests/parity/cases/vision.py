import math

import numpy as np

from parity.case import Case, cases, single


def repeated(chance, name, sizes):
    """A convolution_param field: once for all axes, or for each, or with _h and _w."""
    if len(set(sizes)) == 1 and chance.random() < 0.6:
        return f"{name}: {sizes[0]}"
    if len(sizes) == 2 and name != "dilation" and chance.random() < 0.5:
        short = name.replace("_size", "")
        return f"{short}_h: {sizes[0]}  {short}_w: {sizes[1]}"
    return "  ".join(f"{name}: {size}" for size in sizes)


def window(chance, axes, most_pad=2):
    """(text of kernel, stride, pad, dilation; the least image; the pads; the extents)"""
    kernel, stride, dilation, pad = (
        [chance.randint(least, most)] * axes
        if chance.random() < 0.5
        else [chance.randint(least, most) for _ in range(axes)]
        for least, most in ((1, 4), (1, 3), (1, 2), (0, most_pad))
    )
    text = "  ".join(
        (
            repeated(chance, "kernel_size", kernel),
            repeated(chance, "stride", stride) if any(size != 1 for size in stride) else "",
            repeated(chance, "dilation", dilation) if any(size != 1 for size in dilation) else "",
            repeated(chance, "pad", pad) if any(pad) else "",
        )
    )
    extent = [gap * (size - 1) + 1 for size, gap in zip(kernel, dilation)]
    least = [max(1, size - 2 * edge) for size, edge in zip(extent, pad)]
    return text, least, pad, extent


def convolution_case(layer_type, chance, number):
    axes = (2, 2, 2, 2, 1, 3, 2, 0)[number % 8]
    text, least, pad, extent = window(chance, axes)
    if axes == 0:
        text = ""
    group = chance.choice((1, 1, 2, 3))
    leading = chance.choice((1, 1, 1, 2))
    if layer_type == "Deconvolution":
        least = [max(1, 2 * edge - size + 2) for edge, size in zip(pad, extent)]
    image = [size + chance.randint(0, 4 if axes < 3 else 2) for size in least]
    shape = (*chance.shape(leading, 1, 3), group * chance.randint(1, 3), *image)
    names = [f"x{i}" for i in range(chance.choice((1, 1, 1, 2)))]
    return single(
        layer_type,
        dict.fromkeys(names, shape),
        f"convolution_param {{ num_output: {group * chance.randint(1, 3)}"
        f"  {text}  {f'group: {group}' if group > 1 else ''}"
        f"  {f'axis: {chance.choice((leading, leading - len(shape)))}' if leading > 1 else ''}"
        f"  bias_term: {chance.flag()}  {chance.maybe('force_nd_im2col: true', 0.2)} }}",
        tops=[f"top{i}" for i in range(len(names))],
        passes=2 if chance.random() < 0.2 else 1,
    )


@cases("Convolution", count=24)
def convolution(chance, number):
    if number == 23:
        return Case(
            "two Convolutions of one weight, one image",
            """
            layer { name: "a"  type: "Convolution"  bottom: "x"  top: "a"
              param { name: "w" }  param { name: "b"  lr_mult: 0 }
              convolution_param { num_output: 3  kernel_size: 3  pad: 1 } }
            layer { name: "b"  type: "Convolution"  bottom: "a"  top: "b"
              param { name: "w" }  param { name: "b" }
              convolution_param { num_output: 3  kernel_size: 3  pad: 1 } }
            """,
            {"x": (2, 3, 5, 4)},
        )
    case = convolution_case("Convolution", chance, number)
    if number == 22:
        # The net's shapes change after it was built.
        case = single(
            "Convolution",
            {"x": (2, 3, 5, 6)},
            "convolution_param { num_output: 2  kernel_size: 3  stride: 2 }",
            reshape={"x": (1, 3, 8, 4)},
        )
    return case


@cases("Deconvolution", count=16)
def deconvolution(chance, number):
    return convolution_case("Deconvolution", chance, number)


@cases("Im2col", count=8)
def im2col(chance, number):
    axes = (2, 2, 1, 3)[number % 4]
    text, least, _, _ = window(chance, axes)
    leading = chance.choice((1, 2))
    shape = (
        *chance.shape(leading, 1, 3),
        chance.randint(1, 3),
        *(size + chance.randint(0, 3) for size in least),
    )
    return single("Im2col", {"x": shape}, f"convolution_param {{ {text}  axis: {leading} }}")


def pooled(size, kernel, stride, pad, padded, ceil):
    """(number of windows, whether all start in the image)"""
    count = (math.ceil if ceil else math.floor)((size + 2 * pad - kernel) / stride) + 1
    if padded and (count - 1) * stride >= size + pad:
        count -= 1
    return count, count > 0 and (count - 1) * stride < size + pad


@cases("Pooling", count=24)
def pooling(chance, number):
    method = ("MAX", "AVE", "MAX")[number % 3]
    tops = ("top", "mask") if number % 3 == 2 else ("top",)
    if number in (12, 13, 14):
        return single(
            "Pooling",
            {"x": chance.shape(4)},
            f"pooling_param {{ pool: {method}  global_pooling: true }}",
            tops,
        )
    while True:
        image, kernel, stride = (
            [chance.randint(*limits) for _ in range(2)] for limits in ((1, 9), (1, 5), (1, 4))
        )
        pad = [chance.choice((0, chance.randint(0, size - 1))) for size in kernel]
        if chance.random() < 0.4:
            kernel, stride, pad = [kernel[0]] * 2, [stride[0]] * 2, [pad[0]] * 2
        ceil = chance.random() < 0.7
        if all(pooled(*sizes, any(pad), ceil)[1] for sizes in zip(image, kernel, stride, pad)):
            break
    text = "  ".join(
        f"{name}: {sizes[0]}"
        if sizes[0] == sizes[1]
        else f"{short}_h: {sizes[0]}  {short}_w: {sizes[1]}"
        for name, short, sizes in (
            ("kernel_size", "kernel", kernel),
            ("stride", "stride", stride),
            ("pad", "pad", pad),
        )
    )
    shape = (*chance.shape(2, 1, 3), *image)
    x = shape
    if number % 2:
        # Few different values: of equal ones the first wins.
        x = np.random.RandomState(chance.randint(0, 10**6)).randint(-1, 2, shape)
    return single(
        "Pooling",
        {"x": x},
        f"pooling_param {{ pool: {method}  {text}  {'' if ceil else 'round_mode: FLOOR'} }}",
        tops,
    )


def bins_fit(size, height):
    for level in range(height):
        kernel = -(-size // 2**level)
        if (kernel * 2**level - size + 1) // 2 >= kernel:
            return False
    return True


@cases("SPP", count=8)
def spp(chance, number):
    while True:
        height = 1 if number == 7 else chance.randint(1, 4)
        image = chance.shape(2, 1, 16)
        if all(bins_fit(size, height) for size in image):
            break
    return single(
        "SPP",
        {"x": (*chance.shape(2, 1, 3), *image)},
        f"spp_param {{ pyramid_height: {height}  pool: {('MAX', 'AVE')[number % 2]} }}",
    )


@cases("Crop", count=8)
def crop(chance, number):
    axes = chance.randint(1, 5)
    shape = chance.shape(axes)
    axis = chance.randint(0, axes - 1)
    wanted = [chance.randint(1, size) for size in shape]
    room = [size - want for size, want in zip(shape, wanted)][axis:]
    offsets = chance.choice(
        ([], [chance.randint(0, min(room))], [chance.randint(0, size) for size in room])
    )
    return single(
        "Crop",
        {"x": shape, "reference": [*wanted, 2] if number == 3 else wanted},
        f"crop_param {{ axis: {chance.choice((axis, axis - axes))}  "
        f"{'  '.join(f'offset: {offset}' for offset in offsets)} }}",
    )
