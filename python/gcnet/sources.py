"""The prototxt files that a model is trained from: solver, net and deploy net of a folder."""

import contextlib
from pathlib import Path

from gcnet import prototxt
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT


@contextlib.contextmanager
def naming(path):
    """Put `path` before what is wrong with a message in it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def source_paths(net, folder):
    """{"solver", "net", "deploy": Path} of a net, in a folder laid out as prototxt/.

    The solver's `net:` says which net file it is: the one of that name in the folder, else the one
    of that path from the repository root (as the solvers of prototxt/short have it). `deploy_<net>`
    stands beside the net. Raises InputError if a file is not there or the solver is not readable.
    """
    solver = _existing(Path(folder) / f"solver_{net}.prototxt")
    message = prototxt.solver(solver)
    with naming(solver):
        named = Path(prototxt.value(message, "net"))
    net = Path(folder) / named.name
    if not net.is_file() and (ROOT / named).is_file():
        net = ROOT / named
    return {
        "solver": solver,
        "net": _existing(net),
        "deploy": _existing(net.with_name(f"deploy_{net.name}")),
    }


def _existing(path):
    if not path.is_file():
        raise InputError(f"{path}: no such file; give as --prototxt a changed copy of prototxt/")
    return path


def source_messages(net, folder):
    """{"solver", "net", "deploy": message}; raises InputError naming a file that is wrong."""
    return read_messages(source_paths(net, folder))


def read_messages(paths):
    """{name: message} of prototxt files, {name: Path}; raises InputError naming one that is wrong.

    That of "solver" is a SolverParameter, the others are NetParameters.
    """
    return {
        name: prototxt.solver(path) if name == "solver" else prototxt.net(path)
        for name, path in paths.items()
    }
