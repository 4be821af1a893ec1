"""The index command on a database's folder, as the tests of all readers run it.

It writes into a folder "out" beside the database.
"""

import csv

from data_prep import index
from data_prep.__main__ import main


def run(database, root, *options):
    """The command's exit status."""
    out = str(root.parent / "out")
    return main(["index", database, str(root), "-o", out, *map(str, options)])


def rows(database, root, *options):
    """The rows that the command writes."""
    assert run(database, root, *options) == 0
    return index.read(root.parent / "out" / "index.csv").rows


def table(database, root, capsys, *options):
    """The rows that the command writes, and what it prints."""
    return rows(database, root, *options), capsys.readouterr().out


def labels(rows):
    """{(subject, sequence): [label]} in the order of the frames."""
    found = {}
    for row in rows:
        found.setdefault((row.subject, row.sequence), []).append(row.label)
    return found


def skipped(root):
    """The rows of skipped.csv as dicts; none if it is not there."""
    path = root.parent / "out" / "skipped.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def refusal(root, capsys):
    """The one line of a command that failed and has written nothing."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert not (root.parent / "out").exists()
    return error
