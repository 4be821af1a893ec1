"""The numbers of a test.

How accuracy is counted (the paper does not say, so both counts are given):

by frame      every labelled test image is one sample
by sequence   the labelled images of a sequence that have the same label are one sample; its
              probabilities are the mean of theirs. In 8 classes a sequence's neutral first frame
              is therefore another sample than its apex frames.

Recalls and the confusion matrix count frames. The mean over folds weighs every fold alike (what
"averaged accuracy" of the tables is read as); the pooled accuracy weighs every sample alike.
Deviations are of a sample (n - 1). A fold's result is that of its last iteration: no snapshot is
picked by its test accuracy.

A model that is shown the reference compares the face with it. In 8 classes a neutral frame is its
own reference, so the distance is 0 whatever the face: such a recall of neutral means little.
"""

import numpy as np

from gcnet.evaluate import statistics
from gcnet.evaluate.evaluated import by_sequence

COUNTS = ("frame", "sequence")


def confusion(predictions):
    """C x C counts: row the true class, column the predicted one."""
    size = len(predictions.class_names)
    counts = np.zeros((size, size), int)
    np.add.at(counts, (predictions.labels, predictions.predicted), 1)
    return counts


def scores(predictions):
    """The numbers of results.json: see the module for how they are counted.

    Accuracies are in percent. A class without test images has recall None, a deviation over a
    single fold is None.
    """
    sequences = by_sequence(predictions)
    folds = {}
    for fold in sorted(set(predictions.folds.tolist())):
        folds[fold] = {}
        for count, samples in zip(COUNTS, (predictions, sequences), strict=True):
            correct = samples.correct[samples.folds == fold]
            folds[fold][count] = {"accuracy": _percent(correct), "samples": len(correct)}
    counts = confusion(predictions)
    totals = counts.sum(axis=1)
    return {
        "folds": folds,
        **{
            count: {
                "mean": float(np.mean([fold[count]["accuracy"] for fold in folds.values()])),
                "deviation": _deviation([fold[count]["accuracy"] for fold in folds.values()]),
                "pooled": _percent(samples.correct),
                "interval": statistics.interval(samples),
                "samples": len(samples.labels),
            }
            for count, samples in zip(COUNTS, (predictions, sequences), strict=True)
        },
        "recall": {
            name: 100.0 * counts[i, i] / totals[i] if totals[i] else None
            for i, name in enumerate(predictions.class_names)
        },
        "confusion": counts.tolist(),
        "chance": 100.0 / len(predictions.class_names),
        "largest_class": float(100.0 * totals.max() / totals.sum()),
    }


def _percent(correct):
    return float(100.0 * np.mean(correct))


def _deviation(values):
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
