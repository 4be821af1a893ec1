"""Test the finished folds of a run: its numbers, and what its nets made, whole before all else."""

import itertools
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from data_prep.lmdbs import contents, places
from data_prep.lmdbs.build import build
from data_prep.lmdbs.records import read_pairs
from gcnet import published, runs
from gcnet.evaluate import evaluated, shown_faces
from gcnet.evaluate.evaluated import Predictions
from gcnet.evaluate.net_outputs import WHITE, central_crop, forward
from gcnet.evaluate.scores import scores
from gcnet.models import PROBABILITIES
from gcnet.train import fold_lmdbs
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.paths import database_name, portable, sha256
from gcnet_base.protocol import FOLDS


@dataclass(frozen=True)
class _Tested:
    """N test images and references, uint8 N x 64 x 64, and the blobs that a fold's net makes."""

    fold: int
    records: list
    images: np.ndarray
    references: np.ndarray
    labels: np.ndarray
    blobs: dict


def test(run, index=None):
    """Test the finished folds of a Run, write down what came out and return it as Evaluated.

    Without `index`, each fold's net is tested on its own test subjects. With the index.csv of
    aligned faces of *another* database or of photographs, every finished fold's net is tested on
    all of its labelled images; the mean is then over the nets. Files are written as
    gcnet.evaluate.evaluated says.

    Raises InputError: no fold is finished, the folds are not of one experiment
    (evaluated.check_folds), a fold's LMDB is not the one it was trained with, a caffemodel is of
    another net or truncated, a model that is shown the reference is to test a face without one.
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
        np.concatenate([part.blobs[PROBABILITIES] for part in parts]),
    )
    results = _results(run, index, predictions, _generation(run.model, parts))
    evaluated.write(
        evaluated.folder_of(run, index), predictions, _arrays(run.model, parts), results
    )
    return evaluated.load(run, index)


def _test(run, fold, lmdb):
    """What the net of a fold makes of the test images in a folder of LMDBs, as _Tested."""
    records = contents.read_table(lmdb, "test")
    model = run.model
    if model.shown_reference:
        _check_references(run, records)
    pairs, labels = read_pairs(lmdb / "test")
    blobs = [PROBABILITIES, model.features, *model.image_blobs]
    images, references = central_crop(pairs).swapaxes(0, 1)
    # On one thread each, so that the same run gives the same bits whatever else there is to do.
    made = forward(run, fold, images, blobs, references, threads=1)
    return _Tested(fold, records, images, references, labels, made)


def _arrays(model, parts):
    """The arrays of outputs.npz."""

    def all_of(blob):
        return np.concatenate([part.blobs[blob] for part in parts])

    arrays = {
        "inputs": np.concatenate([part.images for part in parts]),
        "features": all_of(model.features),
    }
    if model.generated is not None:
        arrays["generated"] = _pixels(all_of(model.generated)[:, 0])
    if model.pictures is not None:
        pictured = [shown_faces.spread(part.records) for part in parts]
        starts = np.cumsum([0, *(len(part.records) for part in parts[:-1])])
        arrays["pictured"] = np.concatenate(
            [start + np.array(places) for start, places in zip(starts, pictured, strict=True)]
        )
        arrays["pictures"] = np.concatenate(
            [
                np.stack([part.blobs[blob][places, 0] for blob in model.pictures.rows.values()], 1)
                for part, places in zip(parts, pictured, strict=True)
            ]
        )
    return arrays


def _pixels(values):
    """float images as the nets make them -> uint8, on the scale of their inputs."""
    return np.clip(np.rint(WHITE * values), 0, 255).astype(np.uint8)


def _generation(model, parts):
    """How near the generated references come to the real ones, or None.

    The half squared error a face (eq. 5) of the "generated" and, to compare, of the input left
    "unchanged", over the test images that are not their own reference. None of a net that generates
    nothing, or without real references.
    """
    if model.generated is None:
        return None
    errors = {"generated": [], "unchanged": []}
    for part in parts:
        real = part.references / np.float32(WHITE)
        other = (part.references != part.images).any(axis=(1, 2))
        for name, made in (
            ("generated", part.blobs[model.generated][:, 0]),
            ("unchanged", part.images / np.float32(WHITE)),
        ):
            errors[name] += (0.5 * ((made - real)[other] ** 2).sum(axis=(1, 2))).tolist()
    if not errors["generated"]:
        return None
    return {name: float(np.mean(values)) for name, values in errors.items()}


def _results(run, index, predictions, generation):
    """The content of results.json but for what evaluated.write adds."""
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
        "paper": published.accuracies(
            run.model.published, settings.classes, database_name(tested_on)
        )
        if index is None
        else {},
        "index_sha256": settings.index_sha256 if index is None else sha256(index),
        "caffemodels": evaluated.caffemodels(run, sorted(set(predictions.folds.tolist()))),
        "revision": runs.git_revision(),
        "command": shlex.join(["python", *sys.argv]),
    }


def _published(run, index):
    """{title of a paper's table: its accuracy of the model} to put beside a test on `index`."""
    database = database_name(index)
    return published.accuracies(run.model.published, run.settings.classes, database)


def _build_test(run, index):
    """The LMDB of all labelled images of an index, built where it is not there yet."""
    out = places.of_test(index, run.settings.classes)
    with places.building():
        build(index, out, None, run.settings.classes, copies=0, seed=0)
    return out


def _check_references(run, records):
    """A face as its own reference would make the distance 0 and the prediction constant."""
    for record in records:
        if not record["reference"]:
            raise InputError(
                f"{record['image']}: has no reference, which {run.name} ({run.settings.net}) "
                "compares it with; give a neutral image of its subject in the index, or evaluate "
                "another net"
            )


def _own_lmdb(run, fold):
    """The LMDBs that a fold was trained with; built again from the index if gone or damaged."""
    lmdb = run.lmdb_folder(fold)
    try:
        description = contents.check(lmdb)
    except InputError:
        description = fold_lmdbs.build_missing(run, fold)
    fold_lmdbs.check_same_faces(run, fold, description)
    return lmdb


def _unfinished(run):
    """{fold: iteration of its newest snapshot} of folds that were started and not finished."""
    return {
        fold: next(iter(run.snapshots(fold)), 0)
        for fold in run.folds()
        if not run.is_finished(fold)
    }
