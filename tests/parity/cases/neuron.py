"""Neuron layers, beside their bottom and in place, with several passes and changes of shape."""

import numpy as np

from parity.case import Case, cases, single

FRONT = """layer { name: "front"  type: "Power"  bottom: "x"  top: "top"
  power_param { scale: %s  shift: %s } }
layer { name: "layer"  type: "%s"  bottom: "top"  top: "top"
  %s }"""
"""An in-place layer does not stand on an input, since it would overwrite what was put there."""


def neuron(chance, layer_type, parameters="", in_place=None, x=None, axes=(1, 5), **more):
    """A case of one neuron layer. `x`: the input's values; else any shape, drawn anew each pass."""
    shape = chance.shape(chance.randint(*axes))
    random = np.random.RandomState(chance.getrandbits(32))
    inputs = {"x": shape if x is None else x(random, shape)}
    more.setdefault("passes", chance.randint(1, 2))
    if chance.random() < 0.5 if in_place is None else in_place:
        scale, shift = ("1.5", "-0.1") if x is None else ("1", "0")
        return Case(layer_type, FRONT % (scale, shift, layer_type, parameters), inputs, **more)
    if x is None and chance.random() < 0.3:
        more.setdefault("reshape", {"x": chance.shape(len(shape))})
    return single(layer_type, inputs, parameters, **more)


def positive(random, shape):
    """Values that have logarithms and powers, not close to 0."""
    return random.uniform(0.2, 3, shape)


def small_whole(random, shape):
    """Whole numbers from -2 to 2."""
    return random.randint(-2, 3, shape)


def wide(random, shape):
    """Values where exp overflows or vanishes, and zeros."""
    return random.choice([-1000, -90, -30, -1, -0.01, 0, 0.01, 1, 30, 49, 51, 90, 1000], shape)


@cases("ReLU", count=10)
def relu(chance, number):
    slope = chance.choice(("", "negative_slope: 0.1", "negative_slope: -0.3"))
    x = wide if number == 0 else None
    return neuron(chance, "ReLU", f"relu_param {{ {slope} }}", in_place=number % 2 == 1, x=x)


@cases("PReLU", count=12)
def prelu(chance, number):
    """Without a filler both engines start from 0.25; the cases else get random slopes."""
    shared = number % 2 == 1
    filler = chance.choice(("", "filler { type: 'constant'  value: -0.5 }"))
    case = neuron(
        chance,
        "PReLU",
        f"prelu_param {{ channel_shared: {str(shared).lower()}  {filler} }}",
        in_place=number % 4 > 1,
        axes=(2, 4),
        x=wide if number == 4 else None,
    )
    case.reshape = {}
    return case


@cases("ELU")
def elu(chance, number):
    alpha = chance.choice(("", "alpha: 0.3", "alpha: 2.5", "alpha: 0"))
    x = wide if number == 0 else None
    return neuron(chance, "ELU", f"elu_param {{ {alpha} }}", in_place=number % 2 == 1, x=x)


@cases("Sigmoid", count=6)
def sigmoid(chance, number):
    return neuron(chance, "Sigmoid", in_place=number % 2 == 1, x=wide if number == 0 else None)


@cases("TanH", count=6)
def tanh(chance, number):
    return neuron(chance, "TanH", in_place=number % 2 == 1, x=wide if number == 0 else None)


@cases("Swish")
def swish(chance, number):
    beta = chance.choice(("", "beta: 0.5", "beta: 3", "beta: 0", "beta: -1"))
    x = wide if number == 0 else None
    return neuron(chance, "Swish", f"swish_param {{ {beta} }}", in_place=number % 2 == 1, x=x)


@cases("AbsVal", count=6)
def absval(chance, number):
    return neuron(chance, "AbsVal", in_place=False, x=wide if number == 0 else None)


@cases("BNLL")
def bnll(chance, number):
    # Far below 0 a blob holds nothing but the last digits of 1 + exp(x).
    x = (wide, wide, lambda random, shape: random.uniform(-33, -31, shape), None)[min(number, 3)]
    return neuron(chance, "BNLL", in_place=number % 2 == 1, x=x)


@cases("Clip")
def clip(chance, number):
    low, high = chance.choice(((-1, 1), (0, 6), (-0.5, 0.25), (0.3, 0.3), (1, -1)))
    parameters = f"clip_param {{ min: {low}  max: {high} }}"
    x = wide if number < 2 else None
    return neuron(chance, "Clip", parameters, in_place=number % 2 == 1, x=x)


@cases("Threshold", count=6)
def threshold(chance, number):
    level = chance.choice(("", "threshold: 0.4", "threshold: -1"))
    parameters = f"threshold_param {{ {level} }}"
    return neuron(chance, "Threshold", parameters, backward=False, x=wide if number == 0 else None)


@cases("Exp", count=10)
def exp(chance, number):
    base = chance.choice(("", "base: 2", "base: 0.5", "base: 10", "base: 1", "base: -1"))
    scale = chance.maybe(f"scale: {chance.uniform(-2, 2):.3f}")
    shift = chance.maybe(f"shift: {chance.uniform(-2, 2):.3f}")
    parameters = f"exp_param {{ {base}  {scale}  {shift} }}"
    return neuron(chance, "Exp", parameters, in_place=number % 2 == 1)


@cases("Log", count=10)
def log(chance, number):
    """Some have values without a logarithm. In place BVLC Caffe's gradient is wrong (neuron.py)."""
    base = chance.choice(("", "base: 2", "base: 0.5", "base: 10", "base: -1"))
    scale = chance.maybe(f"scale: {chance.uniform(0.5, 2):.3f}")
    shift = chance.maybe(f"shift: {chance.uniform(0, 2):.3f}")
    parameters = f"log_param {{ {base}  {scale}  {shift} }}"
    x = None if number % 4 == 3 else positive
    in_place = number % 3 == 1
    return neuron(chance, "Log", parameters, in_place=in_place, x=x, backward=not in_place)


@cases("Power", count=16)
def power(chance, number):
    """Whole powers on any values, others on positive ones; case 4 with zeros.

    In place BVLC Caffe's gradient is wrong (neuron.py)."""
    exponent = ("", "power: 0", "power: 1", "power: 2", "power: 3", "power: 0.5", "power: -1.5",
                "power: 2.5")[number % 8]  # fmt: skip
    whole = number % 8 < 5
    scale = chance.choice(("", "scale: 0", "scale: 0.7", "scale: -1.3" if whole else "scale: 1.9"))
    shift = chance.choice(("", "shift: 0.4", "shift: 1.2"))
    parameters = f"power_param {{ {exponent}  {scale}  {shift} }}"
    x = small_whole if number == 4 else None
    in_place = chance.random() < 0.3
    return neuron(
        chance,
        "Power",
        parameters,
        in_place=in_place,
        x=x if whole else positive,
        backward=not in_place,
    )


@cases("Dropout", count=6)
def dropout(chance, number):
    """In the training phase only ratio 0 has no chance in it; test_dropout.py tests the others."""
    train = number % 3 == 2
    ratio = "dropout_ratio: 0" if train else chance.choice(("", "dropout_ratio: 0.9"))
    return neuron(
        chance,
        "Dropout",
        f"dropout_param {{ {ratio} }}",
        in_place=number % 2 == 1,
        phase="TRAIN" if train else "TEST",
    )
