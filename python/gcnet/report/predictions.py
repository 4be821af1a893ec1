"""Predictions of a person's own pictures, printed, written and drawn.

In the output folder:

=================== ============================================================================
`predictions.csv`   a row for each picture: image, faces (how many were found), predicted, the
                    probabilities, drawing
`<picture>.png`     a drawing of each: the face that was taken, the reference that a GCNet makes of
                    it, their difference, and the probabilities; those of earlier calls stay
=================== ============================================================================
"""

import csv
import sys
import warnings
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from data_prep import index
from data_prep.faces import file_names
from gcnet.evaluate.net_outputs import WHITE, central_crop
from gcnet.evaluate.predict import faces_of, nets_of, pictures, predict, source
from gcnet_base.atomic import replacing
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.paths import portable
from gcnet_base.workers import Workers

PICTURES_PER_WORKER = 10
"""Fewer are read and drawn sooner than another process has started."""

_DPI = 150
_SIDE, _GAP, _NAMES, _BARS = 2.4, 0.2, 1.1, 2.8
"""Widths of a drawing's parts, in inches."""
_BOTTOM, _HEIGHT = 0.8, 3.6
_LONGEST = 80
"""Characters of a picture's path below its drawing; of a longer one the end is shown."""
_INK, _SOFT, _BAR = "#2a3644", "#71808f", "#c9d3de"
_DIFFERENCE = 0.5
"""The difference with the darkest colour; white against black is 1. The same in all drawings, so
that they can be compared; of 16 faces that were tried, 0.06 % of the pixels differed by more."""


def predict_all(folder, paths, fold=None, out=None, engine=None):
    """Predict pictures with the nets of the run folder `folder`, print and write what comes out.

    `paths` are files and folders of pictures. Returns whether any of them has a face; a picture
    without one is told in a line on standard error and the others go on. What is written where:
    see the module; `out` None means `<run>/predictions`. The other arguments, and what is raised:
    gcnet.evaluate.predict, and InputError for an `out` that has other files.
    """
    run, folds = nets_of(folder, fold, engine)
    out = Path(out or run.folder / "predictions")
    files, left_out = pictures(paths)
    _check_output(out, files)
    with Workers(min(available_cores(), 1 + len(files) // PICTURES_PER_WORKER)) as pool:
        found, without = faces_of(pool, files)
        left_out += without
        for file, problem in left_out:
            print(f"left out: {file}: {problem}", file=sys.stderr)
        if found:
            predictions = predict(run, folds, found)
            print(as_text(run, folds, predictions), flush=True)
            write(out, run, folds, predictions, pool)
    if found:
        print(f"written to {portable(out)}: predictions.csv and a drawing of each picture")
    if left_out:
        print(
            f"left out: {len(left_out)} of {len(found) + len(left_out)} pictures", file=sys.stderr
        )
    return bool(found)


def _check_output(out, files):
    """A drawing must not replace a picture, nor predictions.csv that of an evaluation."""
    if out.resolve() in {file.parent.resolve() for file in files}:
        raise InputError(f"{out}: holds the pictures themselves; choose another output folder")
    if (out / "run.json").exists() or (out / "results.json").exists():
        raise InputError(f"{out}: holds an evaluation; choose another output folder")


def as_text(run, folds, predictions):
    """A table for people, a line for each picture, and a line for each with several faces."""
    names = run.class_names
    rows = [
        [p.file, names[p.probabilities.argmax()], *(f"{100 * q:.1f} %" for q in p.probabilities)]
        for p in predictions
    ]
    columns = []
    for column in zip(["picture", "predicted", *names], *rows, strict=True):
        pad = str.ljust if len(columns) < 2 else str.rjust
        columns.append([pad(cell, max(map(len, column))) for cell in column])
    lines = [source(run, folds), "", *map("  ".join, zip(*columns, strict=True))]
    nose = 2 * index.POINTS.index("nose")
    for p in predictions:
        if p.face.found > 1:
            x, y = p.face.landmarks[nose : nose + 2]
            lines.append(
                f"{p.file}: {p.face.found} faces; taken: the largest or most central one, with its "
                f"nose at ({x:.0f}, {y:.0f})"
            )
    return "\n".join(lines)


def write(out, run, folds, predictions, pool):
    """Write the drawings of Predictions, by the Workers `pool`, and predictions.csv into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    stems = (file_names.plain(Path(prediction.file).stem) for prediction in predictions)
    names = [f"{name}.png" for name in file_names.distinct(stems)]
    tasks = [
        (out / name, prediction, run.class_names, source(run, folds))
        for name, prediction in zip(names, predictions, strict=True)
    ]
    drawn = pool.map(_draw, tasks)
    for _ in tqdm(drawn, "drawings", len(tasks), unit="picture", leave=False, disable=None):
        pass
    with replacing(out / "predictions.csv", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        probabilities = [f"p_{name}" for name in run.class_names]
        writer.writerow(["image", "faces", "predicted", *probabilities, "drawing"])
        for name, prediction in zip(names, predictions, strict=True):
            predicted = run.class_names[prediction.probabilities.argmax()]
            shares = [f"{p:.6f}" for p in prediction.probabilities]
            writer.writerow([prediction.file, prediction.face.found, predicted, *shares, name])


def _draw(task):
    path, prediction, class_names, source = task
    figure = drawing(prediction, class_names, source)
    with warnings.catch_warnings(), replacing(path, "wb") as file:
        # A file may have a name in letters that the font lacks.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})


def drawing(prediction, class_names, source):
    """A matplotlib Figure of a Prediction: face, reference, their difference, probabilities."""
    face = central_crop(prediction.face.pixels) / WHITE
    panels = {"image": face}
    if prediction.generated is not None:
        panels["generated reference"] = prediction.generated
        panels["difference"] = face - prediction.generated
    width = len(panels) * (_SIDE + _GAP) + _NAMES + _BARS + _GAP
    figure = Figure(figsize=(width, _HEIGHT))

    def axes_at(left, bottom, wide, high):
        """Axes in a place that is given in inches, so that all drawings are alike."""
        return figure.add_axes((left / width, bottom / _HEIGHT, wide / width, high / _HEIGHT))

    left = _GAP
    for caption, image in panels.items():
        axes = axes_at(left, _BOTTOM, _SIDE, _SIDE)
        if caption == "difference":
            shown = axes.imshow(image, cmap="RdBu_r", vmin=-_DIFFERENCE, vmax=_DIFFERENCE)
            _scale(figure, shown, axes_at(left, _BOTTOM - 0.17, _SIDE, 0.08))
        else:
            axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(caption, fontsize=12, color=_INK)
        axes.set_axis_off()
        left += _SIDE + _GAP
    bars = axes_at(left + _NAMES, _BOTTOM, _BARS, _SIDE)
    _draw_bars(bars, prediction.probabilities, class_names)
    several = f" (one of {prediction.face.found} faces)" if prediction.face.found > 1 else ""
    file = prediction.file
    if len(file) > _LONGEST:
        file = f"...{file[3 - _LONGEST :]}"
    for line, text in enumerate((file + several, source)):
        figure.text(
            _GAP / width, (0.28 - 0.15 * line) / _HEIGHT, text, fontsize=8, color=_SOFT,
            va="center", parse_math=False,
        )  # fmt: skip
    return figure


def _scale(figure, shown, axes):
    """What the colours of the difference mean, below it."""
    bar = figure.colorbar(shown, cax=axes, orientation="horizontal")
    bar.set_ticks(
        [-_DIFFERENCE, 0, _DIFFERENCE],
        labels=[f"darker, \N{MINUS SIGN}{_DIFFERENCE}", "0", f"+{_DIFFERENCE}, brighter"],
    )
    for label, side in zip(bar.ax.get_xticklabels(), ("left", "center", "right"), strict=True):
        label.set_horizontalalignment(side)
    bar.ax.tick_params(length=0, labelsize=9, labelcolor=_INK)
    bar.outline.set_visible(False)


def _draw_bars(axes, probabilities, class_names):
    """Horizontal bars of probabilities, the first class at the top, the predicted one dark."""
    best = probabilities.argmax()
    places = range(len(class_names))
    colours = [_INK if place == best else _BAR for place in places]
    axes.barh(places, probabilities, color=colours, height=0.72)
    axes.set_yticks(places, class_names, fontsize=12, color=_INK)
    for place, name in zip(places, axes.get_yticklabels(), strict=True):
        weight = "bold" if place == best else "normal"
        name.set_weight(weight)
        axes.text(
            probabilities[place] + 0.02, place, f"{100 * probabilities[place]:.1f} %",
            va="center_baseline", fontsize=11, color=_INK, weight=weight,
        )  # fmt: skip
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.set_xlim(0, 1.4)  # room for "100.0 %"
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.set_title("probability", fontsize=12, color=_INK, loc="left")
