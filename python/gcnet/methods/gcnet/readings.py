"""Training curves of the readings of what the paper leaves open: the evidence of docs/decisions.md.

Every experiment trains one fold with files of prototxt/, changed in one respect, in a run folder of
its own under runs/readings/; a question compares some of them in one picture.
"""

import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt

from gcnet import prototxt, runs
from gcnet.methods.gcnet import variants
from gcnet.models import PROTOTXT
from gcnet.train import caffe_log, cross_validation
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError

FOLDER = runs.RUNS / "readings"
HIGHEST_SHOWN = 5000
"""Losses above are cut off in the pictures: a diverging curve would flatten all others."""
BATCH = 16
"""Images in a batch here, a quarter of the paper's: a curve then takes minutes on two cores."""
PIXEL_LOSSES = {
    "loss_generation": 1,
    "loss_reconstruction_image": 0.25,
    "loss_reconstruction_reference": 0.25,
}
"""The losses over pixels with the paper's lambdas (Section IV-A)."""
DECODERS = ("decoder1", "decoder2_image", "decoder2_reference")


def unchanged(net, solver):
    pass


def _pixel_losses_over(net, pixels):
    for layer, weight in PIXEL_LOSSES.items():
        prototxt.set_value(net, "loss_weight", weight / pixels, layer)


def sum_over_pixels(net, solver):
    _pixel_losses_over(net, 1)


def mean_over_pixels(net, solver):
    _pixel_losses_over(net, 64 * 64)


def long_average(net, solver):
    """BatchNorm's statistics for the test phase as Caffe averages them by default."""
    for layer in net.layer:
        if layer.type == "BatchNorm":
            prototxt.set_value(layer, "batch_norm_param.moving_average_fraction", 0.999)


def default_start(net, solver):
    """The last Scale of each decoder starts as Caffe starts every Scale: factor 1, shift 0."""
    for decoder in DECODERS:
        prototxt.set_value(net, "scale_param.filler.value", 1, f"{decoder}/scale1")
        prototxt.set_value(net, "scale_param.bias_filler.value", 0, f"{decoder}/scale1")


def no_last_relu(net, solver):
    for decoder in DECODERS:
        prototxt.remove_layer(net, f"{decoder}/relu1")
    default_start(net, solver)


def raw_features(net, solver):
    """The contrastive loss on the features themselves, margin 1."""
    for loss in prototxt.layers(net, "loss_contrastive"):
        if loss.bottom[:2] != ["delta", "zeros"]:
            raise InputError("layer loss_contrastive does not compare delta with zeros")
        loss.bottom[:2] = ["features", "reference_features"]
    prototxt.remove_layer(net, "zeros")


def plain_delta(net, solver):
    prototxt.set_value(net, "power_param.scale", 1, "scaled_delta")


def literal_gamma(net, solver):
    prototxt.set_value(solver, "gamma", 0.75)


def to_the_letter(net, solver):
    for change in (sum_over_pixels, default_start, raw_features, plain_delta):
        change(net, solver)


@dataclass(frozen=True)
class Experiment:
    """One training: a net of prototxt/, and how `change(net, solver)` changes the messages."""

    label: str
    net: str
    classes: str
    iterations: int
    change: Callable


EXPERIMENTS = {
    "chosen": Experiment("as chosen", "s1r1", "7", 150, unchanged),
    "letter": Experiment("to the letter", "s1r1", "7", 50, to_the_letter),
    "sum": Experiment("sum over pixels", "s1r1", "7", 60, sum_over_pixels),
    "mean": Experiment("mean over pixels", "s1r1", "7", 100, mean_over_pixels),
    "default-start": Experiment("ReLU, Scale starts at 1, 0", "s1r1", "7", 60, default_start),
    "no-relu": Experiment("no ReLU, Scale starts at 1, 0", "s1r1", "7", 60, no_last_relu),
    "long-average": Experiment("averages of about 1000", "s1r1", "7", 100, long_average),
    "unit": Experiment("unit-length features (chosen)", "s1r0", "8", 80, unchanged),
    "raw": Experiment("raw features", "s1r0", "8", 80, raw_features),
    "scaled": Experiment("delta times sqrt(6144) (chosen)", "mlcnn", "7", 200, unchanged),
    "plain": Experiment("delta itself", "mlcnn", "7", 200, plain_delta),
    "stock": Experiment("gamma 0.0001, power 0.75 (chosen)", "cnn", "7", 300, unchanged),
    "gamma": Experiment("gamma 0.75, power 0.75", "cnn", "7", 300, literal_gamma),
}

CLASSIFICATION = ("classification loss", "train", "loss_classification")
GENERATION = ("generation: half squared error a face", "train", "loss_generation")
RECONSTRUCTION = ("reconstruction of the image", "train", "loss_reconstruction_image")
CONTRASTIVE = ("contrastive loss", "train", "loss_contrastive")
TEST_GENERATION = ("generation on the test fold", "test", "loss_generation")
TEST_CLASSIFICATION = ("classification loss on the test fold", "test", "loss_classification")

QUESTIONS = {
    "pixel-loss": (["chosen", "sum", "mean"], [GENERATION, RECONSTRUCTION, CLASSIFICATION]),
    "last-relu": (
        ["chosen", "default-start", "no-relu"],
        [GENERATION, RECONSTRUCTION, CLASSIFICATION],
    ),
    "batch-norm": (["chosen", "long-average"], [TEST_GENERATION, TEST_CLASSIFICATION]),
    "letter": (["chosen", "letter"], [GENERATION, RECONSTRUCTION, CLASSIFICATION]),
    "contrastive-features": (["unit", "raw"], [CONTRASTIVE, GENERATION, CLASSIFICATION]),
    "delta-scale": (["scaled", "plain"], [CLASSIFICATION]),
    "learning-rate": (["stock", "gamma"], [CLASSIFICATION]),
}
"""Question -> the experiments that it compares and the losses that it shows."""


def compare(questions, index, fold, pictures):
    """Train what `questions` need and is not trained yet; draw PICTURES/<question>.png of each.

    Returns a Markdown table: each experiment's losses at the end (the mean of the last tenth of
    the iterations, not times their weights) and the accuracy on the test fold in Caffe's log.
    """
    rows = ["| question | reading | net, classes | iterations | at the end | test accuracy |"]
    rows.append("|---|---|---|---|---|---|")
    pictures = Path(pictures)
    pictures.mkdir(parents=True, exist_ok=True)
    for question in questions:
        names, panels = QUESTIONS[question]
        logs = {name: _train(name, index, fold) for name in names}
        path = pictures / f"{question}.png"
        _draw(path, {EXPERIMENTS[name].label: log for name, log in logs.items()}, panels)
        print(f"{path}: written")
        for name, (curves, accuracy) in logs.items():
            experiment = EXPERIMENTS[name]
            ends = ", ".join(
                f"{title} {_end(curves[phase, output]):.4g}"
                for title, phase, output in panels
                if (phase, output) in curves
            )
            rows.append(
                f"| {question} | {experiment.label} | {experiment.net}, {experiment.classes} "
                f"| {experiment.iterations} | {ends} "
                f"| {'diverged' if accuracy is None else f'{accuracy:.1%}'} |"
            )
    return "\n".join(rows)


def _end(curve):
    values = list(curve.values())
    last = values[-max(1, len(values) // 10) :]
    return sum(last) / len(last)


def _train(name, index, fold):
    """Run an experiment; returns ({(phase, output): {iteration: loss}}, last test accuracy).

    Losses are not times their weights.
    """
    experiment = EXPERIMENTS[name]
    sources = FOLDER / "prototxt" / name
    net = variants.write(sources, PROTOTXT, experiment.net, experiment.change)
    log_path = FOLDER / name / f"fold{fold}" / "caffe.log"
    if not caffe_log.of_file(log_path).diverged:
        try:
            settings = runs.Settings(
                net=experiment.net,
                classes=experiment.classes,
                max_iter=experiment.iterations,
                batch=BATCH,
                index=index,
                engine="bvlc",  # docs/decisions.md shows its curves
                prototxt=sources,
            )
            command = shlex.join(["python", *sys.argv])
            cross_validation.train(settings, [fold], command, FOLDER / name)
        except InputError:
            # A loss that is no number is a result here.
            if not caffe_log.of_file(log_path).diverged:
                raise
    log = caffe_log.of_file(log_path)
    curves = {("test", output): curve for output, curve in log.test.items()}
    for output, curve in log.train.items():
        if output.startswith("loss_"):
            weight = (prototxt.values(net, "loss_weight", output) or [1])[0]
            curves["train", output] = {at: value / weight for at, value in curve.items()}
    return curves, list(log.test["accuracy"].values())[-1] if not log.diverged else None


def _draw(path, logs, panels):
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.6 * len(panels), 3.4), squeeze=False, layout="constrained"
    )
    for axis, (title, *of) in zip(axes[0], panels, strict=True):
        for label, (curves, _) in logs.items():
            curve = curves.get(tuple(of), {})
            axis.plot(curve.keys(), curve.values(), label=label, linewidth=1.3)
        values = [
            value
            for curves, _ in logs.values()
            for value in curves.get(tuple(of), {}).values()
            if math.isfinite(value)
        ]
        if min(values) > 0 and max(values) > 30 * min(values):
            axis.set_yscale("log")
            axis.set_ylim(top=min(2 * max(values), HIGHEST_SHOWN))
        axis.set(title=title, xlabel="iteration")
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    with replacing(path, "wb") as file:
        figure.savefig(file, dpi=90, format="png", metadata={"Software": None})
    plt.close(figure)
