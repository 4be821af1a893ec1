"""Test the finished folds of a run and write down what came out.

How accuracy is counted (the paper does not say, so both counts are given):

by frame      every labelled test image is one sample
by sequence   the labelled images of a sequence that have the same label are one sample; its
              probabilities are the mean of theirs. In 8 classes a sequence's neutral first frame
              is therefore another sample than its apex frames.

Recalls and the confusion matrix count frames. The mean over folds weighs every fold alike (what
"averaged accuracy" of the tables is read as); the pooled accuracy weighs every sample alike.
Deviations are of a sample (n - 1). A fold's result is that of its last iteration: no snapshot is
picked by its test accuracy.

The metric-learning CNN compares a face with its reference. In 8 classes a neutral frame is its own
reference, so the distance is 0 whatever the face: that net's recall of neutral means little.
"""

import itertools
import json
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from data_prep.lmdbs import build, contents, places
from data_prep.lmdbs.records import read_pairs
from gcnet import evaluated, figures, paper, paper_figures, report, runs, statistics, tables
from gcnet.engine import TITLES
from gcnet.evaluated import Predictions, by_sequence
from gcnet.net_outputs import FEATURES, GCNETS, GENERATED, WHITE, central_crop, forward
from gcnet.train import caffe_log
from gcnet_base.atomic import replacing
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.paths import database_name, portable, sha256
from gcnet_base.protocol import CLASSES, FOLDS

COUNTS = ("frame", "sequence")

REPORT = "report.html"
"""Written last: with it, an evaluation is whole."""

DRAWN = {"readings", "figures"}
"""Folders of runs that are drawn as curves: docs/decisions.md's and those of Figure 11."""


def confusion(predictions):
    """C x C counts: row the true class, column the predicted one."""
    size = len(predictions.class_names)
    counts = np.zeros((size, size), int)
    np.add.at(counts, (predictions.labels, predictions.predicted), 1)
    return counts


def scores(predictions):
    """The numbers of results.json: see the module for how they are counted.

    Accuracies are in percent. A class without test images has recall None, a deviation over a
    single fold is None.
    """
    sequences = by_sequence(predictions)
    folds = {}
    for fold in sorted(set(predictions.folds.tolist())):
        folds[fold] = {}
        for count, samples in zip(COUNTS, (predictions, sequences), strict=True):
            correct = samples.correct[samples.folds == fold]
            folds[fold][count] = {"accuracy": _percent(correct), "samples": len(correct)}
    counts = confusion(predictions)
    totals = counts.sum(axis=1)
    return {
        "folds": folds,
        **{
            count: {
                "mean": float(np.mean([fold[count]["accuracy"] for fold in folds.values()])),
                "deviation": _deviation([fold[count]["accuracy"] for fold in folds.values()]),
                "pooled": _percent(samples.correct),
                "interval": statistics.interval(samples),
                "samples": len(samples.labels),
            }
            for count, samples in zip(COUNTS, (predictions, sequences), strict=True)
        },
        "recall": {
            name: 100.0 * counts[i, i] / totals[i] if totals[i] else None
            for i, name in enumerate(predictions.class_names)
        },
        "confusion": counts.tolist(),
        "chance": 100.0 / len(predictions.class_names),
        "largest_class": float(100.0 * totals.max() / totals.sum()),
    }


def _percent(correct):
    return float(100.0 * np.mean(correct))


def _deviation(values):
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True)
class _Tested:
    """N test images and references, uint8 N x 64 x 64, and the blobs that a fold's net makes."""

    fold: int
    records: list
    images: np.ndarray
    references: np.ndarray
    labels: np.ndarray
    blobs: dict


def evaluate(run, index=None):
    """Test the finished folds of a Run, write down what came out and return it as Evaluated.

    Without `index`, each fold's net is tested on its own test subjects. With the index.csv of
    aligned faces of *another* database or of photographs, every finished fold's net is tested on
    all of its labelled images; the mean is then over the nets. Files are written as gcnet.evaluated
    says, and beside them report.html, confusion.png, curves.png and figure4.png.

    Raises InputError: no fold is finished, the folds are not of one experiment
    (gcnet.evaluated.check_folds), a fold's LMDB is not the one it was trained with, a caffemodel is
    of another net or truncated, mlcnn is to test a face without a reference.
    """
    finished = evaluated.finished_folds(run)
    if not finished:
        raise InputError(f"{run.name}: no fold is finished; train with python/train_folds.py")
    evaluated.check_folds(run)
    lmdb = None
    if index is not None:
        if sha256(index) == run.settings.index_sha256:
            raise InputError(f"{index}: is what {run.name} was trained on; leave out --index")
        lmdb = _build_test(run, index)
    lmdbs = [lmdb or _own_lmdb(run, fold) for fold in finished]
    with ThreadPoolExecutor(available_cores()) as pool:
        tests = pool.map(_test, itertools.repeat(run), finished, lmdbs)
        named = {"desc": run.name, "unit": "fold", "leave": False, "disable": None}
        parts = list(tqdm(tests, total=len(finished), **named))
    predictions = Predictions(
        run.class_names,
        [record for part in parts for record in part.records],
        np.concatenate([np.full(len(part.labels), part.fold) for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.blobs["probabilities"] for part in parts]),
    )
    curves = figures.curves(caffe_log.of_run(run))

    out = evaluated.folder_of(run, index)
    out.mkdir(exist_ok=True)
    (out / REPORT).unlink(missing_ok=True)
    evaluated.write_predictions(out / "predictions.csv", predictions)
    evaluated.write_arrays(out / "outputs.npz", **_arrays(parts))
    results = _results(run, index, predictions, _generation(parts), out)
    figures.confusion(results["confusion"], run.class_names, out / "confusion.png")
    with replacing(out / "curves.png", "wb") as file:
        file.write(curves)
    with replacing(out / "results.json", encoding="utf-8") as file:
        file.write(json.dumps(results, indent=1) + "\n")
    tested = evaluated.load(run, index)
    pictures = _pictures(tested)
    report.write(out / REPORT, runs.NETS[run.settings.net], [tested], pictures)
    return tested


def _pictures(tested):
    """Draw Figure 4 of a GCNet into its folder; returns the report's pictures."""
    if tested.run.settings.net not in GCNETS:
        return []
    figure, caption = paper_figures.figure4(tested)
    png = figures.png(figure, caption)
    with replacing(tested.folder / "figure4.png", "wb") as file:
        file.write(png)
    return [(caption, png)]


def _test(run, fold, lmdb):
    """What the net of a fold makes of the test images in a folder of LMDBs, as _Tested."""
    records = contents.read_table(lmdb, "test")
    if run.settings.net == "mlcnn":
        _check_references(run, records)
    pairs, labels = read_pairs(lmdb / "test")
    blobs = ["probabilities", FEATURES]
    if run.settings.net in GCNETS:
        blobs.append(GENERATED)
    images, references = central_crop(pairs).swapaxes(0, 1)
    # On one thread each, so that the same run gives the same bits whatever else there is to do.
    made = forward(run, fold, images, blobs, references, threads=1)
    return _Tested(fold, records, images, references, labels, made)


def _arrays(parts):
    """The arrays of outputs.npz."""

    def all_of(blob):
        return np.concatenate([part.blobs[blob] for part in parts])

    return {
        "inputs": np.concatenate([part.images for part in parts]),
        "generated": _pixels(all_of(GENERATED)[:, 0]) if GENERATED in parts[0].blobs else None,
        "features": all_of(FEATURES),
    }


def _pixels(values):
    """float images as the nets make them -> uint8, on the scale of their inputs."""
    return np.clip(np.rint(WHITE * values), 0, 255).astype(np.uint8)


def _generation(parts):
    """How near the generated references come to the real ones, or None.

    The half squared error a face (eq. 5) of the "generated" and, to compare, of the input left
    "unchanged", over the test images that are not their own reference. None of a net that generates
    nothing, or without real references.
    """
    if GENERATED not in parts[0].blobs:
        return None
    errors = {"generated": [], "unchanged": []}
    for part in parts:
        real = part.references / np.float32(WHITE)
        other = (part.references != part.images).any(axis=(1, 2))
        for name, made in (
            ("generated", part.blobs[GENERATED][:, 0]),
            ("unchanged", part.images / np.float32(WHITE)),
        ):
            errors[name] += (0.5 * ((made - real)[other] ** 2).sum(axis=(1, 2))).tolist()
    if not errors["generated"]:
        return None
    return {name: float(np.mean(values)) for name, values in errors.items()}


def _results(run, index, predictions, generation, out):
    """The content of results.json, for a run whose other files are in `out`."""
    settings = run.settings
    tested_on = settings.index if index is None else portable(index)
    return {
        "run": run.name,
        "net": settings.net,
        "classes": settings.classes,
        "engine": settings.engine,
        "index": tested_on,
        "each_net_tests_all": index is not None,
        "unfinished": _unfinished(run),
        "missing": [fold for fold in range(FOLDS) if fold not in run.folds()],
        **scores(predictions),
        "generation": generation,
        "paper": paper.accuracies(settings.net, settings.classes, database_name(tested_on))
        if index is None
        else {},
        "index_sha256": settings.index_sha256 if index is None else sha256(index),
        "caffemodels": evaluated.caffemodels(run, sorted(set(predictions.folds.tolist()))),
        "sha256": {name: sha256(out / name) for name in ("predictions.csv", "outputs.npz")},
        "revision": runs.git_revision(),
        "command": shlex.join(["python", *sys.argv]),
    }


def _build_test(run, index):
    """The LMDB of all labelled images of an index, built where it is not there yet."""
    out = places.of_test(index, run.settings.classes)
    with places.building():
        build.build(index, out, None, run.settings.classes, copies=0, seed=0)
    return out


def _check_references(run, records):
    """mlcnn's own face as its reference would make its distance 0 and its prediction constant."""
    for record in records:
        if not record["reference"]:
            raise InputError(
                f"{record['image']}: has no reference, which {run.name} (mlcnn) compares it with; "
                "give a neutral image of its subject in the index, or evaluate another net"
            )


def _own_lmdb(run, fold):
    """The LMDBs that a fold was trained with; built again from the index if gone or damaged."""
    lmdb = run.lmdb_folder(fold)
    try:
        description = contents.check(lmdb)
    except InputError:
        description = runs.build_lmdbs(run, fold)
    runs.check_same_faces(run, fold, description)
    return lmdb


def _unfinished(run):
    """{fold: iteration of its newest snapshot} of folds that were started and not finished."""
    return {
        fold: next(iter(run.snapshots(fold)), 0)
        for fold in run.folds()
        if not run.is_finished(fold)
    }


def up_to_date(run, index=None):
    """The Evaluated of a Run, evaluated anew only if its files do not tell of what is trained now.

    Raises InputError as `evaluate` does.
    """
    return _known(run, index) or evaluate(run, index)


def _known(run, index):
    """The Evaluated that was written to its end for the folds as they are now, or None."""
    try:
        known = evaluated.load(run, index)
    except InputError:
        return None
    return known if (known.folder / REPORT).is_file() else None


def evaluate_all(folders, index=None, form="text"):
    """Evaluate the runs in `folders` and print what came out, then their tables.

    Without `folders`, of every run under runs/ what is not up to date is evaluated, on its own test
    subjects and on what it was tested on before, and the tables are of all of them. `form` is one
    of tables.FORMS; the tables alone are on standard output unless it is "text".

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
    print(tables.FORMS[form](tables.of(evaluations)), end="")
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
        f"{results['run']}: {runs.NETS[results['net']]}, {results['classes']} classes, "
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
    line("mean", [f"{tables.mean_text(c):>6} %" for c in cells])
    line("pool", [f"{c['pooled']:6.2f} % of {c['samples']}" for c in cells])
    line("95 %", [tables.interval_text(c["interval"]).strip() or "-" for c in cells])
    lines += [
        f"chance {results['chance']:.2f} %, "
        f"always the largest class {results['largest_class']:.2f} %",
    ]
    if results["generation"]:
        lines.append(f"generated reference: {tables.generation_text(results['generation'])}")
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
