"""Which faces of an index become which records of the train and test LMDB.

Of a fold: every image whose label is one of the classes. So with "6" or "7" classes neutral images
only serve as references. The folds are drawn over all subjects of the index, so they are the same
for every set of classes. A face without a reference can be tested, not trained on: in the test LMDB
it stands in as its own reference. Only the metric-learning CNN and the losses read the reference;
the accuracy of the CNN and of the GCNets does not depend on it.

Of identities, for pre-training: every subject is a class, whatever the labels; references are not
used. identity/fc2 in prototxt/pretrain_identity.prototxt needs an output for each; its 10,575 are
all of CASIA-WebFace.
"""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from gcnet_base.errors import InputError
from gcnet_base.protocol import CLASSES, ascending, folds


@dataclass(frozen=True)
class Part:
    """The records of one LMDB.

    `rows`: an index row for each sample; each stands for `copies` + 1 records, copy 0 the face as
    it is. `order`: int64, for each key number of the record sample * (copies + 1) + copy.
    """

    rows: list
    copies: int
    order: np.ndarray

    def __iter__(self):
        """(row, copy) of each record in key order."""
        for start in range(0, len(self.order), 10_000):
            for number in self.order[start : start + 10_000].tolist():
                sample, copy = divmod(number, self.copies + 1)
                yield self.rows[sample], copy


@dataclass(frozen=True)
class Plan:
    """What is built. `inputs`: all that decides it beside index, faces, copies and seed, for the
    description. `class_names` by class id; `class_column`: the attribute of a row that holds one.
    `pairs`: whether a record has a reference. `parts`: {name of the LMDB: Part}. `left_out`:
    images of subjects with too few, {subject: images}.
    """

    inputs: dict
    class_names: tuple
    class_column: str
    pairs: bool
    parts: dict
    left_out: dict

    def class_name(self, row):
        return getattr(row, self.class_column)

    def counts(self, part):
        """{"records", "samples" of each class, "subjects"} of a part, which may be missing."""
        if part not in self.parts:
            return {"records": 0, "samples": dict.fromkeys(self.class_names, 0), "subjects": []}
        rows = self.parts[part].rows
        samples = Counter(map(self.class_name, rows))
        return {
            "records": len(self.parts[part].order),
            "samples": {name: samples[name] for name in self.class_names},
            "subjects": sorted({row.subject for row in rows}),
        }


def of_fold(table, fold, classes, copies, seed):
    """The Plan of one fold of an index; fold None means that every image is for testing.

    Raises InputError: too few subjects for folds; no image to test on; a class has no training
    sample; a training face has no reference.
    """
    names = CLASSES[classes]
    test_subjects, train_subjects = _subjects(table, fold)
    rows = {
        part: [row for row in table.rows if row.subject in subjects and row.label in names]
        for part, subjects in (("train", train_subjects), ("test", test_subjects))
    }
    _check_fold(table, fold, names, rows["train"], rows["test"])
    parts = {"test": Part(rows["test"], 0, np.arange(len(rows["test"])))}
    if fold is not None:
        parts = {"train": _shuffled(rows["train"], copies, seed), **parts}
    return Plan({"fold": fold, "classes": classes}, names, "label", True, parts, {})


def of_identities(table, hold_out, least, copies, seed):
    """The Plan in which each subject with `least` images or more is a class, in ascending order.

    `hold_out` images of each, chosen by `seed`, are for testing. Raises InputError: no subject has
    so many images, or none would be left to train on.
    """
    if least <= hold_out:
        raise InputError(
            f"of subjects with {least} images, {hold_out} held out leave none to train on; give "
            f"--least {hold_out + 1} or more"
        )
    subjects = defaultdict(list)
    for row in table.rows:
        subjects[row.subject].append(row)
    left_out = {name: len(rows) for name, rows in subjects.items() if len(rows) < least}
    names = tuple(ascending(subjects.keys() - left_out.keys()))
    if not names:
        raise InputError(
            f"{table.path}: none of its {len(subjects)} subjects has {least} images; give a "
            "smaller --least or more images"
        )
    train, test = [], []
    for name in names:
        chosen = sorted(subjects[name], key=lambda row: _lot(seed, row))[:hold_out]
        held_out = {row.image for row in chosen}
        for row in subjects[name]:
            (test if row.image in held_out else train).append(row)
    # Shuffled, too: Caffe's test phase reads some batches, which are to show many identities.
    parts = {"train": _shuffled(train, copies, seed), "test": _shuffled(test, 0, seed)}
    inputs = {"hold_out": hold_out, "least": least}
    return Plan(inputs, names, "subject", False, parts, left_out)


def _lot(seed, row):
    """Decides which images are held out; independent of all other images."""
    return hashlib.sha256(f"{seed}\n{row.image}\nhold out".encode()).digest()


def _shuffled(rows, copies, seed):
    order = np.random.default_rng(seed).permutation(len(rows) * (copies + 1))
    return Part(rows, copies, order)


def _subjects(table, fold):
    """(test subjects, training subjects) as sets."""
    everybody = {row.subject for row in table.rows}
    if fold is None:
        return everybody, set()
    try:
        test = set(folds(everybody)[fold])
    except InputError as error:
        raise InputError(f"{table.path}: {error}; or use it as --test-only") from None
    return test, everybody - test


def _check_fold(table, fold, names, train_rows, test_rows):
    if not test_rows:
        where = "" if fold is None else f" of fold {fold}'s test subjects"
        raise InputError(
            f"{table.path}: no image{where} has a label to test on; "
            f"fill in the column label with {', '.join(names)}"
        )
    if fold is None:
        return
    shared = {row.subject for row in train_rows} & {row.subject for row in test_rows}
    if shared:
        raise InputError(f"{table.path}: fold {fold} trains and tests {', '.join(sorted(shared))}")
    missing = [name for name in names if name not in {row.label for row in train_rows}]
    if missing:
        raise InputError(
            f"{table.path}: fold {fold} has no training image of {', '.join(missing)}; "
            "add some of other subjects or choose other --classes"
        )
    for row in train_rows:
        if not row.reference:
            raise table.error(
                row,
                f"{row.image} has no reference, so it cannot be trained on; "
                "give a neutral image of its subject, or use the index as --test-only",
            )
