"""Training programs at work in folders, several side by side, resuming what was stopped.

A resumed training continues from its newest whole snapshot: weights, momentum and iteration. BVLC
Caffe saves neither where its Data layer was in the LMDB nor its random state, so a resumed training
reads the (shuffled) LMDB from its start again and draws other crops and dropout than an unbroken
one would have; it continues the same loss curve but not bit by bit.

Trainings run side by side, each program (programs.py) with its share of the cores, because OpenBLAS
gains little from a second thread here: an iteration of S1R1 takes 2.7 s on one core and 2.06 s on
two, so two side by side are 1.5 times as fast as one after the other. Each holds its own nets: 3 GB
of memory for S1R1 at its batch of 64.
"""

import contextlib
import fcntl
import heapq
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from tqdm import tqdm

from gcnet.engine import failure
from gcnet.train.caffe_log import CaffeLog
from gcnet.train.trained_folder import TrainedFolder
from gcnet_base.atomic import replacing
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, portable

KEPT_SNAPSHOTS = 2
"""Snapshots that are kept during a training: the newest, and one to fall back to."""

SECONDS_BETWEEN_LOOKS = 0.2

SECONDS_BETWEEN_LINES = 10
"""How often a log that is no terminal gets a line."""


@dataclass(frozen=True)
class Training:
    """A training to be done in a folder that holds its program's prototxt files.

    `name` is what people call it ("fold 3"), `data` what it trains on, in words. It starts from the
    `weights`, paths of .caffemodel files; `prototxt` is the folder in which its solver is edited;
    `gpu` is the number of the GPU that computes, None for the CPU.
    """

    name: str
    data: str
    folder: TrainedFolder
    weights: tuple
    prototxt: str
    gpu: int | None

    @property
    def iterations_left(self):
        return self.folder.max_iter - next(iter(self.folder.snapshots()), 0)


@contextlib.contextmanager
def locked(folder):
    """Hold a folder; its lock also passes to Caffe, which may outlive a killed parent."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{portable(folder)}: is being trained by another process") from None
        yield file


@contextlib.contextmanager
def terminate_as_interrupt():
    """Let SIGTERM stop a training as cleanly as Ctrl-C does."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def write(path, text):
    with replacing(path, encoding="utf-8") as file:
        file.write(text)


def say(text):
    """Print above the progress bars, and at once where the output is a file."""
    tqdm.write(text)
    sys.stdout.flush()


def train_side_by_side(trainings, caffe, jobs, lock):
    """Do the Trainings in their order, `jobs` at a time, each with an equal share of the cores.

    `lock` is the file of `locked`. Raises InputError as soon as one fails, after the others have
    taken a snapshot.
    """
    waiting, running = list(trainings), []
    jobs = min(jobs, len(waiting))
    environment = caffe.environment(threads=max(1, available_cores() // max(1, jobs)))
    with contextlib.closing(_Progress(len(waiting))) as progress:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    training = waiting.pop(0)
                    say(f"{training.name}: {training.data}")
                    arguments = _arguments(training, caffe)
                    running.append(_Running(training, arguments, environment, lock))
                time.sleep(SECONDS_BETWEEN_LOOKS)
                for at_work in list(running):
                    if at_work.look():
                        running.remove(at_work)
                        _finish(at_work)
                progress.show(running, [training.iterations_left for training in waiting])
        finally:
            _stop(running)


def starting_point(training, caffe):
    """What gcnet.in_caffe.starting_point says of the snapshots, or without any of the weights."""
    folder = training.folder
    solvers = folder.program.solvers(portable(folder.path))
    snapshots = [portable(path) for path in folder.snapshots().values()]
    start = ["--weights", *training.weights] if training.weights and not snapshots else []
    said = caffe.run_module(
        "gcnet.in_caffe.starting_point", *solvers, "--snapshots", *snapshots, *start
    )
    return json.loads(said)


def _arguments(training, caffe):
    """The program's command line, from the newest whole snapshot or else from the weights."""
    found = starting_point(training, caffe)
    for problem in found["broken"]:
        say(f"{training.name}: left out a broken snapshot ({problem})")
    for path, blobs in found["taken"].items():
        say(f"{training.name}: {blobs} blobs taken from {path}")
    folder = training.folder
    for iteration, snapshot in folder.snapshots().items():
        if portable(snapshot) == found["snapshot"]:
            say(f"{training.name}: resumes at iteration {iteration} of {folder.max_iter}")
    return folder.program.command(
        caffe, portable(folder.path), found["snapshot"], training.weights, training.gpu
    )


def _finish(at_work):
    """Mark a training as finished, whose Caffe has ended well."""
    training = at_work.training
    final = training.folder.final_caffemodel
    if not final.is_file():
        raise InputError(
            f"{training.name}: Caffe ended without {final} (log: {training.folder.log})"
        )
    _drop_snapshots(training, keep=1)
    training.folder.mark_finished()
    say(f"{training.name}: trained, {at_work.position}")


def _drop_snapshots(training, keep):
    for path in list(training.folder.snapshots().values())[keep:]:
        training.folder.program.remove(path)


def _stop(running):
    """Let the Caffes that still run take their snapshots and end; Ctrl-C ends them at once."""
    try:
        stopping = [at_work for at_work in running if at_work.process.poll() is None]
        for at_work in stopping:
            at_work.process.send_signal(signal.SIGINT)
        if stopping:
            names = ", ".join(at_work.training.name for at_work in stopping)
            say(f"{names}: takes a snapshot and stops; Ctrl-C ends that at once")
        for at_work in stopping:
            at_work.process.wait()
    finally:
        for at_work in running:
            at_work.process.kill()
        for at_work in running:
            at_work.process.wait()


class _Running:
    """A training program at work, and what its log has told so far."""

    def __init__(self, training, arguments, environment, lock):
        """Start it, with its log in the training's folder."""
        self.training = training
        self.log = CaffeLog()
        self.seconds_per_iteration = None
        self._first_seen = None
        with open(training.folder.log, "ab") as log_file:
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
        return f"{self.log.iteration}/{self.training.folder.max_iter} loss {self.log.loss:.4g}"

    @property
    def iterations_left(self):
        return self.training.folder.max_iter - (self.log.iteration or 0)

    def look(self):
        """Read on in the log; returns whether Caffe has ended well.

        Raises InputError if Caffe failed or the loss is no finite number; Caffe has then ended.
        """
        status = self.process.poll()
        before = self.log.iteration
        self._read_log()
        name, log = self.training.name, self.training.folder.log
        if self.log.diverged:
            # At once, without a snapshot of weights that are no numbers.
            self.process.kill()
            self.process.wait()
            raise InputError(
                f"{name}: the loss is {self.log.loss} at iteration {self.log.iteration} "
                f"(log: {log}); lower base_lr in {self.training.prototxt}"
            )
        if self.log.iteration != before:
            self._measure_speed()
            _drop_snapshots(self.training, keep=KEPT_SNAPSHOTS)
        if status:
            raise InputError(f"{name}: Caffe failed: {self._failure(status)} (log: {log})")
        return status == 0

    def _failure(self, status):
        if status == -signal.SIGKILL:
            return "it was killed, as it is when memory runs out; fewer --jobs need less"
        with open(self.training.folder.log, encoding="utf-8", errors="replace") as lines:
            lines.seek(self._begin)
            return failure(lines.read()) or f"exit status {status}"

    def _read_log(self):
        with open(self.training.folder.log, "rb") as file:
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
    """How long it still takes, each that waits starting where one ends; None: not known yet.

    `running` is a list of _Running, `waiting` the iterations that each other training has to do.
    """
    speeds = [at_work.seconds_per_iteration for at_work in running]
    known = [speed for speed in speeds if speed is not None]
    if not known:
        return None
    usual = sum(known) / len(known)
    ends = [
        at_work.iterations_left * (usual if speed is None else speed)
        for at_work, speed in zip(running, speeds, strict=True)
    ]
    heapq.heapify(ends)
    for iterations in waiting:
        heapq.heapreplace(ends, ends[0] + iterations * usual)
    return max(ends)


class _Progress:
    """Where the trainings are: on a terminal a bar for each at work, else a line now and then."""

    def __init__(self, trainings):
        self._on_terminal = sys.stderr.isatty()
        self._all = tqdm(
            bar_format="{desc}", leave=False, disable=not self._on_terminal or trainings < 2
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
            self._draw(running, ", ".join(["all", *after]))
        elif running:
            positions = [f"{at_work.training.name}: {at_work.position}" for at_work in running]
            if time.monotonic() >= self._next_line and positions != self._positions:
                print(", ".join(positions + after), file=sys.stderr, flush=True)
                self._positions = positions
                self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def _draw(self, running, summary):
        for name in self._bars.keys() - {at_work.training.name for at_work in running}:
            self._bars.pop(name).close()
        for at_work in running:
            name, iteration = at_work.training.name, at_work.log.iteration
            if iteration is None:
                continue
            if name not in self._bars:
                self._bars[name] = tqdm(
                    desc=name, total=at_work.training.folder.max_iter, initial=iteration,
                    unit="it", dynamic_ncols=True, leave=False,
                )  # fmt: skip
            bar = self._bars[name]
            bar.set_postfix_str(f"loss {at_work.log.loss:.4g}", refresh=False)
            bar.update(iteration - bar.n)
        self._all.set_description_str(summary)

    def close(self):
        for bar in (*self._bars.values(), self._all):
            bar.close()
