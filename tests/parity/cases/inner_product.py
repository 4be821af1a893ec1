from parity.case import cases, single


@cases("InnerProduct", count=12)
def inner_product(chance, number):
    axes = chance.randint(2, 4)
    return single(
        "InnerProduct",
        {"x": chance.shape(axes)},
        f"inner_product_param {{ num_output: {chance.randint(1, 5)}  axis: {chance.randint(1, axes - 1)}"
        f"  transpose: {chance.flag()}  bias_term: {chance.flag()} }}",
    )
