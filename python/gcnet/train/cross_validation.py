"""Train the folds of a run, by its model's program, resuming what was stopped."""

import json
import re
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gcnet import engine as engines
from gcnet import runs
from gcnet.train import fold_lmdbs, rendering, supervision
from gcnet.train.supervision import Training, say
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, database_name
from gcnet_base.protocol import FOLDS


def parse_folds(text):
    """ "0-9", "0,3" or "0,4-6" as a list of folds. Raises InputError outside 0 to 9."""
    chosen = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        if not match:
            raise InputError(f"folds {text!r}: give them as 0-{FOLDS - 1} or 0,3")
        chosen += range(int(match[1]), int(match[2] or match[1]) + 1)
    if not chosen or max(chosen) >= FOLDS:
        raise InputError(f"folds {text!r}: there are the folds 0 to {FOLDS - 1}")
    return sorted(set(chosen))


def train(settings, folds, command, folder=None, device="cpu", jobs=None):
    """Train `folds` (a list of numbers) into the run folder `folder`; returns the Run.

    `settings` are runs.Settings as of runs.complete's argument, `command` what the run says it was
    made by. `folder` None means runs/<database>-<net>-<classes>. Finished folds are left as they
    are. Ctrl-C lets Caffe take snapshots first, and so does a fold that fails for those beside it.

    `device` is "cpu" or a GPU as "gpu:0". `jobs` folds train at a time, each with an equal share of
    the cores; None means as many as there are cores, and one on a GPU. Neither is a setting of the
    run: another device, or OpenBLAS on another number of threads, sums in another order, so a loss
    changes by rounding and no more.

    Raises InputError: the settings are not those of the run folder, an input is wrong, Caffe fails
    or the loss is no longer a number.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: give 1 or more")
    caffe = engines.find(settings.engine)
    gpu = caffe.gpu(device)
    settings = runs.complete(settings)
    if folder is None:
        database = database_name(ROOT / settings.index)
        folder = runs.RUNS / f"{database}-{settings.net}-{settings.classes}"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    run = runs.open_or_new(folder, settings, command, date)
    descriptions = {fold: fold_lmdbs.build_missing(run, fold) for fold in folds}
    if not (run.folder / "run.json").exists():
        _check_start(run, caffe, folds[0], descriptions[folds[0]])
    with supervision.locked(run.folder) as lock, supervision.terminate_as_interrupt():
        # Once more, as another process may have made the run folder meanwhile.
        run = runs.open_or_new(folder, settings, command, date)
        runs.save(run)
        unfinished = []
        for fold, description in descriptions.items():
            fold_lmdbs.check_same_faces(run, fold, description)
            if run.is_finished(fold):
                say(f"fold {fold}: finished before")
            else:
                _prepare(run, fold, description, device)
                unfinished.append(_training(run, fold, description, gpu))
        jobs = jobs or (available_cores() if gpu is None else 1)
        supervision.train_side_by_side(unfinished, caffe, jobs, lock)
    return run


def _training(run, fold, description, gpu):
    train, test = description["train"], description["test"]
    data = (
        f"{train['records']} training pairs of {len(train['subjects'])} subjects, "
        f"{test['records']} test images of {len(test['subjects'])}"
    )
    settings = run.settings
    weights = tuple(settings.weights)
    return Training(f"fold {fold}", data, run.trained(fold), weights, settings.prototxt, gpu)


def _check_start(run, caffe, fold, description):
    """Let Caffe make the net and check the weights before a run folder says that there is a run."""
    with tempfile.TemporaryDirectory() as scratch:
        trial = replace(run, folder=Path(scratch))
        _prepare(trial, fold, description, "cpu")
        supervision.starting_point(_training(trial, fold, description, None), caffe)


def _prepare(run, fold, description, device):
    """Write a fold's folder: fold.json and the rendered prototxt files."""
    folder = run.fold_folder(fold)
    folder.mkdir(exist_ok=True)
    recorded = folder / "fold.json"
    if not recorded.exists():
        supervision.write(recorded, json.dumps(description, indent=1) + "\n")
    for name, text in rendering.render(run, fold, description["test"]["records"], device).items():
        supervision.write(folder / f"{name}.prototxt", text)
