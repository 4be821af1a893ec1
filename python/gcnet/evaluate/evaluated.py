"""What an evaluation left behind, read back from its files alone, without an engine.

In a run folder, or in its `on-<database>` for a test on another index:

================== ============================================================================
`predictions.csv`  one row for each test image of each finished fold: who, which label, which
                   class the net says, and its probabilities, in digits that give back the float32
`outputs.npz`      in the same order `inputs` (the central crop that the net saw), `features` (the
                   model's blob) and, of a model that generates one, `generated` (the reference that
                   it made); of a model with pictures, `pictured` (the numbers of some test images,
                   up to 8 of each fold) and `pictures` (what it made of them)
`results.json`     written last: the numbers (gcnet.evaluate.scores), and what they belong to: the
                   index, the finished folds' caffemodels, predictions.csv and outputs.npz, each
                   with its SHA-256, and one digest over all of this
================== ============================================================================
"""

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gcnet import prototxt, runs
from gcnet.train.trained_folder import digest_name
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, database_name, portable, sha256

_IMAGE = ["image", "subject", "sequence", "frame", "label"]
"""Columns of predictions.csv that say which image it is."""

ARRAYS = ("inputs", "generated", "features", "pictured", "pictures")
"""Those of outputs.npz."""

_OWN_TO_A_SOLVER = ("net", "snapshot_prefix", "test_iter")
"""Fields of a fold's solver that are its own: its paths, and the size of its test set."""


@dataclass(frozen=True)
class Predictions:
    """What the nets say about N test images.

    `records` are dicts with at least subject and sequence, N of them, `folds` int N (whose net),
    `labels` int N, `probabilities` float N x C for the C `class_names`.
    """

    class_names: tuple
    records: list
    folds: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self):
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self):
        """bool N."""
        return self.predicted == self.labels


def by_sequence(predictions):
    """Predictions with one entry for each (fold, subject, sequence, label), in order of appearance.

    Its record is the first frame's, its probabilities are the mean over the frames.
    """
    groups = {}
    for i, record in enumerate(predictions.records):
        label = predictions.labels[i]
        key = (predictions.folds[i], record["subject"], record["sequence"], label)
        groups.setdefault(key, []).append(i)
    members = list(groups.values())
    first = [indices[0] for indices in members]
    means = [predictions.probabilities[indices].mean(axis=0) for indices in members]
    return Predictions(
        predictions.class_names,
        [predictions.records[i] for i in first],
        predictions.folds[first],
        predictions.labels[first],
        np.array(means),
    )


@dataclass(frozen=True)
class Evaluated:
    """A run's results and what its nets made of the N test images of its finished folds.

    `folder` is where they are: the run folder, or its `on-<database>`. `results` is the content of
    results.json. `inputs` and `generated` are uint8 N x 64 x 64, `features` is float32 N x C, all
    in the order of `predictions`; `pictured` int P, numbers of test images, and `pictures` float32
    P x R x 64 x 64, for the R rows of the model's pictures. None: the model makes none.
    """

    run: runs.Run
    folder: Path
    results: dict
    predictions: Predictions
    inputs: np.ndarray
    generated: np.ndarray | None
    features: np.ndarray
    pictured: np.ndarray | None = None
    pictures: np.ndarray | None = None

    @property
    def name(self):
        """The folder as text: the source of the numbers."""
        return portable(self.folder)


def folder_of(run, index=None):
    """Where the results of a Run are; on `index`, if it is tested on another than its own."""
    return run.folder if index is None else run.folder / f"on-{database_name(index)}"


def other_indices(run):
    """The index.csv files, other than its own, that a Run has been tested on."""
    found = []
    for path in sorted(run.folder.glob("on-*/results.json")):
        try:
            found.append(ROOT / json.loads(path.read_text(encoding="utf-8"))["index"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{portable(path)}: not readable ({error}); delete {portable(path.parent)}"
            ) from None
    return found


def load(run, index=None):
    """The Evaluated of a Run: of its own test subjects, or of a test on another `index`.csv.

    Raises InputError naming the remedy: it is not evaluated, or results, predictions, outputs,
    index and caffemodels do not belong together, or its folds do not (`check_folds`).
    """
    folder = folder_of(run, index)
    check_folds(run)
    if index is not None and not Path(index).is_file():
        raise InputError(f"{portable(index)}: is gone; restore it, or delete {portable(folder)}")
    path = folder / "results.json"
    if not path.is_file():
        raise InputError(f"{portable(folder)}: is not evaluated; {_remedy(run, index)}")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        _check_belongs(run, index, folder, results)
        predictions = _read_predictions(folder / "predictions.csv", run.class_names)
        arrays = _read_arrays(folder / "outputs.npz", len(predictions.labels))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{portable(path)}: not readable with its predictions.csv and outputs.npz "
            f"({error}); {_remedy(run, index)}"
        ) from None
    return Evaluated(run, folder, results, predictions, **arrays)


def _remedy(run, index):
    other = "" if index is None else f" --index {portable(index)}"
    return f"run `python python/eval_folds.py {run.name}{other}`"


def _check_belongs(run, index, folder, results):
    path, remedy = portable(folder / "results.json"), _remedy(run, index)
    expected = run.settings.index_sha256 if index is None else sha256(index)
    if results["index_sha256"] != expected:
        tested_on = run.settings.index if index is None else portable(index)
        raise InputError(
            f"{path}: its predictions are of another database ({results['index']}, with another "
            f"content than {tested_on} has); {remedy}"
        )
    now = caffemodels(run, finished_folds(run))
    for fold in sorted({*now, *results["caffemodels"]}, key=int):
        if fold not in now:
            raise InputError(f"{path}: counts fold {fold}, which is not finished; {remedy}")
        if fold not in results["caffemodels"]:
            raise InputError(f"{path}: fold {fold} was finished later; {remedy}")
        if now[fold] != results["caffemodels"][fold]:
            raise InputError(f"{path}: fold {fold} was trained again since; {remedy}")
    if "digest" not in results:
        raise InputError(f"{path}: was written by an older gcnet; {remedy}")
    if results["digest"] != _digest(results):
        raise InputError(f"{path}: is not as it was written; {remedy}")
    for name in ("predictions.csv", "outputs.npz"):
        if not (folder / name).is_file():
            raise InputError(f"{portable(folder / name)}: is missing; {remedy}")
        if sha256(folder / name) != results["sha256"][name]:
            raise InputError(
                f"{portable(folder / name)}: is not the one that results.json counts; {remedy}"
            )


def caffemodels(run, folds):
    """{fold as text: SHA-256 of its final caffemodel, by finished.json}."""
    return {str(fold): _finished(run, fold)["sha256"] for fold in folds}


def finished_folds(run):
    return [fold for fold in run.folds() if run.is_finished(fold)]


def _trained_with(run):
    """Names of the prototxt files that a fold is trained with, in its folder."""
    return run.model.program.prototxt


def _finished(run, fold):
    path = run.fold_folder(fold) / "finished.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: content[name] for name in ("sha256", *map(digest_name, _trained_with(run)))}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{portable(path)}: does not say what was trained ({error}); "
            f"train the fold again, after deleting {portable(path.parent)}"
        ) from None


def check_folds(run):
    """Check that the finished folds of a Run are of one experiment.

    Raises InputError: a caffemodel, solver or net is not the one that finished.json tells of, the
    folds differ in a setting, or a fold's data are not what run.json says.
    """
    files, faces = {}, {}
    for fold in finished_folds(run):
        _check_snapshot(run, fold)
        files[fold] = _prototxt_settings(run, fold)
        faces[fold] = _data_settings(run, fold)
    for settings in (files, faces):
        for fold in settings:
            _compare(run, settings, fold)


def _check_snapshot(run, fold):
    finished = _finished(run, fold)
    folder, model = run.fold_folder(fold), run.final_caffemodel(fold)
    files = [(folder / name, digest_name(name)) for name in _trained_with(run)]
    for path, recorded in ((model, "sha256"), *files):
        if not path.is_file():
            raise InputError(
                f"{portable(path)}: is missing; train fold {fold} again, after deleting "
                f"{portable(folder)}"
            )
        if sha256(path) != finished[recorded]:
            told = (
                "is not the snapshot that training ended with"
                if path == model
                else f"has changed since {model.name} was trained with it"
            )
            raise InputError(
                f"{portable(path)}: {told}; restore it, or delete "
                f"{portable(folder)} and train the fold again"
            )


def _prototxt_settings(run, fold):
    """{"solver: field": values} of a fold's prototxt files without what is its own."""
    folder = run.fold_folder(fold)
    found = {}
    for name in (*_trained_with(run), "deploy.prototxt"):
        is_solver = name.startswith("solver")
        message = (prototxt.solver if is_solver else prototxt.net)(folder / name)
        for where, value in prototxt.fields(message):
            own = is_solver and where in _OWN_TO_A_SOLVER
            if not own and not where.endswith("data_param.source"):
                found.setdefault(f"{name}, {where}", []).append(value)
    return found


def _data_settings(run, fold):
    """{what: value} of a fold's data; raises InputError if they are not what run.json says."""
    path = run.fold_folder(fold) / "fold.json"
    settings = run.settings
    wanted = {
        "fold": fold, "index_sha256": settings.index_sha256, "classes": settings.classes,
        "copies": settings.copies, "seed": settings.seed,
    }  # fmt: skip
    try:
        inputs = json.loads(path.read_text(encoding="utf-8"))["inputs"]
        found = {f"fold.json, {name}": value for name, value in inputs.items() if name != "fold"}
        told = {name: inputs[name] for name in wanted}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{portable(path)}: not readable ({error}); "
            f"copy it from {portable(run.lmdb_folder(fold))}"
        ) from None
    for name, value in wanted.items():
        if told[name] != value:
            raise InputError(
                f"{portable(path)}: its data are of {name} {told[name]}, but of {value} by "
                f"run.json; train fold {fold} again in a run of its own"
            )
    return found


def _compare(run, settings, fold):
    """Raise InputError if the settings of `fold` differ from those of the first fold."""
    first = next(iter(settings))
    for where in dict.fromkeys((*settings[first], *settings[fold])):
        values = [settings[k].get(where, "nothing") for k in (first, fold)]
        if values[0] != values[1]:
            told = [", ".join(map(str, v)) if isinstance(v, list) else v for v in values]
            raise InputError(
                f"{run.name}: its folds are of different settings: {where} is {told[0]} in fold "
                f"{first} and {told[1]} in fold {fold}; train them again in runs of their own"
            )


def _write_predictions(path, predictions):
    """`load` gives the same Predictions back."""
    with replacing(path, newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        probabilities = [f"p_{name}" for name in predictions.class_names]
        writer.writerow([*_IMAGE, "predicted", "fold", *probabilities])
        for i, record in enumerate(predictions.records):
            writer.writerow(
                [record[name] for name in _IMAGE]
                + [predictions.class_names[predictions.predicted[i]], predictions.folds[i]]
                + list(map(str, predictions.probabilities[i].astype(np.float32)))
            )


def _read_predictions(path, class_names):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [f"p_{name}" for name in class_names]
    return Predictions(
        class_names,
        [{name: row[name] for name in _IMAGE} for row in rows],
        np.array([int(row["fold"]) for row in rows]),
        np.array([class_names.index(row["label"]) for row in rows]),
        np.array([[row[column] for column in columns] for row in rows], np.float32),
    )


def write(folder, predictions, arrays, results):
    """Write predictions.csv, outputs.npz and results.json, which makes them whole, in this order.

    `arrays` are those of outputs.npz by name, as Evaluated has them.
    """
    folder.mkdir(exist_ok=True)
    _write_predictions(folder / "predictions.csv", predictions)
    with replacing(folder / "outputs.npz", "wb") as file:
        np.savez(file, **arrays)  # with a constant time in it: equal arrays, equal files
    results = {
        **results,
        "sha256": {name: sha256(folder / name) for name in ("predictions.csv", "outputs.npz")},
    }
    results["digest"] = _digest(results)
    with replacing(folder / "results.json", encoding="utf-8") as file:
        file.write(json.dumps(results, indent=1) + "\n")


def _digest(results):
    """SHA-256 of all that results.json says, and so of the files whose digests it has."""
    said = {name: value for name, value in results.items() if name != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _read_arrays(path, rows):
    with np.load(path) as arrays:
        found = {name: arrays.get(name) for name in ARRAYS}
    for name in ("inputs", "generated", "features"):
        if found[name] is not None and len(found[name]) != rows:
            raise ValueError(f"{name} of {len(found[name])} images, expected {rows}")
    return found
