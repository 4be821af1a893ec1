"""Figure 11 of the paper: accuracy against the weight of the contrastive loss.

Each weight is a run of its own, with the settings of the run that it belongs to and nothing else
changed, trained and tested on the paper's "1st and 2nd folds". In the run's figures/fig11/:

=================  ===============================================================================
`<weight>/`        the run folder of a weight
`prototxt/<w>/`    the net with that weight, its solver and its deploy net
=================  ===============================================================================
"""

import math
from dataclasses import replace

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gcnet import prototxt, runs, sources
from gcnet.evaluate.evaluated import by_sequence
from gcnet.methods.gcnet import figures, variants
from gcnet.methods.gcnet.models import S1R0, S1R1
from gcnet.report import of_runs, plots
from gcnet.train import cross_validation
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT

MODELS = (S1R0, S1R1)
LOSS = "loss_contrastive"
FOLDS = (0, 1)
WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Choice: the paper's own steps cannot be read from its figure. These are half a decade each, on
both sides of the weight 1 that the paper trains with, and none."""


def parse(text):
    """ "0,0.1,1" as weights, ascending and each once. Raises InputError."""
    try:
        weights = sorted({float(part) for part in text.split(",")})
    except ValueError:
        weights = [math.nan]
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise InputError(f"--loss-weights {text}: give numbers of 0 or more as 0,0.1,1")
    return weights


def figure11(run, weights, device, jobs, command):
    """Figure 11 of a Run, as (Figure, caption), after training and testing what is missing.

    `device` and `jobs` as of cross_validation.train, `command` what the new runs say they were made
    by. Raises InputError: the run has no contrastive loss, its files have changed, or as
    cross_validation.train.
    """
    runs_by_weight = {weight: trained(run, weight, device, jobs, command) for weight in weights}
    measured = {weight: of_runs.up_to_date(one) for weight, one in runs_by_weight.items()}
    curves = {count: _accuracies(measured, count) for count in ("by frame", "by sequence")}
    lines = [
        f"weight {weight:g}: "
        + ", ".join(
            f"{count} {curves[count][i].mean():.2f} % (folds 0, 1: {_both(curves[count][i])})"
            for count in curves
        )
        + f", {one.name}"
        for i, (weight, one) in enumerate(measured.items())
    ]
    caption = (
        f"Figure 11: accuracy of {run.model.title} against the weight of the "
        f"contrastive loss; mean of the folds 0 and 1, which are drawn thinly, on "
        f"{run.settings.index}. Measured:\n" + "\n".join(lines)
    )
    return _draw(weights, curves, 100 / len(run.class_names)), caption


def _both(accuracies):
    return " and ".join(f"{accuracy:.2f}" for accuracy in accuracies)


def trained(run, weight, device, jobs, command):
    """The Run with a weight, trained: `run` itself where that is its own weight and it is finished.

    Arguments and errors as of `figure11`.
    """
    settings = run.settings
    if run.model not in MODELS:
        able = " or ".join(model.name for model in MODELS)
        raise InputError(
            f"{run.name}: is a run of {settings.net}; give one of {able}, the GCNets with a "
            "contrastive loss"
        )
    original = ROOT / settings.prototxt
    wanted = replace(
        settings,
        index=ROOT / settings.index,
        weights={ROOT / path: None for path in settings.weights},
        prototxt=original,
    )
    if runs.complete(wanted) != settings:
        raise InputError(
            f"{run.name}: its index, weights or prototxt files have changed since it was started; "
            "restore them, or train it anew"
        )
    own = prototxt.value(
        sources.source_messages(settings.net, original)["net"], "loss_weight", LOSS
    )
    if np.float32(weight) == own and all(map(run.is_finished, FOLDS)):
        return run
    folder = figures.stem(run, "fig11")
    changed = folder / "prototxt" / f"{weight:g}"

    def change(net, solver):
        prototxt.set_value(net, "loss_weight", weight, LOSS)

    variants.write(changed, original, settings.net, change)
    return cross_validation.train(
        replace(wanted, prototxt=changed), FOLDS, command, folder / f"{weight:g}", device, jobs
    )


def _accuracies(measured, count):
    """Percent, weights x folds; `measured` is {weight: Evaluated}."""
    rows = []
    for one in measured.values():
        samples = one.predictions if count == "by frame" else by_sequence(one.predictions)
        rows.append([100 * samples.correct[samples.folds == fold].mean() for fold in FOLDS])
    return np.array(rows)


def _draw(weights, curves, chance):
    """`curves` is {count: percent, weights x folds}; `chance` in percent."""
    places = range(len(weights))  # evenly: the weights are steps of a factor, and 0 is one of them
    dashes = dict(zip(FOLDS, ((4, 2), (1, 1.5)), strict=True))
    styles = dict(zip(curves, (("#0072B2", "o"), ("#D55E00", "s")), strict=True))
    with matplotlib.rc_context(plots.PAPER_STYLE):
        figure = Figure(figsize=(plots.PAPER_WIDTH / 2, 3), layout="constrained")
        axes = figure.subplots()
        for count, (colour, marker) in styles.items():
            for fold, accuracies in zip(FOLDS, curves[count].T, strict=True):
                axes.plot(places, accuracies, color=colour, linewidth=0.7, dashes=dashes[fold])
            axes.plot(
                places, curves[count].mean(axis=1), color=colour, linewidth=1.6, marker=marker,
                markersize=4,
            )  # fmt: skip
        axes.axhline(chance, color="0.4", linewidth=0.8)
        axes.set_xticks(places, [f"{weight:g}" for weight in weights])
        axes.set(xlabel="weight of the contrastive loss", ylabel="accuracy (%)")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        thick, thin = {"linewidth": 1.6, "markersize": 4}, {"linewidth": 0.7, "color": "0.3"}
        handles = [
            Line2D([], [], color=colour, marker=marker, label=count, **thick)
            for count, (colour, marker) in styles.items()
        ]
        handles += [Line2D([], [], dashes=dashes[k], label=f"fold {k}", **thin) for k in FOLDS]
        handles.append(Line2D([], [], color="0.4", linewidth=0.8, label="chance"))
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure
