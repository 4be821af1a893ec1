"""Solvers as pycaffe has them, over torchcaffe.solver."""

from torchcaffe import weights
from torchcaffe.arrays import upload
from torchcaffe.pycaffe import engine
from torchcaffe.pycaffe.net import Net
from torchcaffe.schema import read
from torchcaffe.solver import Solver as _Solver


class Solver:
    """What trains a net; `get_solver(file)` or a class such as SGDSolver makes it.

    net, test_nets   Net, [Net]
    iter             how many updates the parameters have had
    param            the SolverParameter
    lr               the learning rate of this iteration
    """

    _type = None

    def __init__(self, path):
        parameter = read.solver(path)
        if self._type is not None:
            parameter.type = self._type
        self._build(parameter)

    def _build(self, parameter):
        self._solver = _Solver(parameter, engine.device())
        self.net = Net._of(self._solver.net)
        self.test_nets = [Net._of(net) for net in self._solver.test_nets]
        return self

    @property
    def iter(self):
        return self._solver.iter

    @property
    def param(self):
        return self._solver.param

    @property
    def lr(self):
        return self._solver.rate

    def step(self, count):
        """Run `count` iterations."""
        upload()
        self._solver.step(count)

    def solve(self, resume_file=None):
        """Train up to max_iter, from a .solverstate file if it is given."""
        upload()
        self._solver.solve(resume_file)

    def snapshot(self):
        """Write .caffemodel and .solverstate, or their HDF5 forms, after snapshot_prefix."""
        upload()
        self._solver.snapshot()

    def restore(self, path):
        """Continue from a .solverstate file, with the weights that it names."""
        upload()
        self._solver.restore(path)

    def apply_update(self):
        """Change the parameters by their gradients once; `iter` is one more afterwards."""
        upload()
        self._solver.apply_update()

    def share_weights(self, net):
        """Let another net use the memory of this solver's parameters."""
        upload()
        weights.share(net._net, self._solver.net)

    def add_callback(self, on_start, on_gradients_ready=None):
        """Call functions without arguments as an iteration starts, and before its update."""
        on_gradients_ready = on_gradients_ready or (lambda: None)
        functions = _uploading(on_start), _uploading(on_gradients_ready)
        self._solver.callbacks.append(functions)


def _uploading(function):
    def call():
        function()
        upload()

    return call


class SGDSolver(Solver):
    _type = "SGD"


class NesterovSolver(Solver):
    _type = "Nesterov"


class AdaGradSolver(Solver):
    _type = "AdaGrad"


class RMSPropSolver(Solver):
    _type = "RMSProp"


class AdaDeltaSolver(Solver):
    _type = "AdaDelta"


class AdamSolver(Solver):
    _type = "Adam"


def get_solver(path):
    """The Solver that a solver file asks for by its `type`."""
    parameter = read.solver(path)
    kinds = {kind._type: kind for kind in Solver.__subclasses__()}
    kind = kinds.get(parameter.type, Solver)
    return kind.__new__(kind)._build(parameter)
