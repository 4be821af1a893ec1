import numpy as np

from parity.case import Case, cases


@cases("Embed", count=8)
def embed(chance, number):
    """The same rows several times; gradients of two passes add up."""
    rows = chance.randint(1, 6)
    shape = chance.shape(chance.randint(0, 4), most=4)
    numbers = np.array([float(chance.randrange(rows)) for _ in range(int(np.prod(shape)))])
    if number % 4 == 3:
        numbers += 0.7
    param = ("", "param { lr_mult: 0 }", "param { } param { lr_mult: 0 }")[number % 3]
    bias = "true" if number % 3 == 2 else chance.flag()
    net = (
        f'layer {{ name: "layer"  type: "Embed"  bottom: "x"  top: "top"  {param}\n  embed_param {{'
        f" input_dim: {rows}  num_output: {chance.randint(1, 5)}  bias_term: {bias} }} }}\n"
        'layer { name: "loss"  type: "Reduction"  bottom: "top"  top: "loss"  loss_weight: 0.5\n'
        "  reduction_param { operation: SUMSQ } }"
    )
    return Case(
        "Embed", net, {"x": numbers.reshape(shape)}, loss=True, force_backward=False, passes=2
    )
