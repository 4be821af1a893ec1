"""What a layer of a fork must compute: a case for torchcaffe, and the same in numpy.

There is no BVLC Caffe to compare with. The definitions are written from the papers and the forks'
public descriptions, in loops where that is clearest, and in float64, so that their gradients can be
taken numerically.
"""

import dataclasses

import numpy as np
from parity.case import Case, single


@dataclasses.dataclass
class Definition:
    """A Case and what it must give.

    case        its inputs, params and diffs are arrays
    tops        function(inputs, params) -> [arrays]; both as lists, of float64 arrays
    gradients   whether the numeric gradients of the tops are the layer's
    learned     for each parameter whether its gradient is numeric; a function(inputs, params) gives
                it otherwise
    """

    case: Case
    tops: object
    gradients: bool = True
    learned: tuple = ()


DEFINITIONS = {}
"""{name of the case: Definition}"""


def define(name, layer_type, inputs, parameters, tops, *, params=(), **more):
    """Register a Definition for a layer on `inputs` {blob: array}, with `params` [arrays].

    `more`: fields of Case, or `gradients`, `learned`; `constant`: inputs that get no gradient.
    """
    own = {field: more.pop(field) for field in ("gradients", "learned") if field in more}
    random = np.random.RandomState(len(DEFINITIONS))
    inputs = {blob: np.asarray(array, np.float64) for blob, array in inputs.items()}
    params = [np.asarray(array, np.float64) for array in params]
    results = tops(list(inputs.values()), params)
    names = [f"top{place}" for place in range(len(results))]
    case = single(
        layer_type,
        {blob: array.astype(np.float32) for blob, array in inputs.items()},
        parameters,
        tops=names,
        params={("layer", place): array for place, array in enumerate(params)},
        diffs={
            top: random.standard_normal(np.shape(result)) for top, result in zip(names, results)
        },
        without_gradient=tuple(more.pop("constant", ())),
        backward=own.get("gradients", True),
        **more,
    )
    assert name not in DEFINITIONS
    DEFINITIONS[name] = Definition(case, tops, **own)


def numeric(function, arrays, place, diffs, step=1e-4):
    """The gradient of sum(diff * top) by arrays[place], by central differences."""
    gradient = np.zeros_like(arrays[place])
    for index in np.ndindex(gradient.shape):
        sides = []
        for move in (step, -step):
            moved = [array.copy() for array in arrays]
            moved[place][index] += move
            sides.append(sum((diff * top).sum() for diff, top in zip(diffs, function(moved))))
        gradient[index] = (sides[0] - sides[1]) / (2 * step)
    return gradient
