import math

import numpy as np

from parity.case import Case, cases, single


def continuation(chance, shape, binary):
    choices = (0.0, 1.0, 1.0) if binary else (0.0, 1.0, 0.5, 1.3, -0.4)
    count = int(np.prod(shape))
    return np.array([chance.choice(choices) for _ in range(count)]).reshape(shape)


def weights(chance, layer_type, size, inputs, static):
    """Parameters so small that nothing saturates: gradients would be rounding errors."""
    if layer_type == "LSTM":
        shapes = [(4 * size, inputs), (4 * size,), (4 * size, static), (4 * size, size)]
    else:
        shapes = [(size, inputs), (size,), (size, static), (size, size), (size, size), (size,)]
    if not static:
        del shapes[2]
    rng = np.random.RandomState(chance.randrange(2**31))
    return {
        ("layer", place): rng.uniform(-1, 1, shape) / np.sqrt(shape[-1])
        for place, shape in enumerate(shapes)
    }


def recurrent(layer_type, states, chance, number):
    """Three passes, which go on from each other's hidden state unless it is exposed."""
    times, streams, size = chance.randint(1, 5), chance.randint(1, 4), chance.randint(1, 5)
    x = chance.shape(chance.randint(1, 2), most=4)
    static = chance.shape(chance.randint(1, 2), most=4)
    inputs = {
        "x": (times, streams, *x),
        "cont": continuation(chance, (times, streams), binary=number % 5 != 4),
    }
    if number % 2:
        inputs["static"] = (streams, *static)
    tops = ["top"]
    exposed = number % 4 >= 2
    if exposed:
        inputs.update({f"{state}_0": (1, streams, size) for state in states})
        tops += [f"{state}_T" for state in states]
    return single(
        layer_type,
        inputs,
        f"recurrent_param {{ num_output: {size}  expose_hidden: {str(exposed).lower()}"
        '  weight_filler { type: "uniform" }  bias_filler { type: "constant" value: 0.1 } }',
        params=weights(
            chance, layer_type, size, math.prod(x), math.prod(static) if number % 2 else 0
        ),
        tops=tops,
        passes=3,
        phase=chance.choice(("TRAIN", "TEST")),
    )


@cases("LSTM", count=10)
def lstm(chance, number):
    if number == 8:
        return more_streams(chance, "LSTM")
    return recurrent("LSTM", "hc", chance, number)


@cases("RNN", count=8)
def rnn(chance, number):
    if number == 6:
        return more_streams(chance, "RNN")
    return recurrent("RNN", "h", chance, number)


def more_streams(chance, layer_type):
    """The batch changes after building: the cont given has the new shape."""
    times, streams = chance.randint(1, 4), chance.randint(1, 4)
    changed, size = chance.randint(1, 6), chance.randint(1, 4)
    return single(
        layer_type,
        {"x": (times, streams, 3), "cont": (times, streams)},
        f"recurrent_param {{ num_output: {size} }}",
        params=weights(chance, layer_type, size, 3, 0),
        reshape={"x": (times, changed, 3), "cont": (times, changed)},
        passes=3,
    )


@cases("LSTMUnit", count=6)
def lstm_unit(chance, number):
    streams, size = chance.randint(1, 4), chance.randint(1, 5)
    return Case(
        "LSTMUnit",
        'layer { name: "layer"  type: "LSTMUnit"  bottom: "c"  bottom: "gates"  bottom: "cont"'
        '  top: "c_1"  top: "h_1" }',
        {
            "c": (1, streams, size),
            "gates": (1, streams, 4 * size),
            "cont": continuation(chance, (1, streams), binary=number % 2 == 0),
        },
        passes=2,
    )
