"""A table of runs, and how a run's title, folds, start and numbers are told in it."""

import itertools
from collections import Counter
from dataclasses import dataclass

from gcnet.engine import TITLES
from gcnet_base.protocol import FOLDS

NONE = "-"
"""In a cell for which there is no number."""


@dataclass(frozen=True)
class Table:
    """Cells as text for people, and `content`, the same in full precision for JSON.

    `settings` are those that all rows share, {name: value}; `columns` may have line breaks.
    """

    heading: str
    settings: dict
    columns: tuple
    rows: list
    notes: list
    content: list

    @property
    def alignment(self):
        """A letter for each column: l of words, r of numbers."""
        return "".join("l" if column in _WORDS else "r" for column in self.columns)


_WORDS = ("model", "method", "trained on", "tested on", "run folder")


def title_of(one):
    return one.run.model.title


def source(one):
    """What all rows of JSON say of where their numbers are from."""
    return {
        "model": title_of(one),
        "net": one.run.settings.net,
        "run": one.name,
        "folds": sorted(map(int, one.results["folds"])),
        "trained_on": {"index": one.run.settings.index, "sha256": one.run.settings.index_sha256},
        "weights": one.run.settings.weights,
        "revision": one.run.revision,
    }


def mean_text(count):
    """ "61.20 ± 3.10", or without the deviation for a single fold."""
    deviation = "" if count["deviation"] is None else f" ± {count['deviation']:.2f}"
    return f"{count['mean']:.2f}{deviation}"


def interval_text(interval):
    """ " [58.1, 64.3]", or nothing where there is no interval."""
    return "" if interval is None else f" [{interval[0]:.1f}, {interval[1]:.1f}]"


def generation_text(generation):
    return (
        f"half squared error {generation['generated']:.1f} a face from the real neutral one; the "
        f"image itself has {generation['unchanged']:.1f}"
    )


def number_text(value):
    return NONE if value is None else f"{value:.2f}"


def folds_text(one):
    folds = sorted(map(int, one.results["folds"]))
    if len(folds) == FOLDS:
        return f"all {FOLDS}"
    return f"fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))} of {FOLDS}"


def starts(group):
    """A note on the weights that the nets start from; none if all start from random ones."""
    starts = {}
    for one in group:
        starts.setdefault(_start(one, group), []).append(title_of(one))
    if list(starts) == ["random"]:
        return []
    told = "; ".join(
        f"{start} ({', '.join(dict.fromkeys(models))})" for start, models in starts.items()
    )
    alike = "Nets start from" if _start_alike(group) else "The rows do not start alike: from"
    return [f"{alike} {told}"]


def _start(one, group):
    """The weights of a run for people, told apart by digest where a path has had two contents."""
    contents = Counter(path for path, _ in {item for o in group for item in _weights(o)})
    return ", ".join(
        path + (f" (SHA-256 {digest[:12]})" if contents[path] > 1 else "")
        for path, digest in one.run.settings.weights.items()
    ) or "random"  # fmt: skip


def _weights(one):
    return frozenset(one.run.settings.weights.items())


def _start_alike(group):
    """Whether all start from the same weights; a net of fewer parts may lack one file."""
    by_parts = {}
    for one in group:
        by_parts.setdefault(frozenset(one.run.model.starts_from), set()).add(_weights(one))
    if any(len(starts) > 1 for starts in by_parts.values()):
        return False
    by_size = sorted(
        ((parts, *starts) for parts, starts in by_parts.items()), key=lambda p: len(p[0])
    )
    return all(
        fewer <= more and len(more - fewer) <= len(more_parts - fewer_parts)
        for (fewer_parts, fewer), (more_parts, more) in itertools.pairwise(by_size)
    )


def settings_of_training(one):
    settings = one.run.settings
    return {
        "classes": settings.classes,
        "iterations": settings.max_iter,
        "batch": settings.batch,
        "copies": settings.copies,
        "seed": settings.seed,
        "engine": TITLES[settings.engine],
        "prototxt": settings.prototxt,
    }


def settings_of(one):
    settings = one.run.settings
    index = {"index": settings.index, "index_sha256": settings.index_sha256}
    return {**index, **settings_of_training(one)}
