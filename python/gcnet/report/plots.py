"""Pictures of a run, which come out the same, byte by byte, from the same results."""

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError

TERMS = {
    "loss": "total loss",
    "loss_classification": "classification",
    "loss_generation": "generation",
    "loss_contrastive": "contrastive",
    "loss_reconstruction_image": "reconstruction of image",
    "loss_reconstruction_input": "reconstruction of image",  # its name in runs of older nets
    "loss_reconstruction_reference": "reconstruction of reference",
    "accuracy": "test accuracy",
}
"""Captions of the nets' outputs."""

CLASS_COLOURS = {
    "anger": "#D55E00",
    "contempt": "#F0E442",
    "disgust": "#009E73",
    "fear": "#882255",
    "happiness": "#E69F00",
    "sadness": "#0072B2",
    "surprise": "#56B4E9",
    "neutral": "#000000",
}
"""The same in all pictures: the colours of Okabe and Ito, made for colour-blind eyes too, but wine
for their reddish purple, which deuteranopes see close to the green."""

CLASS_MARKERS = dict(zip(CLASS_COLOURS, "oPsD^vX*", strict=True))

PAPER_WIDTH = 7.16
"""Inches: both columns of an IEEE page."""

PAPER_STYLE = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 8,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.linewidth": 0.5, "pdf.fonttype": 42,
}  # fmt: skip
"""For figures of a paper; fonts are embedded as TrueType, which publishers ask for."""

_DPI = 150
_PAPER_DPI = 300


def png(figure, about):
    """PNG bytes of a figure for a paper, with the text `about` in them."""
    return _file(figure, "png", {"Software": None, "Description": about})


def save(figure, stem, about):
    """Write a figure as <stem>.png and <stem>.pdf, with the text `about` in both; returns them."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    dateless = {"Creator": None, "Producer": None, "CreationDate": None}
    written = []
    for path, content in (
        (stem.with_suffix(".png"), png(figure, about)),
        (stem.with_suffix(".pdf"), _file(figure, "pdf", {**dateless, "Subject": about})),
    ):
        with replacing(path, "wb") as file:
            file.write(content)
        written.append(path)
    return written


def _file(figure, kind, metadata):
    buffer = io.BytesIO()
    with matplotlib.rc_context(PAPER_STYLE):
        figure.savefig(buffer, format=kind, dpi=_PAPER_DPI, metadata=metadata)
    return buffer.getvalue()


def _save(figure, path):
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})


def confusion(counts, names, path):
    """Confusion matrix of C x C counts: shade and percentage by row, count below it."""
    counts = np.asarray(counts)
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = 1.6 + 0.75 * len(names)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            if counts[row, column]:
                axes.text(
                    column, row, f"{100 * share[row, column]:.0f} %\n{counts[row, column]}",
                    ha="center", va="center", fontsize=9,
                    color="white" if share[row, column] > 0.5 else "#1a2a3a",
                )  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    _save(figure, path)


def rows(faces):
    """Figure 4's layout: one column for each test face, one row for each of `faces["rows"]`.

    `faces` as gcnet.report.pictures makes it; pixels in [0, 1]. Returns a Figure.
    """
    captions, columns = list(faces["rows"]), faces["columns"]
    beside = 0.85
    size = (PAPER_WIDTH - beside) / max(8, len(columns))
    with matplotlib.rc_context(PAPER_STYLE):
        width, height = beside + size * len(columns), 0.2 + (size - 0.02) * len(captions)
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
        grid = figure.subplots(len(captions), len(columns), squeeze=False)
        for axes_row, caption in zip(grid, captions, strict=True):
            for axes, image in zip(axes_row, faces["rows"][caption], strict=True):
                axes.imshow(image, cmap="gray", vmin=0, vmax=1)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
            axes_row[0].set_ylabel(
                caption.replace(" ", "\n", 1), rotation=0, ha="right", va="center"
            )
        for axes, column in zip(grid[0], columns, strict=True):
            axes.set_title(column["label"], pad=2)
    return figure


def curves(logs, dark=False):
    """Every term of the loss over the iterations, one panel a term, one line a fold: PNG bytes.

    `logs` is {fold: CaffeLog}. `dark` draws in light colours on the report's dark ground.
    """
    outputs = {name for log in logs.values() for name in log.train if name.startswith("loss")}
    others = {name: name.replace("_", " ") for name in sorted(outputs - TERMS.keys())}
    panels = [
        (name, caption, kind)
        for name, caption in {**TERMS, **others}.items()
        for kind in ("train", "test")
        if (name == "accuracy") == (kind == "test")
        and any(name in getattr(log, kind) for log in logs.values())
    ]
    across = min(4 if len(panels) > 6 else 3, len(panels)) or 1
    down = -(-len(panels) // across) or 1
    ink, ground = ("#d7dde5", "#1a2129") if dark else ("#2a3644", "#ffffff")
    style = {
        "text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink,
        "axes.edgecolor": ink, "figure.facecolor": ground, "axes.facecolor": ground, "font.size": 9,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(3.2 * across, 2.5 * down), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False).ravel()
        colours = matplotlib.colormaps["tab10"]
        for axes, (name, caption, kind) in zip(grid, panels, strict=False):
            for fold, log in logs.items():
                points = sorted(getattr(log, kind).get(name, {}).items())
                if points:
                    axes.plot(
                        *zip(*points, strict=True), color=colours(fold % 10), linewidth=1.2,
                        marker="o" if kind == "test" else None, markersize=3, label=f"fold {fold}",
                    )  # fmt: skip
            axes.set_title(caption, fontsize=10)
            highest = 1 if name == "accuracy" else axes.dataLim.ymax
            axes.set_ylim(0, 1.05 * highest if highest > 0 else 1)
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[max(0, len(panels) - across) : len(panels)]:
            axes.set_xlabel("iteration")
        if len(logs) > 1 and panels:
            handles = [Line2D([], [], color=colours(f % 10), label=f"fold {f}") for f in logs]
            figure.legend(
                handles=handles, loc="outside lower center", ncols=len(logs), frameon=False
            )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def courses(logs):
    """How models get better on their test folds, as a Figure: the mean over folds, iteration by
    iteration.

    `logs` is {model: {fold: CaffeLog}}. Raises InputError if no log tells of a test.
    """
    panels = {
        "accuracy": "test accuracy",
        "loss_classification": "classification loss, test",
        "loss_generation": "generation loss, test",
    }
    panels = {
        name: caption
        for name, caption in panels.items()
        if any(name in log.test for folds in logs.values() for log in folds.values())
    }
    if not panels:
        raise InputError("no caffe.log of these runs tells of a test")
    with matplotlib.rc_context(PAPER_STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 2.2), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        colours = matplotlib.colormaps["tab10"]
        for axes, (name, caption) in zip(grid, panels.items(), strict=True):
            for number, (model, folds) in enumerate(logs.items()):
                curves = [log.test[name] for log in folds.values() if name in log.test]
                if curves:
                    shared = sorted(set.intersection(*map(set, curves)))
                    means = [np.mean([curve[at] for curve in curves]) for at in shared]
                    axes.plot(shared, means, color=colours(number), label=model, linewidth=1.2)
            axes.set_title(caption)
            axes.set_xlabel("iteration")
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        handles = [Line2D([], [], color=colours(n), label=model) for n, model in enumerate(logs)]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(6, len(logs)), frameon=False
        )
    return figure
