import math

import numpy as np

from parity.case import cases, single


@cases("Eltwise", count=12)
def eltwise(chance, number):
    shape = chance.shape(chance.randint(0, 5))
    count = chance.randint(2, 4)
    operation = ("SUM", "PROD", "MAX")[number % 3]
    inputs = {f"x{place}": shape for place in range(count)}
    given = f"operation: {operation}"
    if operation == "SUM" and number != 0:
        given += "".join(f"  coeff: {chance.uniform(-2, 2):.3f}" for _ in range(count))
    if operation == "PROD":
        given += f"  stable_prod_grad: {chance.flag()}"
    if operation == "MAX":
        # Few values, so that bottoms are often equal.
        inputs = {
            name: np.reshape([chance.randint(-1, 1) for _ in range(math.prod(shape))], shape)
            for name in inputs
        }
    return single("Eltwise", inputs, f"eltwise_param {{ {given} }}", passes=2)


@cases("Reduction", count=10)
def reduction(chance, number):
    axes = chance.randint(1, 5)
    axis = "" if number == 0 else f"axis: {chance.randint(-axes, axes - 1)}"
    operation = ("SUM", "ASUM", "SUMSQ", "MEAN")[number % 4]
    coeff = chance.maybe(f"coeff: {chance.uniform(-3, 3):.3f}", 0.7)
    shape = chance.shape(axes)
    values = np.array([chance.choice((0, chance.gauss(0, 1))) for _ in range(math.prod(shape))])
    return single(
        "Reduction",
        {"x": values.reshape(shape)},
        f"reduction_param {{ operation: {operation}  {axis}  {coeff} }}",
        passes=2,
    )
