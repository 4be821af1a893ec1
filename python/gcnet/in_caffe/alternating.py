"""Train several solvers in turn, on nets that share weights, as adversarial methods do.

    python -m gcnet.in_caffe.alternating ORDER \\
        discriminator=solver_discriminator.prototxt generator=solver_generator.prototxt

ORDER is a Python module of the method (for Python 3.9, on the Python path). It says which nets
share weights, and what an iteration is:

    SHARING = [("generator", "discriminator")]

    def iteration(solvers, memory):
        generator, discriminator = solvers["generator"], solvers["discriminator"]
        generator.net.forward()
        discriminator.net.blobs["fake"].data[...] = generator.net.blobs["fake"].data
        discriminator.step()
        generator.step()

By a pair of SHARING the first one's net uses the parameters of the second one's, in the layers of
the same names. `memory` is a dict, empty at first, for what the order has to know of earlier
iterations; it is kept in snapshots, as JSON.

What solver files say in iterations is meant in those of the order: max_iter, display, snapshot,
which are the same in all files, and test_interval. snapshot_prefix is the same too. A solver's
lr_policy goes by its own steps. `average_loss`, lr_policy "poly" and HDF5 snapshots are not to be
had.

The log is as `caffe train` writes it, with the sum of the solvers' losses as "loss" and a line for
each learning rate. A snapshot is a folder, PREFIX_iter_N, with the files of all solvers
(snapshots.py). SIGINT and SIGTERM end the training after its iteration, with a snapshot; SIGHUP
takes one and goes on. A loss that is not finite ends it with one line and without a snapshot.
"""

import argparse
import contextlib
import importlib
import math
import os
import signal
import sys
import tempfile
import time

import caffe
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from gcnet.in_caffe import snapshots, weights
from gcnet_base.errors import InputError, one_line_errors

SAME = ("max_iter", "display", "snapshot", "snapshot_prefix")
"""Fields of which all solver files say the same."""

NEVER = 2**31 - 1
"""The test_interval of solvers that are tested from here."""


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        prog="python -m gcnet.in_caffe.alternating",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("order", metavar="ORDER", help="a Python module, as a.b.c")
    parser.add_argument("solvers", nargs="+", metavar="NAME=SOLVER")
    parser.add_argument("--snapshot", metavar="FOLDER", help="go on from this one")
    parser.add_argument("--weights", metavar="FILES", help="start with .caffemodel files, a,b")
    parser.add_argument("--gpu", type=int, metavar="N")
    arguments = parser.parse_args()
    if arguments.snapshot and arguments.weights:
        raise InputError("--snapshot and --weights: give one of them")

    order = _order(arguments.order)
    files = _files(arguments.solvers)
    parameters = {name: _parameter(path) for name, path in files.items()}
    _check(files, parameters)
    _choose_device(arguments.gpu, parameters)
    requests = Requests()
    training = AlternatingTraining(order, files, parameters)
    if arguments.snapshot:
        training.restore(arguments.snapshot)
    elif arguments.weights:
        training.copy_from(arguments.weights.split(","))
    training.share()
    training.train(requests)


# ---- What the files say


def _order(name):
    """The module of an order; raises InputError if there is none or it lacks something."""
    try:
        order = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not (name + ".").startswith(error.name + "."):
            raise
        raise InputError(
            "{}: no such Python module; PYTHONPATH says where it is".format(name)
        ) from None
    for needed in ("SHARING", "iteration"):
        if not hasattr(order, needed):
            raise InputError("{}: has no {}".format(order.__file__, needed))
    return order


def _files(given):
    """{name: path} of NAME=SOLVER arguments."""
    files = {}
    for text in given:
        name, _, path = text.partition("=")
        if not (name and path) or os.sep in name or name in files:
            raise InputError("{}: give each solver a name of its own, NAME=SOLVER".format(text))
        files[name] = path
    return files


def _parameter(path):
    """The SolverParameter of a file."""
    try:
        with open(path) as file:
            return text_format.Parse(file.read(), caffe_pb2.SolverParameter())
    except text_format.ParseError as error:
        raise InputError("{}: {}".format(path, error)) from None


def _check(files, parameters):
    """Raise InputError for what cannot be done or is not said by all files."""
    first = next(iter(files))
    for name, parameter in parameters.items():
        for field in SAME:
            value, other = getattr(parameter, field), getattr(parameters[first], field)
            if value != other:
                raise InputError(
                    "{}: {} is {}, but {} in {}; give the same in both".format(
                        files[name], field, value, other, files[first]
                    )
                )
        for field in ("average_loss", "snapshot_format"):
            if getattr(parameter, field) != getattr(caffe_pb2.SolverParameter(), field):
                raise InputError(
                    "{}: {} is not to be had in alternating training; leave it out".format(
                        files[name], field
                    )
                )
        if parameter.lr_policy == "poly":
            raise InputError(
                "{}: lr_policy poly ends at max_iter, which does not count this solver's steps; "
                "take another".format(files[name])
            )
        if parameter.test_iter and not parameter.test_interval:
            raise InputError("{}: has a test_iter, give a test_interval".format(files[name]))
    prefix = parameters[first].snapshot_prefix
    if not prefix:
        raise InputError("{}: give a snapshot_prefix".format(files[first]))
    folder = os.path.dirname(prefix) or "."
    if not os.access(folder, os.W_OK):
        raise InputError(
            "{}: snapshot_prefix {}: {} is no folder that can be written to".format(
                files[first], prefix, folder
            )
        )


def _choose_device(gpu, parameters):
    """Compute on the GPU of the argument, or of solver files that name one."""
    for parameter in parameters.values():
        on_gpu = parameter.solver_mode == caffe_pb2.SolverParameter.GPU
        if gpu is None and parameter.HasField("solver_mode") and on_gpu:
            gpu = parameter.device_id
    if gpu is None:
        caffe.set_mode_cpu()
    else:
        caffe.set_device(gpu)
        caffe.set_mode_gpu()


# ---- Solvers


class Solver:
    """A solver as an order sees it.

    name, net   str, caffe.Net
    loss        of its last step, the sum of the net's losses times their weights; 0 before one
    rate        the learning rate of its last step
    outputs     {name: array} of the net's outputs in its last step
    """

    def __init__(self, name, path, parameter, prefix):
        """`prefix` is the snapshot_prefix for the engine, which writes nothing else by itself."""
        self.name = name
        self.path = path
        self.parameter = parameter
        quiet = caffe_pb2.SolverParameter()
        quiet.CopyFrom(parameter)
        quiet.display = quiet.snapshot = 0
        quiet.snapshot_prefix = prefix
        if parameter.test_iter:
            quiet.test_interval, quiet.test_initialization = NEVER, False
        with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
            file.write(text_format.MessageToString(quiet))
            file.flush()
            with _naming(path):
                self.engine = caffe.get_solver(file.name)
        self.net = self.engine.net
        self.loss = 0.0
        self.rate = None
        self.outputs = {}

    def step(self):
        """Change the parameters once, as Caffe does in an iteration of one solver.

        Raises InputError if the loss is not finite.
        """
        number = self.engine.iter
        self.rate = _rate(self.parameter, number)
        with _naming("solver " + self.name):
            self.engine.step(1)
        self.loss = loss(self.net)
        self.outputs = {name: self.net.blobs[name].data.copy() for name in self.net.outputs}
        if not math.isfinite(self.loss):
            raise InputError(
                "solver {}: the loss is {:g} in its step {}; lower base_lr in {} or check the "
                "data".format(self.name, self.loss, number, self.path)
            )


@contextlib.contextmanager
def _naming(what):
    """Say what an error of the engine is about; torchcaffe has its own, where BVLC Caffe aborts."""
    try:
        yield
    except getattr(caffe, "CaffeError", RuntimeError) as error:
        raise InputError("{}: {}".format(what, error)) from None


def _addresses(net):
    """{(layer, place): where in memory that parameter's values are} of a net."""
    return {
        (layer, place): blob.data.ctypes.data
        for layer, blobs in net.params.items()
        for place, blob in enumerate(blobs)
    }


def loss(net):
    """The sum of a net's losses times their weights, of its last forward pass."""
    return sum(
        weight * float(net.blobs[name].data.sum())
        for name, weight in net.blob_loss_weights.items()
        if weight
    )


def _rate(p, step):
    """The learning rate of a solver's step, by its lr_policy; pycaffe does not tell it."""
    if p.lr_policy == "step":
        return p.base_lr * p.gamma ** (step // p.stepsize)
    if p.lr_policy == "multistep":
        return p.base_lr * p.gamma ** sum(step >= value for value in p.stepvalue)
    if p.lr_policy == "exp":
        return p.base_lr * p.gamma**step
    if p.lr_policy == "inv":
        return p.base_lr * (1 + p.gamma * step) ** -p.power
    if p.lr_policy == "sigmoid":
        return p.base_lr * (1 + math.tanh(p.gamma * (step - p.stepsize) / 2)) / 2
    return p.base_lr


# ---- Training


class AlternatingTraining:
    """The solvers of an order, and how far they are.

    solvers     {name: Solver}
    iteration   how many iterations of the order are done
    memory      what the order keeps between them
    """

    def __init__(self, order, files, parameters):
        """`files` and `parameters` are {solver: path} and {solver: SolverParameter}."""
        self._order = order
        self._parameter = next(iter(parameters.values()))
        self._snapshots = snapshots.SetWriter(self._parameter.snapshot_prefix)
        self.solvers = {
            name: Solver(name, path, parameters[name], self._snapshots.prefix_of(name))
            for name, path in files.items()
        }
        self.iteration = 0
        self.memory = {}
        self._stopped = False
        self._saved = None
        self._displayed = None
        self._check_names()

    def _check_names(self):
        """Raise InputError unless an output's name stands for one curve."""
        makers = {}
        for solver in self.solvers.values():
            trained = {("Train", name) for name in solver.net.outputs}
            tested = {("Test", name) for net in solver.engine.test_nets for name in net.outputs}
            for output in trained | tested:
                if output in makers:
                    raise InputError(
                        "{}: {} is also an output of the net in {}; rename one of them".format(
                            solver.path, output[1], makers[output]
                        )
                    )
                makers[output] = solver.path

    # ---- Parameters

    def share(self):
        """Let nets use each other's parameters as the order says.

        Raises InputError for what cannot share, and for weights that would silently be two: in BVLC
        Caffe `share_with` gives a layer other memory and leaves behind what had shared its former
        one, which may be another net or a layer of the same `param { name }`.
        """
        sharing = self._order.__file__ + ": SHARING ({}, {})"
        for pair in self._order.SHARING:
            for name in pair:
                if name not in self.solvers:
                    raise InputError(
                        "{}: {} is none of the solvers {}".format(
                            sharing.format(*pair), name, ", ".join(self.solvers)
                        )
                    )
            taker, giver = (self.solvers[name].net for name in pair)
            before = _addresses(taker)
            taker.share_with(giver)
            after, followed = _addresses(taker), {}
            for place, address in before.items():
                if followed.setdefault(address, after[place]) != after[place]:
                    raise InputError(
                        "{}: layer {} would leave those with which it shares its param {} in the "
                        "net of {}; turn the pair round".format(
                            sharing.format(*pair), *place, pair[0]
                        )
                    )
        for pair in self._order.SHARING:
            taken, given = (_addresses(self.solvers[name].net) for name in pair)
            common = taken.keys() & given.keys()
            if not common or any(taken[place] != given[place] for place in common):
                raise InputError(
                    "{}: {}".format(
                        sharing.format(*pair),
                        "is undone by a later pair; put it after that"
                        if common
                        else "the nets have no layer with parameters in common",
                    )
                )

    def copy_from(self, paths):
        """Start with .caffemodel files; raises InputError for one that does not fit."""
        nets = self._nets()
        for path in paths:
            weights.taken(nets, path)
            for net in nets.values():
                net.copy_from(path)

    def restore(self, folder):
        """Go on from a snapshot; raises InputError, before anything is changed, if it is broken."""
        snapshots.check_set(self._nets(), folder)
        described = snapshots.read_set(folder)
        for name, solver in self.solvers.items():
            solver.engine.restore(snapshots.state_path(folder, name))
        self.iteration = self._saved = described["iteration"]
        self.memory = described["memory"]

    def _nets(self):
        return {name: solver.net for name, solver in self.solvers.items()}

    # ---- The loop

    def train(self, requests):
        """Train up to max_iter, or until `requests` (a Requests) says to stop."""
        p = self._parameter
        self._displayed = time.monotonic(), self.iteration
        while self.iteration < p.max_iter and not self._stopped:
            self._test(requests, before=True)
            if self._stopped:
                break
            self._order.iteration(self.solvers, self.memory)
            if p.display and self.iteration % p.display == 0:
                self._display()
            self.iteration += 1
            asked = requests.take()
            self._stopped = "stop" in asked
            if asked or (p.snapshot and self.iteration % p.snapshot == 0):
                self._snapshot()
        self._snapshot()
        if self._stopped:
            caffe.log("Optimization stopped early.")
            return
        if p.display and self.iteration % p.display == 0:
            # As Caffe does, and with inputs as the order has left them.
            for solver in self.solvers.values():
                solver.net.forward()
            total = sum(loss(solver.net) for solver in self.solvers.values())
            caffe.log("Iteration {}, loss = {:g}".format(self.iteration, total))
        self._test(requests, before=False)
        caffe.log("Optimization Done.")

    def _snapshot(self):
        if self._saved == self.iteration:
            return
        engines = {name: solver.engine for name, solver in self.solvers.items()}
        place = self._snapshots.write(engines, self.iteration, self.memory)
        self._saved = self.iteration
        caffe.log("Snapshotting to folder {}".format(place))

    def _display(self):
        now = time.monotonic()
        (then, before), self._displayed = self._displayed, (now, self.iteration)
        caffe.log(
            "Iteration {} ({:g} iter/s, {:g}s/{} iters), loss = {:g}".format(
                self.iteration, (self.iteration - before) / ((now - then) or 1), now - then,
                self._parameter.display, sum(solver.loss for solver in self.solvers.values()),
            )
        )  # fmt: skip
        number = 0
        for solver in self.solvers.values():
            number = _log_outputs("Train", solver.net, solver.outputs, number)
        for solver in self.solvers.values():
            if solver.rate is not None:
                caffe.log(
                    "Iteration {}, lr = {:g} ({})".format(self.iteration, solver.rate, solver.name)
                )

    def _test(self, requests, before):
        """Test the nets whose turn it is; `before` an iteration or after the last one."""
        number = 0
        for solver in self.solvers.values():
            p = solver.parameter
            due = p.test_iter and self.iteration % p.test_interval == 0
            if before and self.iteration == 0:
                due = due and p.test_initialization
            for net, count in zip(solver.engine.test_nets, p.test_iter):
                if due and not self._stopped:
                    caffe.log("Iteration {}, Testing net (#{})".format(self.iteration, number))
                    net.share_with(solver.net)
                    self._test_net(net, count, requests)
                number += 1

    def _test_net(self, net, count, requests):
        sums = {}
        for _ in range(count):
            asked = requests.take()
            self._stopped = "stop" in asked
            if asked:
                self._snapshot()
            if self._stopped:
                caffe.log("Test interrupted.")
                return
            for name, values in net.forward().items():
                sums[name] = sums.get(name, 0) + values
        means = {name: sums[name] / count for name in net.outputs if name in sums}
        _log_outputs("Test", net, means, 0)


def _log_outputs(which, net, outputs, number):
    """Log {name: array} of a net's outputs, from output `number` on; returns the next number."""
    for name, values in outputs.items():
        weight = net.blob_loss_weights[name]
        for value in values.flatten():
            text = "{} = {:g}".format(name, value)
            if weight:
                text += " (* {:g} = {:g} loss)".format(weight, weight * value)
            caffe.log("    {} net output #{}: {}".format(which, number, text))
            number += 1
    return number


class Requests:
    """Takes signals: SIGINT and SIGTERM ask to "stop", SIGHUP for a "snapshot".

    A shell starts programs in the background with SIGINT ignored; it is not ignored here.
    """

    _EFFECTS = {signal.SIGINT: "stop", signal.SIGTERM: "stop", signal.SIGHUP: "snapshot"}

    def __init__(self):
        self._asked = set()
        for number in self._EFFECTS:
            signal.signal(number, self._received)

    def _received(self, number, frame):
        self._asked.add(self._EFFECTS[number])

    def take(self):
        """What was asked for since the last call, a set."""
        asked, self._asked = self._asked, set()
        return asked


if __name__ == "__main__":
    sys.exit(main())
