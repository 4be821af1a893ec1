"""Is a snapshot whole? And snapshots of several solvers, whole together or not at all.

`caffe train` leaves a .solverstate, which names its .caffemodel. A set of several solvers is a
folder with `<solver>.solverstate` and `<solver>.caffemodel` of each and `set.json`:

    {"iteration": 20, "steps": {"<solver>": 40, ...}, "memory": ...}

It is written beside its place under a hidden name and renamed when all is there.
"""

import json
import os
import shutil

from caffe.proto import caffe_pb2

from gcnet.in_caffe import weights
from gcnet_base.errors import InputError

SET = "set.json"
"""The file that makes a folder a set."""


def check(nets, path):
    """Raise InputError unless the snapshot at `path`, a .solverstate or a set, is whole.

    `nets` is {solver: caffe.Net}; a .solverstate is of the only one of them.
    """
    if os.path.isdir(path):
        check_set(nets, path)
    else:
        (net,) = nets.values()
        _check_state(net, path)


def check_set(nets, folder):
    """Raise InputError unless a set is whole and of {solver: caffe.Net}."""
    described = read_set(folder)
    if set(described["steps"]) != set(nets):
        raise InputError(
            "{}: is of the solvers {}, expected {}".format(
                folder, ", ".join(sorted(described["steps"])), ", ".join(sorted(nets))
            )
        )
    for solver, steps in described["steps"].items():
        path = state_path(folder, solver)
        state = _check_state(nets[solver], path)
        if state.iter != steps:
            raise InputError("{}: is of step {}, expected {}".format(path, state.iter, steps))
        if os.path.realpath(state.learned_net) != os.path.realpath(_model_path(folder, solver)):
            raise InputError(
                "{}: belongs to {}; a set stays where it was written".format(
                    path, state.learned_net
                )
            )


def _check_state(net, path):
    """The SolverState of a file, without InputError if it and its .caffemodel are the net's."""
    state = weights.parse(path, caffe_pb2.SolverState())
    memories = {blob.data.ctypes.data for blobs in net.params.values() for blob in blobs}
    # BVLC Caffe writes the current step last.
    if len(state.history) < len(memories) or not state.HasField("current_step"):
        raise InputError("{}: truncated".format(path))
    if not os.path.exists(state.learned_net):
        raise InputError("{}: its {} is missing".format(path, state.learned_net))
    weights.check(net, state.learned_net, every_layer=True)
    return state


def read_set(folder):
    """What set.json says. Raises InputError if it is missing, cannot be read or lacks something."""
    path = os.path.join(folder, SET)
    try:
        with open(path) as file:
            described = json.load(file)
        return {name: described[name] for name in ("iteration", "steps", "memory")}
    except FileNotFoundError:
        raise InputError("{}: no such file; {} is no snapshot".format(path, folder)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("{}: not readable ({})".format(path, error)) from None


def state_path(folder, solver):
    """The .solverstate of a solver in a set."""
    return os.path.join(folder, solver + ".solverstate")


def _model_path(folder, solver):
    return os.path.join(folder, solver + ".caffemodel")


class SetWriter:
    """Writes sets to `<prefix>_iter_<iteration>/`, in the place of older ones there.

    The solvers, {name: pycaffe solver}, have been made with `prefix_of(name)` as snapshot_prefix.
    """

    def __init__(self, prefix):
        self._prefix = prefix
        folder, name = os.path.split(prefix)
        self._partial = os.path.join(folder, ".{}.partial".format(name))

    def prefix_of(self, name):
        return os.path.join(self._partial, name)

    def write(self, solvers, iteration, memory):
        """Returns the folder. Raises InputError if `memory` cannot be written as JSON."""
        place = "{}_iter_{}".format(self._prefix, iteration)
        shutil.rmtree(self._partial, ignore_errors=True)
        os.mkdir(self._partial)
        for name, solver in solvers.items():
            solver.snapshot()
            written = "{}_iter_{}".format(self.prefix_of(name), solver.iter)
            os.rename(written + ".caffemodel", _model_path(self._partial, name))
            os.rename(written + ".solverstate", state_path(self._partial, name))
            # Of a field that stands in a message twice, the last counts.
            moved = caffe_pb2.SolverState(learned_net=_model_path(place, name))
            with open(state_path(self._partial, name), "ab") as file:
                file.write(moved.SerializeToString())
        steps = {name: solver.iter for name, solver in solvers.items()}
        described = {"iteration": iteration, "steps": steps, "memory": memory}
        try:
            text = json.dumps(described, indent=1)
        except TypeError as error:
            raise InputError("the memory of the order is no JSON ({})".format(error)) from None
        with open(os.path.join(self._partial, SET), "w") as file:
            file.write(text + "\n")
        if os.path.isdir(place):
            shutil.rmtree(place)
        os.rename(self._partial, place)
        return place
