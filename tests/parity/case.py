"""What a case of layer parity is, and how cases are made at random."""

import dataclasses
import random


@dataclasses.dataclass
class Case:
    """A net in which the layer under test stands, run by both engines with equal numbers.

    `net` is the text of `layer { ... }` blocks without inputs; `inputs` gives each input blob its
    shape or its values (an array), `params` the values of {(layer, place): array}; all that is not
    given is drawn from a normal distribution. After `forward` the outputs get `diffs` (or random
    gradients, or with `loss` what Caffe itself starts from) and `backward` runs. The whole is
    repeated `passes` times. `reshape` gives inputs new shapes after the net was built.
    `force_backward`, on unless given, has every input get a gradient. `memory`: (data, labels) for
    a MemoryData layer, which must be the first.
    """

    name: str
    net: str
    inputs: dict
    params: dict = dataclasses.field(default_factory=dict)
    diffs: dict = dataclasses.field(default_factory=dict)
    phase: str = "TRAIN"
    loss: bool = False
    backward: bool = True
    force_backward: bool = True
    without_gradient: tuple = ()
    passes: int = 1
    reshape: dict = dataclasses.field(default_factory=dict)
    random_seed: int | None = None
    memory: tuple = ()


class Chance(random.Random):
    """Random choices for shapes and parameters."""

    def shape(self, axes, least=1, most=6):
        return tuple(self.randint(least, most) for _ in range(axes))

    def maybe(self, text, probability=0.5):
        """`text` or nothing."""
        return text if self.random() < probability else ""

    def flag(self):
        """`true` or `false`, as prototxt spells them."""
        return self.choice(("true", "false"))


CASES = {}
"""{type of a layer: function(Chance, number) -> Case}"""


def cases(layer_type, count=8):
    """Register a maker of random cases for a layer type; `count` of them are run."""

    def register(function):
        CASES[layer_type] = (function, count)
        return function

    return register


def single(layer_type, inputs, parameters="", tops=("top",), **more):
    """A Case of one layer called `layer`, on `inputs` {blob: shape or array} in their order."""
    bottoms = "  ".join(f'bottom: "{name}"' for name in inputs)
    top_text = "  ".join(f'top: "{name}"' for name in tops)
    net = f'layer {{ name: "layer"  type: "{layer_type}"  {bottoms}  {top_text}\n  {parameters} }}'
    return Case(layer_type, net, inputs, **more)
