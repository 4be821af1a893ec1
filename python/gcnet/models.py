"""Models: all that training, evaluation and reports know about a net, and the list of them.

A method (gcnet.methods) registers its models and what is published of them; the rest of gcnet takes
a Model by the name in run.json and asks it, and never compares that name with another.
"""

from dataclasses import dataclass, field
from pathlib import Path

from gcnet.train.programs import Alternating, CaffeTrain
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT

PROTOTXT = ROOT / "prototxt"

PROBABILITIES = "probabilities"
"""The blob of every deploy net that holds the classes' probabilities, N x C."""

FEATURES = "classifier/fc1"
"""The first fully connected layer of the classifiers, after its ReLU."""


@dataclass(frozen=True)
class Pictures:
    """The paper's figure of what a net makes of a test image, drawn for each run.

    `rows`: {caption: image blob, N x 1 x 64 x 64 in [0, 1]}; the input stands above them.
    """

    title: str
    file: str
    rows: dict


@dataclass(frozen=True)
class Model:
    """A net with its training, by the `name` that people type and `solver_<name>.prototxt` has.

    The net has Data layers `data` for both phases and an InnerProduct `classifier/fc2`, whose
    number of outputs is filled in; its deploy net takes the blob `image` (and `reference`, if it is
    shown one) and gives `probabilities`.

    title            for people
    folder           of the solver, the net and the deploy net
    program          what trains it (gcnet.train.programs)
    shown_reference  whether a test shows it the person's real reference beside the image
    features         the blob of its representation, float32 N x C
    generated        the blob of the reference that it generates, N x 1 x 64 x 64; None: none
    pictures         of what it makes of a test image; None: none
    starts_from      names of the weights that an experiment starts it from (gcnet.train.encoders)
    published        {title of a published table: accuracy in percent}
    is_baseline      whether the others of a table are compared with it
    remarks          {"accuracy" or a class: a remark on its numbers, for the notes of tables}
    former_blobs     {blob: what the deploy nets of older runs call it}
    """

    name: str
    title: str
    folder: Path = PROTOTXT
    program: CaffeTrain | Alternating = CaffeTrain()
    shown_reference: bool = False
    features: str = FEATURES
    generated: str | None = None
    pictures: Pictures | None = None
    starts_from: tuple = ()
    published: dict = field(default_factory=dict)
    is_baseline: bool = False
    remarks: dict = field(default_factory=dict)
    former_blobs: dict = field(default_factory=dict)

    @property
    def image_blobs(self):
        """The blobs that are images, each once."""
        blobs = [] if self.generated is None else [self.generated]
        return list(
            dict.fromkeys([*blobs, *(self.pictures.rows.values() if self.pictures else ())])
        )


_registered = []


def register(*models):
    """Add models, in the order of tables. Raises ValueError for a name that is taken."""
    for model in models:
        if model.name in names():
            raise ValueError(f"a model {model.name} is registered already")
        _registered.append(model)


def names():
    """The names of all models, in the order of tables."""
    return [model.name for model in _registered]


def get(name):
    """The Model of this name. Raises InputError if there is none."""
    for model in _registered:
        if model.name == name:
            return model
    raise InputError(f"no model {name!r}; there are {', '.join(names())}")


def those(condition):
    """The Models for which `condition(model)` is true, in the order of tables."""
    return [model for model in _registered if condition(model)]


def title(name):
    """A model's title; another method is called as it is."""
    return next((model.title for model in _registered if model.name == name), name)


def in_order(runs, model_of):
    """`runs` in the order of their models; `model_of(run)` is a Model."""
    return sorted(runs, key=lambda run: names().index(model_of(run).name))
