import numpy as np

from parity.case import Case, cases, single


def random_of(chance):
    return np.random.RandomState(chance.getrandbits(32))


def apart(random, shape):
    """Scores so large that exp overflows, some of them so far below that they vanish."""
    return random.randn(*shape) + 1000 - 200 * (random.rand(*shape) < 0.3)


@cases("Softmax", count=10)
def softmax(chance, number):
    """In place behind a copy too; large scores; new shapes."""
    axes = chance.randint(1, 5)
    shape = chance.shape(axes)
    axis = chance.randint(-axes, axes - 1)
    parameters = f"softmax_param {{ axis: {axis} }}" if axes == 1 or number else ""
    shape = shape if parameters or axes > 1 else (2, 3)
    if number % 3 == 1:
        net = f"""layer {{ name: "front"  type: "Power"  bottom: "x"  top: "top" }}
            layer {{ name: "layer"  type: "Softmax"  bottom: "top"  top: "top"  {parameters} }}"""
        return Case("Softmax", net, {"x": shape}, passes=2)
    if number % 3 == 2:
        return single("Softmax", {"x": apart(random_of(chance), shape)}, parameters)
    return single("Softmax", {"x": shape}, parameters, reshape={"x": chance.shape(len(shape))})


@cases("Accuracy", count=16)
def accuracy(chance, number):
    """With equal scores, ignored labels, classes without labels, scores that are not numbers."""
    random = random_of(chance)
    axes = chance.randint(2, 4)
    shape = chance.shape(axes)
    axis = chance.randint(0, axes - 1)
    classes = shape[axis]
    label_shape = shape[:axis] + shape[axis + 1 :]
    scores = random.randint(0, 3, shape) if number % 2 else random.randn(*shape)
    scores = scores.astype(np.float32)
    if number == 5:
        scores[random.rand(*shape) < 0.2] = np.nan
    labels = random.randint(0, classes, label_shape)
    ignored = chance.choice(("", 255, -1, 0))
    if ignored != "":
        labels[random.rand(*label_shape) < 0.3] = ignored
    if number == 6:
        ignored, labels[...] = 255, 255
    parameters = f"""accuracy_param {{ top_k: {chance.randint(1, min(classes, 3))}  axis: {axis}
        {f"ignore_label: {ignored}" if ignored != "" else ""} }}"""
    return single(
        "Accuracy",
        {"x": scores, "label": labels.reshape(label_shape if number % 3 else (-1,))},
        parameters,
        tops=("top", "of_class") if chance.random() < 0.6 else ("top",),
        phase=chance.choice(("TRAIN", "TEST")),
        backward=False,
    )


@cases("ArgMax", count=12)
def argmax(chance, number):
    """Half of them with equal values."""
    random = random_of(chance)
    shape = chance.shape(chance.randint(1, 5))
    values = random.randint(0, 4, shape) if number % 2 else random.randn(*shape)
    axis = chance.randint(0, len(shape) - 1)
    most = shape[axis]
    place = f"axis: {axis - chance.choice((0, len(shape)))}"
    if number % 4 < 2:
        most, place = int(np.prod(shape[1:])), ""
    parameters = f"""argmax_param {{ {place}  out_max_val: {chance.flag()}
        top_k: {1 if number % 3 else chance.randint(1, most)} }}"""
    return single("ArgMax", {"x": values}, parameters, backward=False)
