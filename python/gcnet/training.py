"""Train the folds of a run with `caffe train`, resuming what was stopped.

A resumed fold continues from its newest whole snapshot: weights, momentum and iteration. BVLC Caffe
saves neither where its Data layer was in the LMDB nor its random state, so a resumed training reads
the (shuffled) LMDB from its start again and draws other crops and dropout than an unbroken one
would have; it continues the same loss curve but not bit by bit.

Folds train side by side, each `caffe train` with its share of the cores, because OpenBLAS gains
little from a second thread here: an iteration of S1R1 takes 2.7 s on one core and 2.06 s on two, so
two folds side by side are 1.5 times as fast as one after the other. Each holds its own nets: 3 GB
of memory for S1R1 at its batch of 64.
"""

import contextlib
import fcntl
import heapq
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

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

SECONDS_BETWEEN_LOOKS = 0.2

SECONDS_BETWEEN_LINES = 10
"""How often a log that is no terminal gets a line."""


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


def train(folder, net, index, classes, folds, max_iter, batch, engine, weights, copies, seed,
          prototxt, command, jobs=None):
    """Train `folds` (a list of numbers) into the run folder `folder`; returns the Run.

    `folder` None means runs/<database>-<net>-<classes>. `engine` is an engine's name or None,
    `weights` a list of .caffemodel paths; `max_iter` and `batch` None mean what solver and net say.
    Finished folds are left as they are. Ctrl-C lets Caffe take snapshots first, and so does a fold
    that fails for those beside it.

    `jobs` folds train at a time, each with an equal share of the cores; None means as many as there
    are cores. It is no setting of the run: OpenBLAS on another number of threads sums in another
    order, so a loss changes by rounding and no more.

    Raises InputError: the settings are not those of the run folder, an input is wrong, Caffe fails
    or the loss is no longer a number.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: give 1 or more")
    caffe = engines.find(engine)
    settings = runs.settings(
        net, classes, max_iter, batch, index, copies, seed, caffe.name, weights, prototxt
    )
    if folder is None:
        folder = runs.RUNS / f"{runs.database_name(index)}-{net}-{classes}"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    run = runs.open_or_new(folder, settings, command, date)
    descriptions = {fold: runs.build_lmdbs(run, fold) for fold in folds}
    if not (run.folder / "run.json").exists():
        _check_start(run, caffe, folds[0], descriptions[folds[0]])
    with _locked(run) as lock, _terminate_as_interrupt():
        # Once more, as another process may have made the run folder meanwhile.
        run = runs.open_or_new(folder, settings, command, date)
        runs.save(run)
        unfinished = {}
        for fold, description in descriptions.items():
            _prepare(run, fold, description)
            if run.is_finished(fold):
                _say(f"fold {fold}: finished before")
            else:
                unfinished[fold] = description
        _train_side_by_side(run, caffe, unfinished, jobs or engines.available_cores(), lock)
    return run


@contextlib.contextmanager
def _locked(run):
    """Hold the run folder; its lock also passes to Caffe, which may outlive a killed parent."""
    run.folder.mkdir(parents=True, exist_ok=True)
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


def _check_start(run, caffe, fold, description):
    """Let Caffe make the net and check the weights before a run folder says that there is a run."""
    with tempfile.TemporaryDirectory() as scratch:
        trial = replace(run, folder=Path(scratch))
        _prepare(trial, fold, description)
        _starting_point(trial, caffe, fold)


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


def _say(text):
    """Print above the progress bars, and at once where the output is a file."""
    tqdm.write(text)
    sys.stdout.flush()


def _train_side_by_side(run, caffe, descriptions, jobs, lock):
    """Train the folds of `descriptions`, `jobs` at a time, in their order."""
    waiting, running = list(descriptions), []
    jobs = min(jobs, len(waiting))
    environment = caffe.environment(threads=max(1, engines.available_cores() // max(1, jobs)))
    with contextlib.closing(_Progress(len(waiting))) as progress:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    fold = waiting.pop(0)
                    _describe(fold, descriptions[fold])
                    arguments = _arguments(run, caffe, fold)
                    running.append(_FoldTraining(run, fold, arguments, environment, lock))
                time.sleep(SECONDS_BETWEEN_LOOKS)
                for training in list(running):
                    if training.look():
                        running.remove(training)
                        _finish(run, training)
                progress.show(running, [_iterations_left(run, fold) for fold in waiting])
        finally:
            _stop(running)


def _describe(fold, description):
    train, test = description["train"], description["test"]
    _say(
        f"fold {fold}: {train['records']} training pairs of {len(train['subjects'])} subjects, "
        f"{test['records']} test images of {len(test['subjects'])}"
    )


def _solver(run, fold):
    return runs.portable(run.fold_folder(fold) / "solver.prototxt")


def _starting_point(run, caffe, fold):
    """What gcnet.starting_point says about a fold's snapshots, or without any the run's weights."""
    snapshots = [runs.portable(path) for path in run.snapshots(fold).values()]
    weights = list(run.settings.weights)
    start = ["--weights", *weights] if weights and not snapshots else []
    said = caffe.run_module(
        "gcnet.starting_point", _solver(run, fold), "--snapshots", *snapshots, *start
    )
    return json.loads(said)


def _arguments(run, caffe, fold):
    """The `caffe train` of a fold, from its newest whole snapshot or else the run's weights."""
    weights = list(run.settings.weights)
    found = _starting_point(run, caffe, fold)
    for problem in found["broken"]:
        _say(f"fold {fold}: left out a broken snapshot ({problem})")
    for path, blobs in found["taken"].items():
        _say(f"fold {fold}: {blobs} blobs taken from {path}")
    arguments = [*caffe.caffe, "train", "-solver", _solver(run, fold)]
    if found["snapshot"]:
        iteration = re.search(r"_iter_(\d+)\.", found["snapshot"])[1]
        _say(f"fold {fold}: resumes at iteration {iteration} of {run.settings.max_iter}")
        arguments += ["-snapshot", found["snapshot"]]
    elif weights:
        arguments += ["-weights", ",".join(weights)]
    return arguments


def _iterations_left(run, fold):
    return run.settings.max_iter - next(iter(run.snapshots(fold)), 0)


def _finish(run, training):
    """Mark a fold as finished, whose Caffe has ended well."""
    fold = training.fold
    final = run.final_caffemodel(fold)
    if not final.is_file():
        raise InputError(f"fold {fold}: Caffe ended without {final} (log: {training.log_path})")
    _drop_snapshots(run, fold, keep=1)
    _write(
        run.fold_folder(fold) / "finished.json",
        json.dumps({"iteration": run.settings.max_iter, "sha256": runs.sha256(final)}) + "\n",
    )
    _say(f"fold {fold}: trained, {training.position}")


def _drop_snapshots(run, fold, keep):
    for path in list(run.snapshots(fold).values())[keep:]:
        path.unlink()
        path.with_suffix(".caffemodel").unlink(missing_ok=True)


def _stop(running):
    """Let the Caffes that still run take their snapshots and end; Ctrl-C ends them at once."""
    try:
        stopping = [training for training in running if training.process.poll() is None]
        for training in stopping:
            training.process.send_signal(signal.SIGINT)
        if stopping:
            folds = ", ".join(str(training.fold) for training in stopping)
            _say(f"fold {folds}: takes a snapshot and stops; Ctrl-C ends that at once")
        for training in stopping:
            training.process.wait()
    finally:
        for training in running:
            training.process.kill()
        for training in running:
            training.process.wait()


class _FoldTraining:
    """A `caffe train` at work on a fold, and what its log has told so far."""

    def __init__(self, run, fold, arguments, environment, lock):
        """Start it, with its log in the fold's folder."""
        self.run = run
        self.fold = fold
        self.log = CaffeLog()
        self.log_path = run.fold_folder(fold) / "caffe.log"
        self.seconds_per_iteration = None
        self._first_seen = None
        with open(self.log_path, "ab") as log_file:
            self._begin = self._read_to = log_file.tell()
            # A session of its own: Ctrl-C then reaches Caffe once, from here.
            self.process = subprocess.Popen(
                arguments, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log_file,
                stderr=log_file, start_new_session=True, pass_fds=[lock.fileno()],
            )  # fmt: skip

    @property
    def position(self):
        """Where it is, for people."""
        if self.log.iteration is None:
            return "starting"
        return f"{self.log.iteration}/{self.run.settings.max_iter} loss {self.log.loss:.4g}"

    @property
    def iterations_left(self):
        return self.run.settings.max_iter - (self.log.iteration or 0)

    def look(self):
        """Read on in the log; returns whether Caffe has ended well.

        Raises InputError if Caffe failed or the loss is no finite number; Caffe has then ended.
        """
        status = self.process.poll()
        before = self.log.iteration
        self._read_log()
        if self.log.diverged:
            # At once, without a snapshot of weights that are no numbers.
            self.process.kill()
            self.process.wait()
            raise InputError(
                f"fold {self.fold}: the loss is {self.log.loss} at iteration {self.log.iteration} "
                f"(log: {self.log_path}); lower base_lr in {self.run.settings.prototxt}"
            )
        if self.log.iteration != before:
            self._measure_speed()
            _drop_snapshots(self.run, self.fold, keep=KEPT_SNAPSHOTS)
        if status:
            raise InputError(
                f"fold {self.fold}: Caffe failed: {self._failure(status)} (log: {self.log_path})"
            )
        return status == 0

    def _failure(self, status):
        if status == -signal.SIGKILL:
            return "it was killed, as it is when memory runs out; fewer --jobs need less"
        with open(self.log_path, encoding="utf-8", errors="replace") as lines:
            lines.seek(self._begin)
            return failure(lines.read()) or f"exit status {status}"

    def _read_log(self):
        with open(self.log_path, "rb") as file:
            file.seek(self._read_to)
            lines, end, _ = file.read().rpartition(b"\n")
        self._read_to += len(lines + end)
        for line in lines.decode(errors="replace").splitlines():
            self.log.read(line)

    def _measure_speed(self):
        now, iteration = time.monotonic(), self.log.iteration
        if self._first_seen is None:
            self._first_seen = now, iteration
        elif iteration > self._first_seen[1]:
            self.seconds_per_iteration = (now - self._first_seen[0]) / (
                iteration - self._first_seen[1]
            )


def _seconds_left(running, waiting):
    """How long the folds still take, each that waits starting where one ends; None: not known yet.

    `running` is a list of _FoldTraining, `waiting` the iterations that each other fold has to do.
    """
    speeds = [training.seconds_per_iteration for training in running]
    known = [speed for speed in speeds if speed is not None]
    if not known:
        return None
    usual = sum(known) / len(known)
    ends = [
        training.iterations_left * (usual if speed is None else speed)
        for training, speed in zip(running, speeds, strict=True)
    ]
    heapq.heapify(ends)
    for iterations in waiting:
        heapq.heapreplace(ends, ends[0] + iterations * usual)
    return max(ends)


class _Progress:
    """Where the folds are: on a terminal a bar for each that trains, else a line now and then."""

    def __init__(self, folds):
        self._on_terminal = sys.stderr.isatty()
        self._all = tqdm(
            bar_format="{desc}", leave=False, disable=not self._on_terminal or folds < 2
        )
        self._bars = {}
        self._positions = None
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def show(self, running, waiting):
        """Arguments as of _seconds_left."""
        after = []
        if waiting:
            after.append(f"{len(waiting)} waiting")
        seconds = _seconds_left(running, waiting)
        if seconds is not None:
            after.append(f"{tqdm.format_interval(seconds)} left")
        if self._on_terminal:
            self._draw(running, ", ".join(["all folds", *after]))
        elif running:
            positions = [f"fold {training.fold}: {training.position}" for training in running]
            if time.monotonic() >= self._next_line and positions != self._positions:
                print(", ".join(positions + after), file=sys.stderr, flush=True)
                self._positions = positions
                self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def _draw(self, running, summary):
        for fold in self._bars.keys() - {training.fold for training in running}:
            self._bars.pop(fold).close()
        for training in running:
            iteration = training.log.iteration
            if iteration is None:
                continue
            if training.fold not in self._bars:
                self._bars[training.fold] = tqdm(
                    desc=f"fold {training.fold}", total=training.run.settings.max_iter,
                    initial=iteration, unit="it", dynamic_ncols=True, leave=False,
                )  # fmt: skip
            bar = self._bars[training.fold]
            bar.set_postfix_str(f"loss {training.log.loss:.4g}", refresh=False)
            bar.update(iteration - bar.n)
        self._all.set_description_str(summary)

    def close(self):
        for bar in (*self._bars.values(), self._all):
            bar.close()
