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
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep import FACE_SIZE, build_lmdb, lmdb_folder
from data_prep.atomic import replacing
from data_prep.pairs import PAIR_SHAPE, open_pairs, read_pairs
from gcnet import engine as engines
from gcnet import evaluated, figures, paper, report, runs, statistics
from gcnet.caffe_log import CaffeLog
from gcnet.engine import TITLES
from gcnet.errors import InputError
from gcnet.evaluated import Predictions, by_sequence
from gcnet.protocol import CLASSES, FOLDS
from torchcaffe.schema.caffe_pb2 import Datum

NET_SIZE = 64
"""Height and width of a net's input (Section IV-A)."""
WHITE = 256
"""The pixel value that the nets see as 1: their inputs are pixels times 1/256."""

GCNETS = ("s0r0", "s1r0", "s0r1", "s1r1")
GENERATED = "generated"
"""The blob of the reference that a GCNet makes."""
FEATURES = "classifier/fc1"
""""GCNet feature": the first fully connected layer of the classifier, after its ReLU."""


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
        for count, samples in (("frame", predictions), ("sequence", sequences)):
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
            for count, samples in (("frame", predictions), ("sequence", sequences))
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


def central_crop(images):
    """uint8 N x 66 x 66 -> uint8 N x 64 x 64, what the nets see of a test image."""
    offset = (FACE_SIZE - NET_SIZE) // 2
    return images[:, offset : offset + NET_SIZE, offset : offset + NET_SIZE]


def net_input(images):
    """uint8 N x 66 x 66 -> float32 N x 1 x 64 x 64, as the nets' TEST phase transforms them."""
    return central_crop(images)[:, None].astype(np.float32) / WHITE


def forward(run, caffe, fold, pairs, blobs):
    """{blob: array} that a fold's net makes of `pairs`, uint8 N x 2 x 66 x 66."""
    folder = run.fold_folder(fold)
    inputs = {"image": net_input(pairs[:, 0])}
    if run.settings.net == "mlcnn":
        inputs["reference"] = net_input(pairs[:, 1])
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "inputs.npz", Path(scratch) / "outputs.npz"
        np.savez(given, **inputs)
        caffe.run_module(
            "gcnet.forward",
            "--net", runs.portable(folder / "deploy.prototxt"),
            "--stages", ",".join(run.stages(fold)),
            "--weights", runs.portable(run.final_caffemodel(fold)),
            "--inputs", given, "--blobs", ",".join(blobs), "--output", made,
        )  # fmt: skip
        with np.load(made) as outputs:
            return dict(outputs)


def figure4_blobs(net):
    """Figure 4's rows below the input that a net can make: {caption: blob}."""
    rows = {}
    if net in GCNETS:
        rows["generated reference"] = GENERATED
    if net in ("s0r1", "s1r1"):
        rows["reconstructed neutral"] = "reconstructed_reference"
        rows["reconstructed input"] = "reconstructed_input"
    return rows


@dataclass(frozen=True)
class _Tested:
    """What the net of one fold makes of its N test pairs, by the blobs' names."""

    fold: int
    records: list
    pairs: np.ndarray
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
    caffe = engines.find(run.settings.engine)
    lmdb = None
    if index is not None:
        if runs.sha256(index) == run.settings.index_sha256:
            raise InputError(f"{index}: is what {run.name} was trained on; leave out --index")
        lmdb = _build_test(run, index)
    parts = [_test(run, caffe, fold, lmdb or _own_lmdb(run, fold)) for fold in finished]
    predictions = Predictions(
        run.class_names,
        [record for part in parts for record in part.records],
        np.concatenate([np.full(len(part.labels), part.fold) for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.blobs["probabilities"] for part in parts]),
    )
    logs = {fold: _read_log(run, fold) for fold in run.folds()}
    curves = {"light": figures.curves(logs), "dark": figures.curves(logs, dark=True)}
    faces = _figure4(run, caffe, parts[0])
    samples = None if index is not None else _training_pairs(run, finished[0])

    out = evaluated.folder_of(run, index)
    out.mkdir(exist_ok=True)
    evaluated.write_predictions(out / "predictions.csv", predictions)
    evaluated.write_arrays(out / "outputs.npz", **_arrays(parts))
    results = _results(run, index, predictions, out)
    figures.confusion(results["confusion"], run.class_names, out / "confusion.png")
    with replacing(out / "curves.png", "wb") as file:
        file.write(curves["light"])
    if len(faces["rows"]) > 1:
        figures.rows(faces, out / "figure4.png")
    with replacing(out / "results.json", encoding="utf-8") as file:
        file.write(json.dumps(results, indent=1) + "\n")
    report.write(out / "report.html", run, results, curves, faces, samples)
    return evaluated.load(run, index)


def _test(run, caffe, fold, lmdb):
    """What the net of a fold makes of the test images in a folder of LMDBs, as _Tested."""
    records = lmdb_folder.read_table(lmdb, "test")
    if run.settings.net == "mlcnn":
        _check_references(run, records)
    pairs, labels = read_pairs(lmdb / "test")
    blobs = ["probabilities", FEATURES]
    if run.settings.net in GCNETS:
        blobs.append(GENERATED)
    return _Tested(fold, records, pairs, labels, forward(run, caffe, fold, pairs, blobs))


def _arrays(parts):
    """The arrays of outputs.npz."""

    def all_of(blob):
        return np.concatenate([part.blobs[blob] for part in parts])

    return {
        "inputs": np.concatenate([central_crop(part.pairs[:, 0]) for part in parts]),
        "generated": _pixels(all_of(GENERATED)[:, 0]) if GENERATED in parts[0].blobs else None,
        "features": all_of(FEATURES),
    }


def _pixels(values):
    """float images as the nets make them -> uint8, on the scale of their inputs."""
    return np.clip(np.rint(WHITE * values), 0, 255).astype(np.uint8)


def _results(run, index, predictions, out):
    """The content of results.json, for a run whose other files are in `out`."""
    settings = run.settings
    tested_on = settings.index if index is None else runs.portable(index)
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
        "paper": paper.accuracies(settings.net, settings.classes, runs.database_name(tested_on))
        if index is None
        else {},
        "index_sha256": settings.index_sha256 if index is None else runs.sha256(index),
        "caffemodels": evaluated.caffemodels(run),
        "sha256": {name: runs.sha256(out / name) for name in ("predictions.csv", "outputs.npz")},
        "revision": runs.git_revision(),
        "command": shlex.join(["python", *sys.argv]),
    }


def _build_test(run, index):
    """The LMDB of all labelled images of an index, built where it is not there yet."""
    out = runs.test_lmdbs(index, run.settings.classes)
    with runs.building_lmdbs():
        build_lmdb.build(index, out, None, run.settings.classes, copies=0, seed=0)
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
        description = lmdb_folder.check(lmdb)
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


def _read_log(run, fold):
    path = run.fold_folder(fold) / "caffe.log"
    if not path.is_file():
        return CaffeLog()
    with open(path, encoding="utf-8", errors="replace") as lines:
        return CaffeLog(lines)


def _spread(records, most=8):
    """Indices of up to `most` records: classes and then subjects as varied as they come."""
    chosen, labels, subjects = [], [], []
    while len(chosen) < min(most, len(records)):
        left = [i for i in range(len(records)) if i not in chosen]
        best = min(
            left,
            key=lambda i: (
                labels.count(records[i]["label"]), subjects.count(records[i]["subject"]), i
            ),
        )  # fmt: skip
        chosen.append(best)
        labels.append(records[best]["label"])
        subjects.append(records[best]["subject"])
    return sorted(chosen, key=lambda i: int(records[i]["class_id"]))


def _figure4(run, caffe, part):
    """Test faces of one fold (_Tested) and what its net makes of them.

    Returns {"fold", "columns": [{"label", "predicted", "subject", "probability"}],
    "rows": {caption: float N x 64 x 64 in [0, 1]}}.
    """
    chosen = _spread(part.records)
    pairs = part.pairs[chosen]
    rows = {"input": net_input(pairs[:, 0])[:, 0]}
    blobs = figure4_blobs(run.settings.net)
    if blobs:
        made = forward(run, caffe, part.fold, pairs, list(blobs.values()))
        rows |= {caption: made[blob][:, 0] for caption, blob in blobs.items()}
    probabilities = part.blobs["probabilities"][chosen]
    columns = [
        {
            "label": part.records[i]["label"],
            "predicted": run.class_names[said.argmax()],
            "subject": part.records[i]["subject"],
            "probability": float(said.max()),
        }
        for i, said in zip(chosen, probabilities, strict=True)
    ]
    return {"fold": part.fold, "columns": columns, "rows": rows}


def _training_pairs(run, fold, most=8):
    """The first pairs of a fold's training LMDB, as [(label, uint8 2 x 66 x 66)]."""
    with open_pairs(run.lmdb_folder(fold) / "train") as database, database.begin() as transaction:
        first = [Datum.FromString(v) for _, v in itertools.islice(transaction.cursor(), most)]
    return [
        (run.class_names[datum.label], np.frombuffer(datum.data, np.uint8).reshape(PAIR_SHAPE))
        for datum in first
    ]


def evaluate_all(folders, index=None):
    """Evaluate and print runs; without folders, every run under runs/ that has a finished fold.

    A run that cannot be evaluated is told in a line on standard error and the others go on.
    Returns whether all went well. Raises InputError if there is no run at all.
    """
    found = folders or [path.parent for path in sorted(runs.RUNS.glob("*/run.json"))]
    if not found:
        raise InputError(f"no run under {runs.RUNS}; train one with python/train_folds.py")
    well = True
    for folder in found:
        try:
            run = runs.load(folder)
            if not folders and not any(run.is_finished(fold) for fold in run.folds()):
                print(f"{run.name}: no fold is finished, left out")
                continue
            found = evaluate(run, index)
            results, out = found.results, found.folder
        except (InputError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            well = False
            continue
        print(as_text(results))
        print(f"written to {runs.portable(out)}: report.html, results.json, predictions.csv, PNGs")
        print()
        sys.stdout.flush()
    return well


def as_text(results):
    """What eval_folds.py prints of one run."""
    classes = CLASSES[results["classes"]]
    lines = [
        f"{results['run']}: {runs.NETS[results['net']]}, {results['classes']} classes, "
        f"on {results['index']}, engine {TITLES[results['engine']]}",
        *coverage(results),
        "",
        "fold      by frame          by sequence",
    ]

    def cell(value):
        return f"{value['accuracy']:6.2f} % of {value['samples']:<5d}"

    for fold, row in results["folds"].items():
        lines.append(f"{fold:>4}  {cell(row['frame'])}  {cell(row['sequence'])}")
    frame, sequence = results["frame"], results["sequence"]
    lines += [
        f"mean  {mean_text(frame):18} {mean_text(sequence)}",
        f"pool  {frame['pooled']:6.2f} % of {frame['samples']:<5d}  "
        f"{sequence['pooled']:6.2f} % of {sequence['samples']}",
        f"chance {results['chance']:.2f} %, "
        f"always the largest class {results['largest_class']:.2f} %",
    ]
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


def mean_text(count):
    """ "61.20 ± 3.10 %", or without the deviation for a single fold."""
    deviation = "" if count["deviation"] is None else f" ± {count['deviation']:.2f}"
    return f"{count['mean']:6.2f}{deviation} %"
