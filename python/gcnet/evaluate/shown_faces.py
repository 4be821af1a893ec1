"""Which test faces stand for all in a figure that has room for a few."""

FACES = 8
"""Columns of the figures of faces."""


def spread(records):
    """Places of up to FACES records: of many classes, then sequences, then subjects.

    `records` are dicts with label, sequence and subject. Ascending by the order in which they were
    chosen.
    """
    chosen, labels, sequences, subjects = [], [], [], []
    while len(chosen) < min(FACES, len(records)):
        best = min(
            (i for i in range(len(records)) if i not in chosen),
            key=lambda i: (
                labels.count(records[i]["label"]), sequences.count(_sequence(records[i])),
                subjects.count(records[i]["subject"]), i,
            ),
        )  # fmt: skip
        chosen.append(best)
        labels.append(records[best]["label"])
        sequences.append(_sequence(records[best]))
        subjects.append(records[best]["subject"])
    return chosen


def _sequence(record):
    return record["subject"], record["sequence"]
