"""Pictures of a run, as PNG files that come out the same, byte by byte, from the same results."""

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from data_prep.atomic import replacing

TERMS = {
    "loss": "total loss",
    "loss_classification": "classification",
    "loss_generation": "generation",
    "loss_contrastive": "contrastive",
    "loss_reconstruction_input": "reconstruction of input",
    "loss_reconstruction_reference": "reconstruction of reference",
    "accuracy": "test accuracy",
}
"""Captions of the nets' outputs."""

_DPI = 150


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


def rows(faces, path):
    """Figure 4's layout: one column for each test face, one row for each of `faces["rows"]`.

    `faces` as gcnet.evaluation makes it; pixels in [0, 1].
    """
    captions, columns = list(faces["rows"]), faces["columns"]
    size = 1.0
    figure = Figure(
        figsize=(1.5 + size * len(columns), 0.45 + size * len(captions)), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    grid = figure.subplots(len(captions), len(columns), squeeze=False)
    for axes_row, caption in zip(grid, captions, strict=True):
        for axes, image in zip(axes_row, faces["rows"][caption], strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        axes_row[0].set_ylabel(
            caption.replace(" ", "\n", 1), rotation=0, ha="right", va="center", fontsize=9
        )
    for axes, column in zip(grid[0], columns, strict=True):
        axes.set_title(column["label"], fontsize=9)
    _save(figure, path)


def curves(logs, dark=False):
    """Every term of the loss over the iterations, one panel a term, one line a fold: PNG bytes.

    `logs` is {fold: CaffeLog}. `dark` draws in light colours on the report's dark ground.
    """
    panels = [
        (name, caption, kind)
        for name, caption in TERMS.items()
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
