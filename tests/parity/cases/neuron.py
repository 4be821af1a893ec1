from parity.case import cases, single


@cases("ReLU")
def relu(chance, number):
    slope = chance.choice(("", "negative_slope: 0.1", "negative_slope: -0.3"))
    return single("ReLU", {"x": chance.shape(chance.randint(1, 5))}, f"relu_param {{ {slope} }}")
