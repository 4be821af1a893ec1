"""What Caffe's log tells: the course of the losses, and why Caffe gave up."""

import math
import re

_ITERATION = re.compile(r"\] Iteration (\d+)[ ,(].*?loss = (\S+)")
_TRAIN_OUTPUT = re.compile(r"Train net output #\d+: (\S+) = (\S+)(?: \(\* (\S+) = (\S+) loss\))?")
_TESTING = re.compile(r"\] Iteration (\d+), Testing net")
_TEST_OUTPUT = re.compile(r"Test net output #\d+: (\S+) = ([^\s(]+)")


class CaffeLog:
    """Curves read from a log line by line.

    `train` is {"loss" or an output's name: {iteration: value}}, with each term of the loss times
    its loss_weight, as it adds to the whole. `test` is the same for the test net, unweighted.
    Where a resumed training repeats iterations, the later values stand.
    """

    def __init__(self, lines=()):
        self.train = {}
        self.test = {}
        self._iteration = None
        self._test_iteration = None
        for line in lines:
            self.read(line)

    @property
    def iteration(self):
        """The last iteration whose loss was displayed, or None."""
        return self._iteration

    @property
    def loss(self):
        """The loss displayed last, or None."""
        return None if self._iteration is None else self.train["loss"][self._iteration]

    def read(self, line):
        if match := _TESTING.search(line):
            self._test_iteration = int(match[1])
        elif match := _ITERATION.search(line):
            self._iteration = int(match[1])
            self.train.setdefault("loss", {})[self._iteration] = float(match[2])
        elif match := _TRAIN_OUTPUT.search(line):
            value = float(match[4] or match[2])
            self.train.setdefault(match[1], {})[self._iteration] = value
        elif match := _TEST_OUTPUT.search(line):
            self.test.setdefault(match[1], {})[self._test_iteration] = float(match[2])

    @property
    def diverged(self):
        """Whether the loss displayed last is no finite number."""
        return self.loss is not None and not math.isfinite(self.loss)


def of_run(run):
    """{fold: CaffeLog} of the folds of a Run that have been started."""
    return {fold: of_file(run.trained(fold).log) for fold in run.folds()}


def of_file(path):
    """The CaffeLog of a file; an empty one if there is none."""
    if not path.is_file():
        return CaffeLog()
    with open(path, encoding="utf-8", errors="replace") as lines:
        return CaffeLog(lines)
