"""The evaluation protocol of the paper: which classes there are and who is tested in which fold.

Section IV-A: "individuals are grouped by sampling in ID ascending order with ten even
intervals", and each group is the test set once. The paper numbers no classes; they are in
alphabetical order here, with neutral last, so that a net's first seven outputs mean the same
with and without neutral and `label == classes - 1` asks for neutral in an 8-class net.
"""

import re

from gcnet_base.errors import InputError

NEUTRAL = "neutral"
CONTEMPT = "contempt"
EXPRESSIONS = ("anger", CONTEMPT, "disgust", "fear", "happiness", "sadness", "surprise")

_WITHOUT_CONTEMPT = tuple(name for name in EXPRESSIONS if name != CONTEMPT)

#: Name of a set of classes -> class names by class id. "6" are those of MMI and Oulu-CASIA, which
#: have no contempt; "7" and "8" (with neutral) are CK+'s, Tables II and III; "6+neutral" are the
#: seven of RAF-DB, FER2013 and SFEW, Table VI.
CLASSES = {
    "6": _WITHOUT_CONTEMPT,
    "6+neutral": (*_WITHOUT_CONTEMPT, NEUTRAL),
    "7": EXPRESSIONS,
    "8": (*EXPRESSIONS, NEUTRAL),
}

#: Every label that an index may give to an image.
LABELS = CLASSES["8"]

FOLDS = 10


def ascending(subjects):
    """Distinct subject IDs (strings) in ascending order, numbers inside them read as numbers.

    So "S5" comes before "S10" and "2" before "10": databases that pad their numbers (CK+'s S005)
    get the same order as by letters, and those that do not (MMI, Oulu-CASIA) get what "ascending"
    means to a person.
    """

    def key(subject):
        parts = re.split(r"(\d+)", subject)
        # re.split alternates: text, digits, text ...
        parts[1::2] = map(int, parts[1::2])
        return parts, subject

    return sorted(set(subjects), key=key)


def folds(subjects, k=FOLDS):
    """The test subjects of each of `k` folds, numbered from 0: a list of `k` lists of IDs.

    Fold `f` holds every `k`-th subject in ascending order, starting at the `f`-th. Duplicates in
    `subjects` count once. Raises InputError if there are fewer subjects than folds.
    """
    ordered = ascending(subjects)
    if len(ordered) < k:
        raise InputError(f"{k} folds need at least {k} subjects, here are {len(ordered)}")
    return [ordered[start::k] for start in range(k)]
