"""How sure an accuracy is, and whether one model is better than another on the same test images.

The images of one person depend on each other: a net that reads a face well reads the frames before
it well, too. Wilson's interval and McNemar's test count every image as independent evidence, so
they come out too sure. Here people are drawn instead: a bootstrap over subjects, which takes all of
a subject's images together each time (percentile method). Two models are compared on the same draws
of the same people, so what makes a person easy or hard for both does not count. For 80 simulated
people of 6 images each (tests/gcnet/evaluate/test_statistics.py) the interval holds the truth 95
times in 100, one that counts images 78 times.

What this does not tell: how much another random start or another draw of the augmentation would
change the nets themselves. With few subjects the interval is too narrow, and if every subject has
the same accuracy (100 %, say) it has no width at all.
"""

import numpy as np

from gcnet.evaluate.evaluated import by_sequence

DRAWS = 10_000
SEED = 1
"""Of the draws: the same predictions always give the same interval."""
CONFIDENCE = 95
"""Per cent."""

_AT_A_TIME = 2_000_000
"""Subjects drawn at a time, which bounds the memory (databases of some 10,000 subjects exist)."""


def interval(predictions):
    """[low, high] of the accuracy over all images, in percent; None for a single subject."""
    draws = _draws(predictions.records, predictions.correct)
    return None if draws is None else _middle(draws)


def compare(first, second):
    """How much better `first` is than `second`, two Predictions of the same images, by both counts.

    Returns {"frame", "sequence": {"difference": percentage points, "interval": [low, high],
    "p": two-sided}}: p is twice the share of the draws on the other side of 0, no less than one
    draw. Interval and p are None for a single subject. Raises ValueError if `why_not` says why.
    """
    problem = why_not(first, second)
    if problem:
        raise ValueError(problem)
    return {
        "frame": _difference(first, second),
        "sequence": _difference(by_sequence(first), by_sequence(second)),
    }


def why_not(first, second):
    """Why two Predictions cannot be compared in pairs, for people; "" if they can."""
    if first.class_names != second.class_names:
        return "other classes"
    folds = [sorted(set(predictions.folds.tolist())) for predictions in (first, second)]
    if folds[0] != folds[1]:
        return "other folds"
    if _images(first) != _images(second):
        return "other test images"
    return ""


def _images(predictions):
    return [
        (fold, record["image"], label)
        for fold, record, label in zip(
            predictions.folds.tolist(), predictions.records, predictions.labels.tolist(),
            strict=True,
        )
    ]  # fmt: skip


def _difference(first, second):
    gains = first.correct.astype(int) - second.correct
    draws = _draws(first.records, gains)
    if draws is None:
        spread, p = None, None
    else:
        one_side = min(np.mean(draws <= 0), np.mean(draws >= 0))
        spread, p = _middle(draws), float(np.clip(2 * one_side, 1 / DRAWS, 1))
    return {"difference": float(100 * gains.mean()), "interval": spread, "p": p}


def _middle(draws):
    outside = (100 - CONFIDENCE) / 2
    return np.percentile(draws, [outside, 100 - outside]).tolist()


def _draws(records, values):
    """Mean of `values` (one for each record) in percent in each draw of subjects: float DRAWS.

    None if there is one subject only.
    """
    names, subject = np.unique([record["subject"] for record in records], return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.bincount(subject, weights=values)
    sizes = np.bincount(subject)
    generator = np.random.default_rng(SEED)
    rows = max(1, _AT_A_TIME // len(names))
    means = []
    for start in range(0, DRAWS, rows):
        drawn = generator.integers(len(names), size=(min(rows, DRAWS - start), len(names)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return 100 * np.concatenate(means)
