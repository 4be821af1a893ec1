"""Where Caffe is: the `caffe` command and a Python in which `import caffe` works.

An engine is chosen by name, `--engine` or the environment variable GCNET_ENGINE:

torch   torchcaffe, of this repository, in the Python that runs this; the default
bvlc    BVLC Caffe 1.0, in this order: the prefix that the environment variable BVLC_CAFFE names,
        the prefix of `make caffe` in the user's cache folder, Debian's packages in /usr/bin (as in
        the Docker images)
"""

import functools
import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gcnet_base.errors import InputError, one_line_errors
from gcnet_base.paths import ROOT

DEFAULT = "torch"

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables for how many threads compute."""


@dataclass(frozen=True)
class Engine:
    """A Caffe that can be started: its name and the beginnings of its two command lines."""

    name: str
    caffe: tuple
    python: tuple

    def environment(self, log_level=0, threads=None):
        """Environment variables for its programs.

        `log_level` is glog's: 0 logs everything to standard error, 2 errors only. `threads` is how
        many threads compute, unless the user's own OPENBLAS_NUM_THREADS (BVLC Caffe) or
        OMP_NUM_THREADS (torchcaffe) says so; None means one for each core. PYTHONPATH gets the
        folder of `gcnet_layers`, which the nets' Python layers are imported from.
        """
        paths = [str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
        threads = dict.fromkeys(_THREADS if threads else (), str(threads))
        return {
            **threads,
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "GLOG_minloglevel": str(log_level),
        }

    def run_module(self, module, *arguments, threads=None):
        """Run `python -m <module>` of this package in the engine; returns its standard output.

        `threads` compute, whatever the environment says; None means as many as `environment` says.
        Another number adds up in another order, so that the last bits differ. Raises InputError
        with the module's own error line, or with Caffe's.
        """
        environment = self.environment(log_level=2)
        if threads:
            environment |= dict.fromkeys(_THREADS, str(threads))
        done = subprocess.run(
            [*self.python, "-m", module, *map(str, arguments)],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise InputError(failure(done.stderr) or f"{module} ended with {done.returncode}")
        return done.stdout

    def gpu(self, device):
        """The number of the GPU that `device` names, None for "cpu".

        Raises InputError if it is neither, or a GPU on which this engine cannot compute.
        """
        number = gpu_of(device)
        if number is None:
            return None
        asked = subprocess.run(
            [*self.caffe, "device_query", "-gpu", str(number)],
            env=self.environment(log_level=2),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if asked.returncode:
            reason = failure(asked.stderr).partition(";")[0]
            raise InputError(
                f"--device {device}: {TITLES[self.name]} cannot compute on it ({reason}); "
                "take --device cpu, or another GPU"
            )
        return number


def failure(text):
    """The line of a log or of standard error that says best why Caffe ended; "" for an empty one.

    In this order: what a Python layer or this package's own script printed as "error: ...", glog's
    fatal message, the last line.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("error: ")]
    if own:
        return own[-1].removeprefix("error: ")
    fatal = [line for line in lines if re.match(r"F\d{4} ", line)]
    if fatal:
        return fatal[-1].partition("] ")[2]
    return lines[-1] if lines else ""


def gpu_of(device):
    """The number of the GPU that "gpu:0" names, None for "cpu"; else raises InputError."""
    if device == "cpu":
        return None
    match = re.fullmatch(r"gpu:([0-9]+)", device)
    if not match:
        raise InputError(f"--device {device}: give cpu, or a GPU by its number as gpu:0")
    return int(match[1])


def find(name=None):
    """The Engine called `name`; None means GCNET_ENGINE or else the default.

    Raises InputError if there is no such engine or it is not installed.
    """
    name = name or os.environ.get("GCNET_ENGINE") or DEFAULT
    if name not in ENGINES:
        raise InputError(f"no engine {name!r}; choose one of {', '.join(ENGINES)}")
    return ENGINES[name]()


def _torch():
    if importlib.util.find_spec("torch") is None:
        raise InputError(
            "torchcaffe needs PyTorch, which this Python does not have; run make setup, or take "
            "BVLC Caffe with --engine bvlc or GCNET_ENGINE=bvlc"
        )
    return Engine(
        "torch",
        (sys.executable, "-m", "torchcaffe.command"),
        (sys.executable, "-m", "torchcaffe"),
    )


def _bvlc():
    named = os.environ.get("BVLC_CAFFE")
    if named:
        prefix = Path(named).resolve()  # Caffe runs in ROOT, not where the user is
        if not _is_prefix(prefix):
            raise InputError(f"BVLC_CAFFE={named}: no bin/caffe and bin/python3 there")
        return _in_prefix(prefix)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if _is_prefix(cache / "gcnet" / "bvlc-caffe"):
        return _in_prefix(cache / "gcnet" / "bvlc-caffe")
    # Debian's folder by name and not through PATH, where `caffe` is this package's own command.
    if _is_prefix(Path("/usr")) and _imports_caffe("/usr/bin/python3"):
        return _in_prefix(Path("/usr"))
    raise InputError("BVLC Caffe is not installed: run `make caffe`")


def _is_prefix(prefix):
    return all(os.access(prefix / "bin" / program, os.X_OK) for program in ("caffe", "python3"))


def _in_prefix(prefix):
    programs = (str(prefix / "bin" / program) for program in ("caffe", "python3"))
    return Engine("bvlc", *((program,) for program in programs))


@functools.cache
def _imports_caffe(python):
    return subprocess.run([python, "-c", "import caffe"], capture_output=True).returncode == 0


ENGINES = {"torch": _torch, "bvlc": _bvlc}

TITLES = {"torch": "torchcaffe", "bvlc": "BVLC Caffe 1.0"}
"""The engines' names for people."""


@one_line_errors
def run_caffe():
    """The console script `caffe`: the engine's own `caffe` with the same arguments."""
    engine = find()
    log_level = os.environ.get("GLOG_minloglevel", "0")
    if log_level not in ("0", "1", "2", "3"):
        raise InputError(f"GLOG_minloglevel={log_level}: give 0 (all), 1, 2 (errors) or 3")
    environment = {**engine.environment(log_level), "GLOG_logtostderr": "1"}
    os.execve(engine.caffe[0], [*engine.caffe, *sys.argv[1:]], environment)
