"""Intervals and comparisons: known answers, and simulated people of whom the truth is known."""

import os

import numpy as np
import pytest

from gcnet.evaluate import statistics
from gcnet.evaluate.evaluated import Predictions

NAMES = ("anger", "fear")
IMAGES = 6


def predictions(correct, subjects, folds=None):
    """Predictions of images of the class 0, right or wrong as `correct` says (bool N)."""
    correct = np.asarray(correct, bool)
    return Predictions(
        NAMES,
        [
            {"image": f"{i}.png", "subject": subject, "sequence": str(i)}
            for i, subject in enumerate(subjects)
        ],
        np.zeros(len(correct), int) if folds is None else np.asarray(folds),
        np.zeros(len(correct), int),
        np.where(correct[:, None], [0.9, 0.1], [0.2, 0.8]),
    )


def people(generator, count, easiness):
    """Subject names and bool right or wrong of `count` people's IMAGES images each.

    `easiness` draws each person's own accuracy, so images of one person depend on each other.
    """
    subjects = np.repeat([f"S{i:03d}" for i in range(count)], IMAGES)
    right = generator.random((count, IMAGES)) < easiness(generator, count)[:, None]
    return subjects, right.ravel()


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """People are good or bad as a whole, which an interval over images would take no account of."""
    generator = np.random.default_rng(int(os.environ["TEST_SEED"]))
    covered, over_images = 0, 0
    times, truth = 200, 60.0
    for _ in range(times):
        subjects, right = people(generator, 80, lambda g, n: g.beta(1.2, 0.8, n))
        low, high = statistics.interval(predictions(right, subjects))
        covered += low <= truth <= high
        half = 196 * np.sqrt(right.mean() * (1 - right.mean()) / len(right))
        over_images += abs(100 * right.mean() - truth) <= half
    # Of 200 at 95 %: fewer than 177 or none missed would happen once in 10,000 times.
    assert 177 <= covered < times
    assert over_images < covered - 10


def test_the_difference_of_two_models_is_found_and_not_invented():
    generator = np.random.default_rng(int(os.environ["TEST_SEED"]))
    alike, better = [], []
    for _ in range(50):
        subjects, right = people(generator, 60, lambda g, n: np.full(n, 0.6))
        second, same, improved = (
            predictions(generator.random(len(right)) < share, subjects) for share in (0.6, 0.6, 0.8)
        )
        alike.append(statistics.compare(same, second)["frame"]["p"] < 0.05)
        better.append(statistics.compare(improved, second)["frame"]["p"] < 0.05)
    assert sum(alike) <= 10
    assert sum(better) == 50


def test_identical_models_do_not_differ():
    subjects, right = people(np.random.default_rng(0), 10, lambda g, n: g.random(n))
    one = predictions(right, subjects)
    for count in statistics.compare(one, one).values():
        assert count == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}


def test_a_model_that_is_better_for_everybody():
    subjects = np.repeat(["A", "B", "C", "D"], 2)
    worse = predictions([True, False] * 4, subjects)
    better = predictions([True, True] * 4, subjects)
    found = statistics.compare(better, worse)["frame"]
    assert found == {"difference": 50.0, "interval": [50.0, 50.0], "p": 1 / statistics.DRAWS}
    assert statistics.compare(worse, better)["frame"]["difference"] == -50.0


def test_frames_and_sequences_are_counted_apart():
    """One sequence of three frames: the model that is right on two of them has the sequence."""

    def of(probabilities):
        records = [
            {"image": f"{s}{i}.png", "subject": s, "sequence": "1"} for s in "AB" for i in range(3)
        ]
        first = np.array(probabilities * 2)
        return Predictions(
            NAMES, records, np.zeros(6, int), np.zeros(6, int), np.stack([first, 1 - first], 1)
        )

    found = statistics.compare(of([0.9, 0.9, 0.4]), of([0.1, 0.1, 0.6]))
    assert found["frame"]["difference"] == pytest.approx(100 / 3)
    assert found["sequence"]["difference"] == 100.0


def test_one_subject_tells_nothing_of_others():
    one = predictions([True, False, True], ["A", "A", "A"])
    other = predictions([True, True, True], ["A", "A", "A"])
    assert statistics.interval(one) is None
    compared = statistics.compare(other, one)["frame"]
    assert compared["difference"] == pytest.approx(100 / 3)
    assert compared["interval"] is None and compared["p"] is None


def test_the_same_predictions_give_the_same_numbers(monkeypatch):
    subjects, right = people(np.random.default_rng(1), 30, lambda g, n: g.random(n))
    one = predictions(right, subjects)
    at_once = statistics.interval(one)
    assert statistics.interval(one) == at_once
    monkeypatch.setattr(statistics, "_AT_A_TIME", 1000)
    assert statistics.interval(one) == at_once


def test_only_the_same_images_in_the_same_folds_are_compared():
    one = predictions([True, False], ["A", "B"])
    assert statistics.why_not(one, one) == ""
    assert statistics.why_not(one, predictions([True, False], "AB", folds=[0, 1])) == "other folds"
    more = predictions([True, False, True], ["A", "B", "B"])
    assert statistics.why_not(one, more) == "other test images"
    with pytest.raises(ValueError, match="other test images"):
        statistics.compare(one, more)
