"""Runs evaluated and reported: tested where they are not yet, drawn, told, and put into tables.

The numbers are whole before anything is drawn (gcnet.evaluate). What is drawn of them can be
deleted and is drawn again from the files that the test left.
"""

import sys

from gcnet import models, runs
from gcnet.engine import TITLES
from gcnet.evaluate import evaluated, testing
from gcnet.evaluate.scores import COUNTS
from gcnet.report import page, pictures, plots, table, table_forms, tables
from gcnet.train import caffe_log
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.protocol import CLASSES, FOLDS

REPORT, CONFUSION, CURVES = "report.html", "confusion.png", "curves.png"
"""What is drawn of every run, beside its model's pictures."""

DRAWN = {"readings", "figures"}
"""Folders of runs that are drawn as curves: docs/decisions.md's and those of Figure 11."""


def evaluate(run, index=None):
    """Test the finished folds of a Run and draw what came out; returns the Evaluated.

    `index` and what is raised as of testing.test. Beside the files of evaluated.py come
    report.html, confusion.png, curves.png and the model's pictures.
    """
    (evaluated.folder_of(run, index) / REPORT).unlink(missing_ok=True)
    tested = testing.test(run, index)
    draw(tested)
    return tested


def draw(tested):
    """Draw an Evaluated into its folder: report.html and the pictures beside it."""
    model = tested.run.model
    plots.confusion(tested.results["confusion"], tested.run.class_names, tested.folder / CONFUSION)
    with replacing(tested.folder / CURVES, "wb") as file:
        file.write(plots.curves(caffe_log.of_run(tested.run)))
    drawn = []
    if model.pictures is not None:
        figure, caption = pictures.figure(tested)
        png = plots.png(figure, caption)
        with replacing(tested.folder / model.pictures.file, "wb") as file:
            file.write(png)
        drawn.append((caption, png))
    page.write(tested.folder / REPORT, model.title, [tested], drawn)


def up_to_date(run, index=None):
    """The Evaluated of a Run, tested and drawn only where its files are not of what is trained.

    Raises InputError as `evaluate` does.
    """
    return _known(run, index) or evaluate(run, index)


def _known(run, index):
    """The Evaluated of the folds as they are now, drawn where it is not, or None."""
    try:
        known = evaluated.load(run, index)
    except InputError:
        return None
    if not all((known.folder / name).is_file() for name in _drawn(known.run.model)):
        draw(known)
    return known


def _drawn(model):
    """Names of what `draw` leaves."""
    names = [REPORT, CONFUSION, CURVES]
    return names if model.pictures is None else [*names, model.pictures.file]


def evaluate_all(folders, index=None, form="text"):
    """Evaluate the runs in `folders` and print what came out, then their tables.

    Without `folders`, of every run under runs/ what is not up to date is evaluated, on its own test
    subjects and on what it was tested on before, and the tables are of all of them. `form` is one
    of table_forms.FORMS; the tables alone are on standard output unless it is "text".

    A run that cannot be evaluated is told in a line on standard error and the others go on.
    Returns whether all went well. Raises InputError if there is no run at all.
    """
    details = sys.stdout if form == "text" else sys.stderr
    if index is not None:
        runs.check_index(index)
    found = folders or run_folders()
    if not found:
        raise InputError(f"no run under {runs.RUNS}; train one with python/train_folds.py")
    well, evaluations = True, []
    for folder in found:
        try:
            run = runs.load(folder)
            if not folders and not evaluated.finished_folds(run):
                print(f"{run.name}: no fold is finished, left out", file=details)
                continue
            indices = [index] if folders or index else [None, *evaluated.other_indices(run)]
        except (InputError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            well = False
            continue
        for tested_on in indices:
            try:
                known = None if folders else _known(run, tested_on)
                evaluations.append(known or _evaluate_and_tell(run, tested_on, details))
            except (InputError, OSError) as error:
                print(f"error: {error}", file=sys.stderr)
                well = False
    print(table_forms.FORMS[form](tables.of(evaluations)), end="")
    return well


def run_folders():
    """The folders of all runs under runs/, but for those of readings of the paper and Figure 11."""
    return [
        path.parent
        for path in sorted(runs.RUNS.rglob("run.json"))
        if DRAWN.isdisjoint(path.relative_to(runs.RUNS).parts)
    ]


def _evaluate_and_tell(run, index, details):
    """`evaluate`, and print what came out to the file `details`."""
    tested = evaluate(run, index)
    print(as_text(tested.results), file=details)
    files = f"{REPORT}, results.json, predictions.csv, outputs.npz, PNGs"
    print(f"written to {tested.name}: {files}\n", file=details, flush=True)
    return tested


def as_text(results):
    """What eval_folds.py prints of one run."""
    classes = CLASSES[results["classes"]]
    lines = [
        f"{results['run']}: {models.title(results['net'])}, {results['classes']} classes, "
        f"on {results['index']}, engine {TITLES[results['engine']]}",
        *coverage(results),
        "",
        f"fold  {'by frame':28}  by sequence",
    ]

    def line(name, cells):
        lines.append(f"{name:>4}  {cells[0]:28}  {cells[1]}")

    for fold, row in results["folds"].items():
        cells = [row[count] for count in COUNTS]
        line(fold, [f"{c['accuracy']:6.2f} % of {c['samples']}" for c in cells])
    cells = [results[count] for count in COUNTS]
    line("mean", [f"{table.mean_text(c):>6} %" for c in cells])
    line("pool", [f"{c['pooled']:6.2f} % of {c['samples']}" for c in cells])
    line("95 %", [table.interval_text(c["interval"]).strip() or "-" for c in cells])
    lines += [
        f"chance {results['chance']:.2f} %, "
        f"always the largest class {results['largest_class']:.2f} %",
    ]
    if results["generation"]:
        lines.append(f"generated reference: {table.generation_text(results['generation'])}")
    for database, accuracy in results["paper"].items():
        value = "no such row" if accuracy is None else f"{accuracy:.2f} %"
        lines.append(f"paper, on the real database {database}: {value}")
    width = max(len(name) for name in classes)
    heads = " ".join(name[:4] for name in classes)
    lines += ["", f"{'true, by frame':{width}}  recall    predicted {heads}"]
    for name, row in zip(classes, results["confusion"], strict=True):
        recall = results["recall"][name]
        shown = "      -" if recall is None else f"{recall:5.1f} %"
        lines.append(f"{name:{width}} {shown:>8} {'':11}" + " ".join(f"{n:4d}" for n in row))
    return "\n".join(lines)


def coverage(results):
    """Lines that say what was tested and which folds the numbers leave out."""
    lines = []
    if results["each_net_tests_all"]:
        lines.append("the net of every fold is tested on all of these images")
    if results["unfinished"]:
        parts = [f"{fold} (at iteration {n})" for fold, n in results["unfinished"].items()]
        lines.append(f"not finished and left out: fold {', '.join(parts)}")
    if results["missing"]:
        lines.append(
            f"{len(results['folds'])} of {FOLDS} folds; not trained: "
            + ", ".join(map(str, results["missing"]))
        )
    return lines
