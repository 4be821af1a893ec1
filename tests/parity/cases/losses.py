"""Losses, with loss_weight, normalization and ignored labels; labels get no gradient."""

import atexit
import shutil
import tempfile

import numpy as np

from parity.case import Case, cases, single
from parity.cases.classification import apart, random_of
from torchcaffe.schema import caffe_pb2


def loss(layer_type, inputs, parameters, without_gradient=("label",), **more):
    return single(
        layer_type, inputs, parameters, loss=True, without_gradient=without_gradient, **more
    )


def weight(chance):
    return chance.choice(("", "loss_weight: 0.3", "loss_weight: -2"))


def normalization(chance, old=True):
    """A loss_param without its end, and the label that it ignores or None."""
    modes = ["", *(f"normalization: {mode}" for mode in ("FULL", "VALID", "BATCH_SIZE", "NONE"))]
    if old:
        modes += ["normalize: true", "normalize: false", "normalize: false  normalization: FULL"]
    ignored = chance.choice((None, None, 255, -1, 0))
    text = chance.choice(modes) + (f"  ignore_label: {ignored}" if ignored is not None else "")
    return f"loss_param {{ {text} }}", ignored


def labels(random, shape, classes, ignored=None):
    """Whole numbers below `classes`, some with a fraction, about a third of them ignored."""
    values = random.randint(0, classes, shape).astype(np.float32)
    values[random.rand(*shape) < 0.1] += 0.75
    if ignored is not None:
        values[random.rand(*shape) < 0.3] = ignored
    return values


def scores_and_labels(chance, random, ignored):
    """Shapes of scores and labels for a random axis: (scores' shape, axis, labels' values)."""
    axes = chance.randint(2, 4)
    shape = chance.shape(axes)
    axis = chance.randint(1, axes - 1)
    values = labels(random, shape[:axis] + shape[axis + 1 :], shape[axis], ignored)
    if chance.random() < 0.5:
        values = values.reshape(*shape[:axis], 1, *shape[axis + 1 :])
    return shape, axis, values


@cases("SoftmaxWithLoss", count=16)
def softmax_with_loss(chance, number):
    """Some with scores so far apart that probabilities vanish; all labels ignored; axis 0."""
    random = random_of(chance)
    parameters, ignored = normalization(chance)
    shape, axis, given = scores_and_labels(chance, random, ignored)
    if number == 1 and ignored is not None:
        given[...] = ignored
    if number == 2:
        shape, axis, given = (3, 3, 1), 0, labels(random, (3, 1), 3, ignored)
    scores = apart(random, shape) if number % 4 == 3 else shape
    axis = axis - chance.choice((0, len(shape)))
    return loss(
        "SoftmaxWithLoss",
        {"x": scores, "label": given},
        f"{weight(chance)}  softmax_param {{ axis: {axis} }}  {parameters}",
        passes=chance.randint(1, 2),
    )


@cases("InfogainLoss", count=14)
def infogain_loss(chance, number):
    """The matrix from a file, or a third bottom, with which BVLC Caffe aborts if it is forced to
    make gradients of inputs: then only forward, or with a layer that learns in front."""
    random = random_of(chance)
    parameters, ignored = normalization(chance, old=False)
    shape, axis, given = scores_and_labels(chance, random, ignored)
    matrix = random.randn(shape[axis], shape[axis])
    scores = apart(random, shape) if number % 4 == 3 else shape
    inputs = {"x": scores, "label": given}
    if number % 4 == 1:
        net = f"""layer {{ name: "front"  type: "InnerProduct"  bottom: "x"  top: "y"
            inner_product_param {{ num_output: 3 }} }}
            layer {{ name: "layer"  type: "InfogainLoss"  bottom: "y"  bottom: "label"
            bottom: "matrix"  top: "top"  {weight(chance)}  {parameters} }}"""
        inputs = {"x": (4, 5), "label": labels(random, (4,), 3, ignored), "matrix": (3, 3)}
        return Case("", net, inputs, loss=True, force_backward=False)
    two_tops = chance.random() < 0.4
    weights = "loss_weight: 0.7  loss_weight: 0" if two_tops else weight(chance)
    source = ""
    if number % 2:
        inputs["matrix"] = matrix.reshape(chance.choice(((1, 1, *matrix.shape), (-1,))))
    else:
        source = f'source: "{binaryproto(matrix, old_shape=chance.random() < 0.5)}"'
    return loss(
        "InfogainLoss",
        inputs,
        f"{weights}  infogain_loss_param {{ axis: {axis}  {source} }}  {parameters}",
        tops=("top", "probabilities") if two_tops else ("top",),
        backward=not number % 2,
    )


def binaryproto(values, old_shape):
    """A file of a BlobProto; they are deleted when the process ends."""
    blob = caffe_pb2.BlobProto(data=values.ravel())
    if old_shape:
        blob.num, blob.channels, blob.height, blob.width = 1, 1, *values.shape
    else:
        blob.shape.dim.extend(values.shape)
    with tempfile.NamedTemporaryFile(dir=_folder(), suffix=".binaryproto", delete=False) as file:
        file.write(blob.SerializeToString())
    return file.name


def _folder(made=[]):  # noqa: B006 one folder for the process
    if not made:
        made.append(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, made[0])
    return made[0]


@cases("MultinomialLogisticLoss", count=8)
def multinomial_logistic_loss(chance, number):
    """On probabilities, some of them 0; or on a Softmax."""
    random = random_of(chance)
    shape = chance.choice((chance.shape(2), chance.shape(4)))
    classes = int(np.prod(shape[1:]))
    given = labels(random, shape[:1] + (1,) * chance.choice((0, 1, 3)), classes)
    if number % 3 == 0:
        net = f"""layer {{ name: "front"  type: "Softmax"  bottom: "x"  top: "y" }}
            layer {{ name: "layer"  type: "MultinomialLogisticLoss"  bottom: "y"  bottom: "label"
            top: "top"  {weight(chance)} }}"""
        inputs = {"x": shape, "label": given}
        return Case("", net, inputs, loss=True, without_gradient=("label",), passes=2)
    values = random.uniform(0.001, 1, shape)
    if number % 3 == 2:
        values[random.rand(*shape) < 0.3] = 0
    return loss("MultinomialLogisticLoss", {"x": values, "label": given}, weight(chance))


@cases("HingeLoss", count=10)
def hinge_loss(chance, number):
    """Some with scores at the margin, where the gradient jumps."""
    random = random_of(chance)
    shape = chance.shape(chance.randint(1, 4))
    given = labels(random, shape[:1], int(np.prod(shape[1:])))
    norm = chance.choice(("", "norm: L1", "norm: L2"))
    scores = random.randint(-2, 3, shape) if number % 3 == 2 else shape
    return loss(
        "HingeLoss",
        {"x": scores, "label": given},
        f"{weight(chance)}  hinge_loss_param {{ {norm} }}",
        passes=chance.randint(1, 2),
    )


@cases("SigmoidCrossEntropyLoss", count=12)
def sigmoid_cross_entropy_loss(chance, number):
    """Targets 0 and 1, or anything between and beyond; scores where exp overflows."""
    random = random_of(chance)
    parameters, ignored = normalization(chance)
    shape = chance.shape(chance.randint(1, 4))
    targets = random.randint(0, 2, shape) if number % 2 else random.uniform(0, 1, shape)
    if ignored is not None:
        targets = np.where(random.rand(*shape) < 0.3, ignored, targets)
    if number == 0 and ignored is not None:
        targets[...] = ignored
    scores = random.randn(*shape) * 100 if number % 4 == 3 else shape
    if number % 4 == 3:
        # One score is wrong: where all are right, loss and gradient are nothing but rounding.
        targets.flat[0] = scores.flat[0] < 0
    if len(shape) > 2 and chance.random() < 0.5:
        targets = targets.reshape(shape[0], -1)
    return loss(
        "SigmoidCrossEntropyLoss",
        {"x": scores, "label": targets},
        f"{weight(chance)}  {parameters}",
        passes=chance.randint(1, 2),
    )


@cases("EuclideanLoss", count=10)
def euclidean_loss(chance, number):
    """Both bottoms get gradients; samples of the same count in two shapes; new shapes."""
    shape = chance.shape(chance.randint(1, 4))
    other = (shape[0], int(np.prod(shape[1:]))) if number % 3 == 1 else shape
    new = {}
    if number % 3 == 2:
        new = dict.fromkeys(("x", "label"), chance.shape(len(shape)))
    return loss(
        "EuclideanLoss",
        {"x": shape, "label": other},
        weight(chance),
        without_gradient=(),
        passes=chance.randint(1, 2),
        reshape=new,
    )


@cases("ContrastiveLoss", count=12)
def contrastive_loss(chance, number):
    """Some with pairs of distance 0."""
    random = random_of(chance)
    count, channels = chance.randint(1, 8), chance.randint(1, 4)
    shape = (count, channels, *(1,) * chance.choice((0, 2)))
    inputs = {"a": shape, "b": shape}
    if number % 3 == 2:
        inputs["a"] = random.randn(*shape)
        inputs["b"] = inputs["a"] + random.randn(*shape) * (random.rand(count) < 0.7).reshape(
            -1, *[1] * (len(shape) - 1)
        )
    inputs["label"] = random.randint(0, 2, (count,) + (1,) * chance.randint(0, 1))
    margin = chance.maybe(f"margin: {chance.uniform(0.5, 5):.2f}", 0.7)
    return loss(
        "ContrastiveLoss",
        inputs,
        f"{weight(chance)}  contrastive_loss_param {{ {margin}  legacy_version: {chance.flag()} }}",
        passes=chance.randint(1, 2),
    )
