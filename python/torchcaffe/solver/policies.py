"""The learning rate of an iteration (`lr_policy`)."""

import difflib
import math

from torchcaffe.errors import CaffeError


def fixed(p, iteration, step):
    return p.base_lr


def stepped(p, iteration, step):
    return p.base_lr * p.gamma**step


def exp(p, iteration, step):
    return p.base_lr * p.gamma**iteration


def inv(p, iteration, step):
    return p.base_lr * (1 + p.gamma * iteration) ** -p.power


def poly(p, iteration, step):
    return p.base_lr * (1 - iteration / p.max_iter) ** p.power


def sigmoid(p, iteration, step):
    exponent = -p.gamma * (iteration - p.stepsize)
    # Beyond this the rate is below what a float32 holds.
    return p.base_lr / (1 + math.exp(exponent)) if exponent < 700 else 0.0


POLICIES = {
    "fixed": fixed, "step": stepped, "exp": exp, "inv": inv, "multistep": stepped, "poly": poly,
    "sigmoid": sigmoid,
}  # fmt: skip
"""{lr_policy: function(SolverParameter, iteration, current step) -> rate}"""


def check(parameter):
    """Raise CaffeError for an unknown policy, or a field that the policy cannot use."""
    name = parameter.lr_policy
    if name not in POLICIES:
        near = difflib.get_close_matches(name, POLICIES, 1)
        raise CaffeError(
            f"solver: no lr_policy {name!r}; "
            + (f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(POLICIES)}")
        )
    if name in ("step", "sigmoid") and parameter.stepsize <= 0:
        raise CaffeError(f"solver: lr_policy {name!r} needs a stepsize above 0")
    if name in ("step", "exp", "inv", "multistep", "sigmoid") and parameter.gamma < 0:
        raise CaffeError(f"solver: gamma is {parameter.gamma:g}; give 0 or more")
    if name == "poly" and parameter.max_iter <= 0:
        raise CaffeError("solver: lr_policy 'poly' needs a max_iter above 0")


def next_step(parameter, iteration, step):
    """The number of the step that `iteration` is in, where `step` was the one before.

    As in BVLC Caffe: `multistep` goes on by one step an iteration at most.
    """
    if parameter.lr_policy == "step":
        return iteration // parameter.stepsize
    if parameter.lr_policy == "multistep":
        values = parameter.stepvalue
        return step + (step < len(values) and iteration >= values[step])
    return step


def rate(parameter, iteration, step):
    """The learning rate; `step` is what `next_step` gave for this iteration.

    Where real numbers have none (0 to a negative power, a negative to a fraction; both are poly
    beyond max_iter or inv with a negative base), it is inf or nan, as in C.
    """
    try:
        value = POLICIES[parameter.lr_policy](parameter, iteration, step)
    except OverflowError:
        return math.inf
    except ZeroDivisionError:
        return math.inf
    return math.nan if isinstance(value, complex) else value
