"""What each solver type makes of a gradient: BVLC Caffe's formulas, over all parameters at once.

An update takes lists of tensors, one of each learnable parameter: `gradients` (clipped, normalised
and regularized; it may write into them), `history`, and `rates`, the learning rate of each. It
returns the values to take off the parameters; whoever keeps them must copy them, as they may be the
history itself. The history lives in solverstates: its order is that of BVLC Caffe.
"""

import difflib
import math

import torch

from torchcaffe.errors import CaffeError

UPDATES = {}
"""{type in solver prototxt: its class}"""


def update(*types):
    """Register a class for its names; the first is BVLC's, for solver prototxt."""

    def register(cls):
        for name in types:
            UPDATES[name] = cls
        return cls

    return register


def make(parameter):
    """The Update for a SolverParameter; raises CaffeError for a type that there is not."""
    if parameter.type not in UPDATES:
        near = difflib.get_close_matches(parameter.type, UPDATES, 1, 0.4)
        raise CaffeError(
            f"solver: no type {parameter.type!r}; "
            + (f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(UPDATES)}")
        )
    return UPDATES[parameter.type](parameter)


class Update:
    """`histories`: how many history blobs a parameter has; first ones stand before second ones."""

    histories = 1

    def __init__(self, parameter):
        self.parameter = parameter

    def __call__(self, gradients, history, rates, iteration):
        raise NotImplementedError

    def _check(self, field, right, expected):
        if not right:
            value = getattr(self.parameter, field)
            raise CaffeError(f"solver: {field} is {value:g}; give one {expected}")

    def _no_momentum(self):
        if self.parameter.momentum:
            raise CaffeError(
                f"solver: momentum is {self.parameter.momentum:g}, but {self.parameter.type} has "
                "none; remove it"
            )


@update("SGD")
class SGD(Update):
    """h = momentum h + rate g; takes off h."""

    def __call__(self, gradients, history, rates, iteration):
        torch._foreach_mul_(history, self.parameter.momentum)
        add_scaled(history, gradients, rates)
        return history


@update("Nesterov")
class Nesterov(Update):
    """h' = momentum h + rate g; takes off (1 + momentum) h' - momentum h."""

    def __call__(self, gradients, history, rates, iteration):
        momentum = self.parameter.momentum
        # rate g + momentum h' is the same, and needs no copy of the old history.
        torch._foreach_mul_(gradients, rates)
        torch._foreach_mul_(history, momentum)
        torch._foreach_add_(history, gradients)
        torch._foreach_add_(gradients, history, alpha=momentum)
        return gradients


@update("AdaGrad")
class AdaGrad(Update):
    """h = h + g^2; takes off rate g / (sqrt(h) + delta)."""

    def __init__(self, parameter):
        super().__init__(parameter)
        self._no_momentum()

    def __call__(self, gradients, history, rates, iteration):
        torch._foreach_addcmul_(history, gradients, gradients)
        return _divided_by_root(gradients, history, rates, self.parameter.delta)


@update("RMSProp")
class RMSProp(Update):
    """h = rms_decay h + (1 - rms_decay) g^2; takes off rate g / (sqrt(h) + delta)."""

    def __init__(self, parameter):
        super().__init__(parameter)
        self._no_momentum()
        self._check("rms_decay", 0 <= parameter.rms_decay < 1, "from 0 to below 1")

    def __call__(self, gradients, history, rates, iteration):
        decay = self.parameter.rms_decay
        torch._foreach_mul_(history, decay)
        torch._foreach_addcmul_(history, gradients, gradients, 1 - decay)
        return _divided_by_root(gradients, history, rates, self.parameter.delta)


@update("AdaDelta")
class AdaDelta(Update):
    """With m = momentum: h = m h + (1 - m) g^2; u = g sqrt((k + delta) / (h + delta));
    k = m k + (1 - m) u^2; takes off rate u. All h stand before all k."""

    histories = 2

    def __init__(self, parameter):
        super().__init__(parameter)
        # Beyond, the root would be of negative numbers.
        self._check("momentum", 0 <= parameter.momentum <= 1, "from 0 to 1")

    def __call__(self, gradients, history, rates, iteration):
        momentum, delta = self.parameter.momentum, self.parameter.delta
        squares, updates = history[: len(gradients)], history[len(gradients) :]
        torch._foreach_mul_(squares, momentum)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - momentum)
        factors = torch._foreach_add(updates, delta)
        torch._foreach_div_(factors, torch._foreach_add(squares, delta))
        torch._foreach_sqrt_(factors)
        torch._foreach_mul_(gradients, factors)
        torch._foreach_mul_(updates, momentum)
        torch._foreach_addcmul_(updates, gradients, gradients, 1 - momentum)
        torch._foreach_mul_(gradients, rates)
        return gradients


@update("Adam")
class Adam(Update):
    """With b1 = momentum, b2 = momentum2, t = iteration + 1: m = b1 m + (1 - b1) g;
    v = b2 v + (1 - b2) g^2; takes off rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + delta).
    All m stand before all v. delta is added after the correction, unlike in Adam's paper."""

    histories = 2

    def __init__(self, parameter):
        super().__init__(parameter)
        for field in ("momentum", "momentum2"):
            self._check(field, 0 <= getattr(parameter, field) < 1, "from 0 to below 1")

    def __call__(self, gradients, history, rates, iteration):
        b1, b2 = self.parameter.momentum, self.parameter.momentum2
        means, squares = history[: len(gradients)], history[len(gradients) :]
        t = iteration + 1
        correction = math.sqrt(1 - b2**t) / (1 - b1**t)
        torch._foreach_mul_(means, b1)
        torch._foreach_add_(means, gradients, alpha=1 - b1)
        torch._foreach_mul_(squares, b2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - b2)
        rates = [rate * correction for rate in rates]
        return _divided_by_root(means, squares, rates, self.parameter.delta)


def _divided_by_root(values, squares, rates, delta):
    """rate value / (sqrt(square) + delta) as new tensors."""
    divisors = torch._foreach_sqrt(squares)
    torch._foreach_add_(divisors, delta)
    results = torch._foreach_div(values, divisors)
    torch._foreach_mul_(results, rates)
    return results


def add_scaled(targets, values, factors):
    """target += factor value, an operation for each distinct factor."""
    for factor in dict.fromkeys(factors):
        places = [place for place, each in enumerate(factors) if each == factor]
        torch._foreach_add_(
            [targets[place] for place in places], [values[place] for place in places], alpha=factor
        )
