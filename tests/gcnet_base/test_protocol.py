"""The paper's folds and class lists."""

import os
import random

import pytest

from gcnet_base.errors import InputError
from gcnet_base.protocol import CLASSES, EXPRESSIONS, ascending, folds

# As many as CK+ has labelled, with gaps in the numbers as CK+ has them.
SUBJECTS = [f"S{number:03d}" for number in [*range(5, 100), *range(100, 139), *range(501, 507)]]
SUBJECTS = [subject for position, subject in enumerate(SUBJECTS) if position % 7 != 3][:118]


def test_118_subjects_are_dealt_in_ascending_order_to_ten_folds():
    assert len(SUBJECTS) == 118
    shuffled = SUBJECTS * 3  # a subject of three images
    seed = int(os.environ["TEST_SEED"])
    print("seed", seed)
    random.Random(seed).shuffle(shuffled)

    parts = folds(shuffled)

    assert [len(part) for part in parts] == [12] * 8 + [11] * 2
    assert parts[0][:3] == [SUBJECTS[0], SUBJECTS[10], SUBJECTS[20]]
    assert parts[9] == SUBJECTS[9::10]
    assert sorted(subject for part in parts for subject in part) == SUBJECTS


def test_numbers_in_subject_ids_count_as_numbers():
    assert ascending(["S10", "S5", "S5"]) == ["S5", "S10"]
    assert ascending(["10", "2", "1"]) == ["1", "2", "10"]
    assert ascending(["P100", "Anna", "7", "P020"]) == ["7", "Anna", "P020", "P100"]
    assert ascending(["1", "01"]) == ascending(["01", "1"])


def test_fewer_subjects_than_folds_is_an_error():
    with pytest.raises(InputError, match="at least 10 subjects, here are 9"):
        folds(SUBJECTS[:9])


def test_class_ids():
    assert CLASSES["7"] == EXPRESSIONS == tuple(sorted(EXPRESSIONS))
    assert CLASSES["8"] == (*EXPRESSIONS, "neutral")
    assert len(CLASSES["6"]) == 6
    assert not {"contempt", "neutral"} & set(CLASSES["6"])
    assert CLASSES["6+neutral"] == (*CLASSES["6"], "neutral")
