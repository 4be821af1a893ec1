import numpy as np

from parity.case import Case, cases, single


def python_param(module, layer, param_str=""):
    return f"python_param {{ module: '{module}'  layer: '{layer}'  param_str: '{param_str}' }}"


@cases("Python", count=16)
def python(chance, number):
    makers = (unpool, unpool_after_pooling, distance, affine, counter, in_place, in_place, distance)
    return makers[number % len(makers)](chance)


def unpool(chance):
    """Masks from anywhere, so that values meet; sizes from pooling with other strides."""
    shape = chance.shape(4)
    height, width = chance.randint(1, 9), chance.randint(1, 9)
    given = chance.flag() == "true"
    size = f'{{"height": {height}, "width": {width}}}' if given else ""
    plane = height * width if given else 4 * shape[2] * shape[3]
    mask = np.random.RandomState(chance.randrange(2**31)).randint(0, plane, shape)
    return single(
        "Python",
        {"values": shape, "mask": mask},
        python_param("gcnet_layers", "MaxUnpool", size),
        without_gradient=("mask",),
        passes=2,
    )


def unpool_after_pooling(chance):
    count, channels = chance.shape(2)
    shape = (count, channels, 2 * chance.randint(1, 5), 2 * chance.randint(1, 5))
    net = f"""
    layer {{ name: "pool"  type: "Pooling"  bottom: "x"  top: "pool"  top: "mask"
      pooling_param {{ pool: MAX  kernel_size: 2  stride: 2 }} }}
    layer {{ name: "conv"  type: "Convolution"  bottom: "pool"  top: "conv"
      convolution_param {{ num_output: {channels}  kernel_size: 3  pad: 1 }} }}
    layer {{ name: "layer"  type: "Python"  bottom: "conv"  bottom: "mask"  top: "top"
      propagate_down: true  propagate_down: false
      {python_param("gcnet_layers", "MaxUnpool")} }}
    """
    return Case("Python", net, {"x": shape}, passes=2)


def distance(chance):
    shape = chance.shape(2, most=30)
    return single(
        "Python",
        {"f": shape, "r": shape},
        python_param("gcnet_layers", "NormalizedDistance"),
        passes=2,
    )


def affine(chance):
    shape = chance.shape(2)
    parameters = python_param("python_layers", "Affine", f"{chance.uniform(-2, 2):.3f}")
    return single(
        "Python",
        {"x": shape, "y": shape},
        f"{parameters}  param {{ lr_mult: {chance.choice((0, 1))} }}",
        tops=("a", "b"),
        passes=2,
    )


def counter(chance):
    parameters = python_param("python_layers", "Counter")
    net = f"""
    layer {{ name: "layer"  type: "Python"  top: "batch"  {parameters} }}
    layer {{ name: "ip"  type: "InnerProduct"  bottom: "batch"  top: "top"
      inner_product_param {{ num_output: 3 }} }}
    """
    return Case("Python", net, {}, passes=3)


def in_place(chance):
    parameters = python_param("python_layers", "Double")
    net = f"""
    layer {{ name: "first"  type: "Power"  bottom: "x"  top: "y"  power_param {{ power: 2 }} }}
    layer {{ name: "layer"  type: "Python"  bottom: "y"  top: "y"  {parameters} }}
    layer {{ name: "last"  type: "Power"  bottom: "y"  top: "z"  power_param {{ scale: 3 }} }}
    """
    return Case(
        "Python", net, {"x": chance.shape(chance.randint(1, 4))}, passes=2,
        phase=chance.choice(("TRAIN", "TEST")), backward=chance.random() < 0.7,
    )  # fmt: skip
