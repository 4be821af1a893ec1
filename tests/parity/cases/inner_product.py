from parity.case import cases, single


@cases("InnerProduct", count=12)
def inner_product(chance, number):
    """Parameters with lr_mult 0 in some cases, another batch after building in others."""
    axes = chance.randint(1, 5)
    axis = chance.randrange(axes)
    shape = chance.shape(axes)
    given = f"axis: {chance.choice((axis, axis - axes))}" if axis != 1 or number % 2 else ""
    bias = number % 4 != 3
    param = ("", "param { lr_mult: 0 }", "param { lr_mult: 2 } param { lr_mult: 0 }")[number % 3]
    if not bias:
        param = ""
    return single(
        "InnerProduct",
        {"x": shape},
        f"inner_product_param {{ num_output: {chance.randint(1, 5)}  {given}"
        f"  transpose: {chance.flag()}  bias_term: {str(bias).lower()} }}  {param}",
        reshape={"x": (shape[0] + chance.randint(-shape[0] + 1, 3), *shape[1:])} if axis else {},
        passes=2,
    )
