import numpy as np

from parity.case import Case, cases, single


@cases("Input", count=6)
def input_(chance, number):
    """Two inputs: of one shape for both, of one each, given another shape after building."""
    first = chance.shape(chance.randint(1, 5))
    net = 'layer { name: "sum"  type: "Eltwise"  bottom: "a"  bottom: "b"  top: "sum" }'
    if number % 3 == 0:
        dims = " ".join(f"dim: {size}" for size in first)
        net = (
            'layer { name: "more"  type: "Input"  top: "b"  top: "c"'
            f"  input_param {{ shape {{ {dims} }} }} }}\n{net}"
        )
        return Case("Input", net, {"a": first}, passes=2)
    second = chance.shape(len(first))
    reshape = {"a": second, "b": second} if number % 3 == 2 else {}
    return Case("Input", net, {"a": first, "b": first}, reshape=reshape, passes=2)


@cases("Parameter", count=6)
def parameter(chance, number):
    """Its gradient is replaced in the second pass, not added to."""
    shape = chance.shape(chance.randint(0, 4))
    dims = " ".join(f"dim: {size}" for size in shape)
    net = (
        f'layer {{ name: "p"  type: "Parameter"  top: "p"\n'
        f"  parameter_param {{ shape {{ {dims} }} }} }}\n"
        'layer { name: "sum"  type: "Eltwise"  bottom: "p"  bottom: "x"  top: "sum"'
        "  eltwise_param { operation: PROD } }"
    )
    return Case("Parameter", net, {"x": shape}, passes=2, force_backward=number % 2 == 0)


@cases("Split", count=6)
def split(chance, number):
    """Two to four readers of one blob; of the first one it is an output too, if it has a weight."""
    weight = chance.maybe("loss_weight: 0.3")
    net = f'layer {{ name: "x2"  type: "Eltwise"  bottom: "a"  bottom: "b"  top: "x"  {weight} }}\n'
    for reader in range(chance.randint(1 if weight else 2, 4)):
        net += (
            f'layer {{ name: "reader {reader}"  type: "Reduction"  bottom: "x"  top: "{reader}"\n'
            f"  reduction_param {{ operation: SUMSQ  axis: 1"
            f"  coeff: {chance.uniform(-2, 2):.3f} }} }}\n"
        )
    shape = chance.shape(chance.randint(2, 4))
    return Case("Split", net, {"a": shape, "b": shape}, passes=2, loss=bool(weight))


@cases("Silence", count=6)
def silence(chance, number):
    names = [f"x{place}" for place in range(chance.randint(1, 3))]
    shapes = {name: chance.shape(chance.randint(1, 4)) for name in names}
    if number % 2:
        return single("Silence", shapes, tops=())
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    net = (
        f'layer {{ name: "silence"  type: "Silence"  {bottoms} }}\n'
        'layer { name: "sum"  type: "Reduction"  bottom: "x0"  top: "sum" }'
    )
    return Case("Silence", net, shapes)


def axis_of(chance, axes, old, axis):
    """The axis by one of its spellings."""
    return chance.choice((f"axis: {axis}", f"axis: {axis - axes}", f"{old}: {axis}"))


@cases("Concat", count=10)
def concat(chance, number):
    axes = chance.randint(1, 5)
    axis = chance.randrange(axes)
    shape = chance.shape(axes)
    count = 1 if number == 0 else chance.randint(2, 4)
    shapes = {
        f"x{place}": (*shape[:axis], chance.randint(1, 4), *shape[axis + 1 :])
        for place in range(count)
    }
    given = axis_of(chance, axes, "concat_dim", axis)
    if axis == 1 and chance.flag() == "true":
        given = ""
    return single("Concat", shapes, f"concat_param {{ {given} }}", passes=2)


@cases("Slice", count=10)
def slice_(chance, number):
    axes = chance.randint(1, 5)
    axis = chance.randrange(axes)
    shape = list(chance.shape(axes))
    count = 1 if number == 0 else chance.randint(2, 4)
    points = ""
    if number % 2:
        shape[axis] = count + chance.randint(0, 4)
        cuts = sorted(chance.sample(range(1, shape[axis]), count - 1))
        points = " ".join(f"slice_point: {cut}" for cut in cuts)
    else:
        shape[axis] = count * chance.randint(1, 3)
    return single(
        "Slice",
        {"x": tuple(shape)},
        f"slice_param {{ {axis_of(chance, axes, 'slice_dim', axis)}  {points} }}",
        tops=[f"top{place}" for place in range(count)],
        passes=2,
    )


@cases("Reshape", count=14)
def reshape(chance, number):
    """Part of the axes of a shape by one that has as many values, some dims as 0 and one as -1."""
    shape = chance.shape(chance.randint(1, 5))
    start = chance.randint(0, len(shape))
    end = chance.randint(start, len(shape))
    dims = list(shape[start:end])
    if number % 3 == 0:
        dims = [1, *dims]
    elif number % 3 == 1:
        chance.shuffle(dims)
    elif len(dims) > 1:
        dims = [dims[0] * dims[1], *dims[2:]]
    for place, size in enumerate(dims):
        if start + place < len(shape) and shape[start + place] == size and chance.random() < 0.4:
            dims[place] = 0
    if dims and chance.random() < 0.7:
        dims[chance.randrange(len(dims))] = -1
    axis = start if chance.random() < 0.6 else start - len(shape) - 1
    axes = "" if end == len(shape) and chance.random() < 0.5 else f"num_axes: {end - start}"
    text = " ".join(f"dim: {size}" for size in dims)
    # The batch may change if the new shape does not say it.
    changed = {}
    if start > 0 and number % 2:
        changed = {"x": (shape[0] + chance.randint(1, 3), *shape[1:])}
    return single(
        "Reshape",
        {"x": shape},
        f"reshape_param {{ shape {{ {text} }}  axis: {axis}  {axes} }}",
        passes=2,
        reshape=changed,
    )


@cases("Flatten", count=8)
def flatten(chance, number):
    shape = chance.shape(chance.randint(1, 5))
    axes = len(shape)
    start = chance.randrange(axes)
    # An end before the start puts in an axis.
    end = chance.randint(max(start - 1, 0), axes - 1)
    if number == 0 and axes > 1:
        given = ""
    else:
        given = (
            f"axis: {chance.choice((start, start - axes))}"
            f"  end_axis: {chance.choice((end, end - axes))}"
        )
    return single("Flatten", {"x": shape}, f"flatten_param {{ {given} }}")


@cases("Tile", count=8)
def tile(chance, number):
    axes = chance.randint(1, 5)
    axis = chance.randint(-axes, axes - 1)
    given = "" if number == 0 and axes > 1 else f"axis: {axis}"
    return single(
        "Tile",
        {"x": chance.shape(axes)},
        f"tile_param {{ tiles: {chance.randint(1, 4)}  {given} }}",
        passes=2,
    )


def parameter_layer(name, shape):
    """A blob whose gradient is seen as a parameter's, where force_backward ends BVLC Caffe."""
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}"  type: "Parameter"  top: "{name}"'
        f"  parameter_param {{ shape {{ {dims} }} }} }}\n"
    )


LOSS = """
layer {{
  name: "loss {0}"  type: "Reduction"  bottom: "{0}"  top: "loss {0}"  loss_weight: 0.7
  reduction_param {{ operation: SUMSQ }}
}}
"""


@cases("BatchReindex", count=8)
def batch_reindex(chance, number):
    shape = chance.shape(chance.randint(1, 4))
    indices = np.array([chance.randrange(shape[0]) for _ in range(chance.randint(1, 8))])
    if number % 4 == 3:
        indices = indices + 0.6
        indices[indices > shape[0] - 1] = 0.4
    net = (
        parameter_layer("x", shape)
        + 'layer { name: "layer"  type: "BatchReindex"'
        + '  bottom: "x"  bottom: "indices"  top: "top" }\n'
        + LOSS.format("top")
    )
    inputs = {"indices": indices}
    return Case("BatchReindex", net, inputs, loss=True, force_backward=False, passes=2)


@cases("Filter", count=8)
def filter_(chance, number):
    count = chance.randint(1, 6)
    selector = np.array([chance.choice((0, 1, 0.5, -2)) for _ in range(count)])
    selector[chance.randrange(count)] = 1
    selector = selector.reshape(count, *[1] * chance.randint(0, 3))
    names = [f"x{place}" for place in range(chance.randint(1, 3))]
    net = "".join(
        parameter_layer(name, (count, *chance.shape(chance.randint(0, 3)))) for name in names
    )
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    tops = " ".join(f'top: "top {name}"' for name in names)
    net += f'layer {{ name: "layer"  type: "Filter"  {bottoms}  bottom: "selector"  {tops} }}\n'
    net += "".join(LOSS.format(f"top {name}") for name in names)
    return Case("Filter", net, {"selector": selector}, loss=True, force_backward=False, passes=2)
