"""Measures the engines on the nets of the paper: training, inference, latency, input, memory.

Each engine runs in a process of its own that stays alive. They take turns, one iteration each, so
that what else the machine does hits all alike. Written into --output, between two marker comments:
medians, minima, and how many times as fast as BVLC Caffe.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import results_file
import tables
import torch
import workspace
from plain_pytorch import CLASSES, NETS
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from gcnet.engine import find
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError, one_line_errors
from gcnet_base.paths import ROOT

WORKERS = ROOT / "bench" / "workers"
WARM_UPS = 2
SETTLE_SECONDS = 0.05  # for what an engine still does in the background, such as reading ahead
MATRIX_OPERATIONS = 2 * 2048**3
FLOOR = "floor"


@dataclass(frozen=True)
class Measurement:
    """What is measured: a task, on a net, at a batch size."""

    name: str
    task: str
    net: str
    batch: int


MEASUREMENTS = [
    *(Measurement(f"training-{net}", "training", net, 64) for net in NETS),
    *(Measurement(f"inference-{net}", "inference", net, 64) for net in NETS),
    *(Measurement(f"single-{net}", "inference", net, 1) for net in ("s1r1", "cnn")),
    Measurement("reading", "reading", "data", 64),
]

PYTHON_LAYERS = "the net has Python layers, which it cannot load"


@dataclass(frozen=True)
class Engine:
    """A row of the tables: the command of its worker, and what it can be asked."""

    title: str
    command: tuple
    tasks: tuple = ("training", "inference")
    cannot: dict = field(default_factory=dict)  # {net: why}


def all_engines():
    """{name: Engine} in the order of the tables."""
    caffe_tasks = ("training", "inference", "reading")
    caffe = str(WORKERS / "caffe_net.py")
    plain = (sys.executable, str(WORKERS / "plain.py"))
    return {
        "bvlc": Engine("BVLC Caffe 1.0", (*find("bvlc").python, caffe), caffe_tasks),
        "torchcaffe": Engine("torchcaffe", (*find("torch").python, caffe), caffe_tasks),
        "eager": Engine("PyTorch, eager", (*plain, "eager")),
        "channels_last": Engine("PyTorch, channels-last", (*plain, "eager+channels_last")),
        "compile": Engine("PyTorch, torch.compile", (*plain, "compile")),
        "compile_channels_last": Engine(
            "PyTorch, torch.compile, channels-last", (*plain, "compile+channels_last")
        ),
        "onnx": Engine(
            "ONNX Runtime", (sys.executable, str(WORKERS / "onnx_runtime.py")), ("inference",)
        ),
        "opencv": Engine(
            "OpenCV dnn",
            (sys.executable, str(WORKERS / "opencv_dnn.py")),
            ("inference",),
            {"s1r1": PYTHON_LAYERS, "autoencoder": PYTHON_LAYERS},
        ),
        FLOOR: Engine("floor: operations at the matrix rate", (*plain, "eager")),
    }


class Worker:
    """An engine's process, ready to run iterations of one measurement."""

    def __init__(self, engine, measurement, folder, environment):
        """Raises InputError with the last line that the process wrote if it does not get ready."""
        is_floor = engine.title.startswith(FLOOR)
        task = "matmul" if is_floor else measurement.task
        self.seconds = []
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*engine.command, task, measurement.net, str(measurement.batch)],
            cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
        )  # fmt: skip
        self.versions = self._answer().removeprefix("ready ")

    def run(self):
        return float(self._ask("run"))

    def peak_memory(self):
        """In MB."""
        return float(self._ask("memory"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def _ask(self, question):
        with contextlib.suppress(BrokenPipeError):  # its last words say more
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        answer = self.process.stdout.readline().strip()
        if not answer:
            self.process.wait()
            self.errors.seek(0)
            words = self.errors.read().strip().splitlines() or ["it says nothing"]
            raise InputError(f"ended with {self.process.returncode}: {words[-1][:300]}")
        return answer


@dataclass
class Result:
    """Of one engine in one measurement: seconds of each round, or why there are none."""

    seconds: list = field(default_factory=list)
    memory: float | None = None
    versions: str = ""
    failure: str = ""


def measure(measurement, engines, rounds, folder, environment, progress):
    """{engine name: Result}; the engines take turns."""
    results, workers = {}, {}
    for name, engine in engines.items():
        if measurement.task not in engine.tasks:
            continue
        results[name] = Result(failure=engine.cannot.get(measurement.net, ""))
        if not results[name].failure:
            progress.set_postfix_str(f"{measurement.name}, starting {name}")
            with _failure_kept(results[name]):
                workers[name] = Worker(engine, measurement, folder, environment)
                results[name].versions = workers[name].versions
        progress.refresh()
    for turn in range(WARM_UPS + rounds):
        progress.set_postfix_str(f"{measurement.name}, round {turn + 1 - WARM_UPS} of {rounds}")
        for name in list(workers):
            with _failure_kept(results[name]):
                seconds = workers[name].run()
                if turn >= WARM_UPS:
                    results[name].seconds.append(seconds)
            if results[name].failure:
                del workers[name]
            time.sleep(SETTLE_SECONDS)
        progress.update()
    for name, worker in workers.items():
        results[name].memory = worker.peak_memory()
        worker.close()
    if FLOOR in results and results[FLOOR].seconds:
        share = operations(measurement) / MATRIX_OPERATIONS
        results[FLOOR].seconds = [share * seconds for seconds in results[FLOOR].seconds]
    return results


@contextlib.contextmanager
def _failure_kept(result):
    """One engine that fails is told in the tables; the others go on."""
    try:
        yield
    except InputError as error:
        result.failure = str(error)


def operations(measurement):
    """Of all convolutions, deconvolutions and inner products of the net, 2 a multiply-add.

    Training adds the gradients of weights and data, not that of the input image.
    """
    net = NETS[measurement.net]()
    image, reference = torch.zeros(2, measurement.batch, 1, 64, 64)
    label = torch.randint(CLASSES, (measurement.batch,))
    with FlopCounterMode(display=False) as counter:
        if measurement.task == "training":
            net(image, reference, label).backward()
        else:
            net.eval().outputs(image)
    return counter.get_total_flops()


def worker_environment(threads):
    """The same for all: so many threads."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("python", "bench", WORKERS)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GLOG_minloglevel": "2",
        "OPENBLAS_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
    }


def chosen(names, available, what):
    """The part of a dictionary that a comma list names; all of it for None."""
    if names is None:
        return available
    for name in names.split(","):
        if name not in available:
            raise InputError(f"no {what} {name!r}; choose from {', '.join(available)}")
    return {name: available[name] for name in available if name in names.split(",")}


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python bench/engines.py --rounds 3 --only training-s1r1,single-s1r1 "
        "--engines bvlc,torchcaffe --output /tmp/part.md",
    )
    parser.add_argument(
        "--rounds", type=int, default=7, metavar="N",
        help=f"iterations of each engine, after {WARM_UPS} to warm up (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--only", metavar="A,B",
        help="measurements: " + ", ".join(measurement.name for measurement in MEASUREMENTS),
    )  # fmt: skip
    parser.add_argument("--engines", metavar="A,B", help="rows of the tables (default: all)")
    parser.add_argument(
        "--threads", type=int, default=available_cores(), metavar="N",
        help="of every engine (default: one for each core, %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=ROOT / "bench" / "results.md", metavar="FILE",
        help="Markdown file that gets the tables (default: bench/results.md)",
    )  # fmt: skip
    arguments = parser.parse_args()
    for option, number in (("rounds", arguments.rounds), ("threads", arguments.threads)):
        if number < 1:
            raise InputError(f"--{option} {number}: give at least 1")
    named = {measurement.name: measurement for measurement in MEASUREMENTS}
    measurements = chosen(arguments.only, named, "measurement").values()
    engines = chosen(arguments.engines, all_engines(), "engine")

    environment = worker_environment(arguments.threads)
    turns = len(measurements) * (WARM_UPS + arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        workspace.make(Path(folder), find("bvlc").python, environment)
        results = {}
        with tqdm(total=turns, unit="round", dynamic_ncols=True) as progress:
            for measurement in measurements:
                results[measurement.name] = measure(
                    measurement, engines, arguments.rounds, folder, environment, progress
                )
    titles = {name: engine.title for name, engine in engines.items()}
    how = {"rounds": arguments.rounds, "threads": arguments.threads}
    text = tables.markdown(results, titles, how | results_file.circumstances("engines.py"))
    results_file.write(arguments.output, "engines.py", text)
    print(text)
    failed = [
        f"{titles[name]}, {measurement}: {result.failure}"
        for measurement, of_engines in results.items()
        for name, result in of_engines.items()
        if result.failure not in ("", PYTHON_LAYERS)
    ]
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
