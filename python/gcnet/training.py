"""Train the folds of a run with `caffe train`, resuming what was stopped.

A resumed fold continues from its newest whole snapshot: weights, momentum and iteration. BVLC Caffe
saves neither where its Data layer was in the LMDB nor its random state, so a resumed training reads
the (shuffled) LMDB from its start again and draws other crops and dropout than an unbroken one
would have; it continues the same loss curve but not bit by bit.
"""

import contextlib
import fcntl
import json
import math
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

from tqdm import tqdm

from data_prep.atomic import replacing
from gcnet import engine as engines
from gcnet import runs
from gcnet.caffe_log import CaffeLog, failure
from gcnet.engine import ROOT
from gcnet.errors import InputError
from gcnet.protocol import FOLDS

KEPT_SNAPSHOTS = 2
"""Snapshots that are kept while a fold trains: the newest, and one to fall back to."""


def parse_folds(text):
    """"0-9", "0,3" or "0,4-6" as a list of folds. Raises InputError outside 0 to 9."""
    chosen = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        if not match:
            raise InputError(f"folds {text!r}: give them as 0-{FOLDS - 1} or 0,3")
        chosen += range(int(match[1]), int(match[2] or match[1]) + 1)
    if not chosen or max(chosen) >= FOLDS:
        raise InputError(f"folds {text!r}: there are the folds 0 to {FOLDS - 1}")
    return sorted(set(chosen))


def train(folder, net, index, classes, folds, max_iter, engine, weights, copies, seed, prototxt,
          command):
    """Train `folds` (a list of numbers) into the run folder `folder`; returns the Run.

    `folder` None means runs/<database>-<net>-<classes>. `engine` is an engine's name or None,
    `weights` a list of .caffemodel paths. Finished folds are left as they are. Ctrl-C lets Caffe
    take a snapshot first.

    Raises InputError: the settings are not those of the run folder, an input is wrong, Caffe fails
    or the loss is no longer a number.
    """
    caffe = engines.find(engine)
    settings = runs.settings(
        net, classes, max_iter, index, copies, seed, caffe.name, weights, prototxt
    )
    if folder is None:
        folder = runs.RUNS / f"{runs.database_name(index)}-{net}-{classes}"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    run = runs.open_or_new(folder, settings, command, date)
    descriptions = {fold: runs.build_lmdbs(run, fold) for fold in folds}
    runs.save(run)
    with _locked(run) as lock, _terminate_as_interrupt():
        waiting = []
        for fold, description in descriptions.items():
            _prepare(run, fold, description)
            if run.is_finished(fold):
                print(f"fold {fold}: finished before")
            else:
                waiting.append((fold, description))
        for number, (fold, description) in enumerate(waiting):
            _train_fold(run, caffe, fold, description, len(waiting) - number - 1, lock)
    return run


@contextlib.contextmanager
def _locked(run):
    """Hold the run folder; its lock also passes to Caffe, which may outlive a killed parent."""
    with open(run.folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{run.name}: is being trained by another process") from None
        yield file


@contextlib.contextmanager
def _terminate_as_interrupt():
    """Let SIGTERM stop a training as cleanly as Ctrl-C does."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare(run, fold, description):
    """Write a fold's folder: fold.json and the rendered prototxt files."""
    folder = run.fold_folder(fold)
    folder.mkdir(exist_ok=True)
    runs.check_same_faces(run, fold, description)
    recorded = folder / "fold.json"
    if not recorded.exists():
        _write(recorded, json.dumps(description, indent=1) + "\n")
    rendered = runs.render(run, fold, description["test"]["records"])
    for name, text in rendered.items():
        _write(folder / f"{name}.prototxt", text)


def _write(path, text):
    with replacing(path, encoding="utf-8") as file:
        file.write(text)


def _train_fold(run, caffe, fold, description, folds_after, lock):
    folder = run.fold_folder(fold)
    solver = runs.portable(folder / "solver.prototxt")
    train, test = description["train"], description["test"]
    print(
        f"fold {fold}: {train['records']} training pairs of {len(train['subjects'])} subjects, "
        f"{test['records']} test images of {len(test['subjects'])}"
    )
    snapshots = [runs.portable(path) for path in run.snapshots(fold).values()]
    weights = list(run.settings.weights)
    start = ["--weights", *weights] if weights and not snapshots else []
    found = json.loads(
        caffe.run_module("gcnet.starting_point", solver, "--snapshots", *snapshots, *start)
    )
    for problem in found["broken"]:
        print(f"fold {fold}: left out a broken snapshot ({problem})")
    for path, blobs in found["taken"].items():
        print(f"fold {fold}: {blobs} blobs taken from {path}")
    arguments = [caffe.caffe, "train", "-solver", solver]
    done = 0
    if found["snapshot"]:
        done = int(found["snapshot"].rpartition("_")[2].partition(".")[0])
        print(f"fold {fold}: resumes at iteration {done} of {run.settings.max_iter}")
        arguments += ["-snapshot", found["snapshot"]]
    elif weights:
        arguments += ["-weights", ",".join(weights)]

    _watch(run, caffe, fold, arguments, done, folds_after, lock)
    final = run.final_caffemodel(fold)
    if not final.is_file():
        raise InputError(f"fold {fold}: Caffe ended without {final} (log: {folder / 'caffe.log'})")
    _drop_snapshots(run, fold, keep=1)
    _write(
        folder / "finished.json",
        json.dumps({"iteration": run.settings.max_iter, "sha256": runs.sha256(final)}) + "\n",
    )


def _drop_snapshots(run, fold, keep):
    for path in list(run.snapshots(fold).values())[keep:]:
        path.unlink()
        path.with_suffix(".caffemodel").unlink(missing_ok=True)


def _watch(run, caffe, fold, arguments, done, folds_after, lock):
    """Run `caffe train` with its log in the fold's folder, showing where it is."""
    log_path = run.fold_folder(fold) / "caffe.log"
    total = run.settings.max_iter
    with open(log_path, "ab") as log_file:
        begin = log_file.tell()
        # A session of its own: Ctrl-C then reaches Caffe once, from here.
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=caffe.environment(), stdin=subprocess.DEVNULL,
            stdout=log_file, stderr=log_file, start_new_session=True, pass_fds=[lock.fileno()],
        )  # fmt: skip
    log = CaffeLog()
    on_terminal = sys.stderr.isatty()
    try:
        with (
            open(log_path, encoding="utf-8", errors="replace") as lines,
            tqdm(
                desc=f"fold {fold}", total=total, initial=done, unit="it", dynamic_ncols=True,
                mininterval=0.1 if on_terminal else 10,
            ) as bar,
        ):  # fmt: skip
            lines.seek(begin)
            started, partial = None, ""
            while True:
                ended = process.poll() is not None
                partial += lines.read()
                *whole, partial = partial.split("\n")
                for line in whole:
                    log.read(line)
                if log.diverged:
                    raise InputError(
                        f"fold {fold}: the loss is {log.loss} at iteration {log.iteration} "
                        f"(log: {log_path}); lower base_lr in {run.settings.prototxt}"
                    )
                if log.iteration is not None and log.iteration > bar.n:
                    started = started or (time.monotonic(), bar.n)
                    bar.set_postfix_str(
                        _postfix(log, started, total, folds_after), refresh=False
                    )
                    bar.update(log.iteration - bar.n)
                    _drop_snapshots(run, fold, keep=KEPT_SNAPSHOTS)
                if ended:
                    break
                time.sleep(0.2)
    except KeyboardInterrupt:
        print("Caffe takes a snapshot and stops; Ctrl-C again ends it at once", file=sys.stderr)
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        with open(log_path, encoding="utf-8", errors="replace") as lines:
            lines.seek(begin)
            reason = failure(lines.read()) or f"exit status {process.returncode}"
        raise InputError(f"fold {fold}: Caffe failed: {reason} (log: {log_path})")


def _postfix(log, started, total, folds_after):
    """The loss, and the time left for all folds at the speed since the first look."""
    text = f"loss {log.loss:.4g}"
    seconds, iterations = time.monotonic() - started[0], log.iteration - started[1]
    if folds_after and iterations and seconds > 1:
        left = (total - log.iteration + folds_after * total) * seconds / iterations
        text += f", {folds_after} more folds: {tqdm.format_interval(math.ceil(left))} in all"
    return text
