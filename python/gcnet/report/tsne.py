"""Features as points in the plane: t-SNE, and the panels of Figures 5 and 6 that show it."""

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from gcnet.report.plots import CLASS_COLOURS, CLASS_MARKERS, PAPER_STYLE, PAPER_WIDTH
from gcnet_base.errors import InputError

PERPLEXITY = 30
"""Choice: the paper names none. t-SNE's authors advise 5 to 50; 30 is scikit-learn's default."""

THUMBNAIL = 0.06
"""Side of a face, as a share of its panel's: 5 mm in print."""
MARGIN = 0.6 * THUMBNAIL
"""Around the points, for the faces at the outermost ones."""
PALEST = 0.15
"""How much of its class colour a point without any expressiveness has; the rest is white."""


@dataclass(frozen=True)
class Panel:
    """N points of one t-SNE: `points` float N x 2 in [0, 1], `expressions` N class names.

    `expressiveness` float N in [0, 1] tints them, 1 is the full class colour. `faces`, uint8
    N x H x W, are drawn at the points where there is room; None draws the points alone.
    """

    caption: str
    points: np.ndarray
    expressions: tuple
    expressiveness: np.ndarray
    faces: np.ndarray | None = None


def perplexity(samples):
    """The perplexity that `embed` takes for so many samples."""
    return min(PERPLEXITY, (len(samples) - 1) / 3)


def embed(features):
    """t-SNE of N x D features (N >= 2): float64 N x 2 within [0, 1], distances to scale.

    The same features give the same points: it starts from their principal components and computes
    in one thread, because several would add up their sums in an order that changes. Raises
    InputError without scikit-learn, which the images of BVLC Caffe leave out.
    """
    # Here, because they take half of the time that a command needs to start.
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits  # comes with scikit-learn
    except ModuleNotFoundError:
        raise InputError(
            "t-SNE needs scikit-learn, which this Python does not have: pip install '.[analysis]'"
        ) from None

    with threadpool_limits(limits=1):
        points = TSNE(
            perplexity=perplexity(features), init="pca", learning_rate="auto", random_state=0
        ).fit_transform(np.asarray(features, np.float32))
    low, high = points.min(axis=0), points.max(axis=0)
    return 0.5 + (points - (low + high) / 2).astype(float) / max((high - low).max(), 1e-9)


def draw(panels, columns, class_names):
    """Panels in rows of `columns`, with a caption below each and one legend: a Figure.

    All panels are as high as the points of one of them need: no distance is stretched.
    """
    rows = -(-len(panels) // columns)
    width = 1 + 2 * MARGIN
    height = 2 * max(np.abs(panel.points[:, 1] - 0.5).max() for panel in panels) + 2 * MARGIN
    inches = rows * (PAPER_WIDTH / columns * height / width + 0.2) + 0.3
    with matplotlib.rc_context(PAPER_STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, inches), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=True):
            _draw_panel(axes, panel)
            axes.set(xlim=(0.5 - width / 2, 0.5 + width / 2))
            axes.set(ylim=(0.5 - height / 2, 0.5 + height / 2))
        shown = {name for panel in panels for name in panel.expressions}
        handles = [_marker(name) for name in class_names if name in shown]
        if any((panel.expressiveness < 1).any() for panel in panels):
            handles.append(Line2D([], [], linestyle="", label="lighter: less expressive"))
        figure.legend(
            handles=handles, loc="outside lower center", ncols=len(handles), frameon=False,
            handletextpad=0.2, columnspacing=1,
        )  # fmt: skip
    return figure


def tint(expression, expressiveness):
    """The class colour, paler the less expressive: (red, green, blue) from 0 to 1."""
    share = PALEST + (1 - PALEST) * expressiveness
    return tuple(1 - share * (1 - part) for part in to_rgb(CLASS_COLOURS[expression]))


def _edge(expression):
    return tuple(0.6 * part for part in to_rgb(CLASS_COLOURS[expression]))


def _marker(expression):
    return Line2D(
        [], [], linestyle="", marker=CLASS_MARKERS[expression], markersize=5, label=expression,
        markerfacecolor=tint(expression, 1), markeredgecolor=_edge(expression), markeredgewidth=0.4,
    )  # fmt: skip


def _draw_panel(axes, panel):
    small = panel.faces is not None
    for expression in dict.fromkeys(panel.expressions):
        chosen = np.array([name == expression for name in panel.expressions])
        axes.scatter(
            *panel.points[chosen].T, s=4 if small else 13, marker=CLASS_MARKERS[expression],
            c=[tint(expression, value) for value in panel.expressiveness[chosen]],
            edgecolors=[_edge(expression)], linewidths=0.2 if small else 0.35,
        )  # fmt: skip
    if panel.faces is not None:
        for i in apart(panel.points):
            _draw_face(axes, panel, i)
    axes.set(xticks=[], yticks=[], aspect="equal", xlabel=panel.caption)


def apart(points):
    """Indices of points at which faces can stand without covering each other.

    Taken one after the other in a drawn order, always the same one: in the order of the sequences
    the first persons would take all the room.
    """
    chosen = []
    for i in np.random.default_rng(0).permutation(len(points)):
        apart_by = np.abs(points[chosen] - points[i]).max(axis=1, initial=0)
        if (apart_by >= 1.12 * THUMBNAIL).all():
            chosen.append(int(i))
    return chosen


def _draw_face(axes, panel, i):
    (x, y), half = panel.points[i], THUMBNAIL / 2
    place = (x - half, x + half, y - half, y + half)
    axes.imshow(panel.faces[i], cmap="gray", vmin=0, vmax=255, extent=place, zorder=3)
    axes.add_patch(
        Rectangle(
            (x - half, y - half),
            2 * half,
            2 * half,
            fill=False,
            linewidth=1.4,
            zorder=4,
            edgecolor=tint(panel.expressions[i], panel.expressiveness[i]),
        )  # fmt: skip
    )
