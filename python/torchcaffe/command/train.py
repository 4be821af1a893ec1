"""The command train."""

import contextlib
import signal
import sys

from torchcaffe import log
from torchcaffe.command import devices
from torchcaffe.errors import CaffeError
from torchcaffe.schema import read
from torchcaffe.solver import Solver


def train(flags):
    """Train as -solver says; from -snapshot, or starting with -weights."""
    if not flags.solver:
        raise CaffeError("Need a solver definition to train: give -solver FILE")
    if flags.snapshot and flags.weights:
        raise CaffeError("Give a snapshot to resume training or weights to finetune but not both.")
    effects = {}
    for name in ("sigint_effect", "sighup_effect"):
        if flags[name] not in ("stop", "snapshot", "none"):
            raise CaffeError(f"-{name} is {flags[name]!r}; give stop, snapshot or none")
        effects[name] = flags[name]
    parameter = read.solver(flags.solver)
    parameter.train_state.level = flags.level
    parameter.train_state.stage.extend(stage for stage in flags.stage.split(",") if stage)
    if flags.weights:
        del parameter.weights[:]
        parameter.weights.append(flags.weights)
    device = devices.for_training(flags.gpu, parameter)
    with Signals(effects["sigint_effect"], effects["sighup_effect"]) as signals:
        solver = Solver(parameter, device)
        solver.action_function = signals.action
        if flags.snapshot:
            log.info(f"Resuming from {flags.snapshot}")
            solver.restore(flags.snapshot)
        log.info("Starting Optimization")
        with _progress(solver):
            solver.solve()
    log.info("Optimization Done.")


class Signals:
    """While in use, SIGINT and SIGHUP ask for an action (`stop`, `snapshot`) or for none.

    Handlers are set even where the process was started with the signals ignored, as shells start
    programs in the background: who gives an effect wants it there too.
    """

    def __init__(self, on_interrupt, on_hangup):
        self._effects = {signal.SIGINT: on_interrupt}
        if hasattr(signal, "SIGHUP"):
            self._effects[signal.SIGHUP] = on_hangup
        self._asked = []

    def __enter__(self):
        self._before = {number: signal.signal(number, self._received) for number in self._effects}
        return self

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _received(self, number, frame):
        effect = self._effects[number]
        if effect != "none" and effect not in self._asked:
            self._asked.append(effect)

    def action(self):
        """An action that was asked for since the last call, or None."""
        return self._asked.pop(0) if self._asked else None


@contextlib.contextmanager
def _progress(solver):
    """A bar with the time left, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    import tqdm

    bar = tqdm.tqdm(
        total=solver.param.max_iter, initial=solver.iter, unit="iter", leave=False,
        dynamic_ncols=True, file=sys.stderr,
    )  # fmt: skip

    def advance(solver):
        bar.update(solver.iter - bar.n)

    solver.after_iteration, log.bar = advance, bar
    try:
        yield
    finally:
        solver.after_iteration = log.bar = None
        bar.close()
