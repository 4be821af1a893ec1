"""Indexes of aligned faces of several databases as one, to train on all of them (Table VI).

Subjects and sequences get their database's name in front ("ckplus/S005"), so that nobody is taken
for somebody of another database. The faces stay where they are.
"""

from dataclasses import replace
from pathlib import Path

from data_prep import index
from gcnet_base.errors import InputError
from gcnet_base.paths import database_name


def merge(paths, out):
    """Write the rows of the indexes `paths` as `out`/index.csv; returns its path and their number.

    Raises InputError: an index is wrong, two databases have the same name (their folder's), `out`
    is one of theirs.
    """
    written = Path(out) / "index.csv"
    rows, names = [], {}
    for path in map(Path, paths):
        if path.resolve() == written.resolve():
            raise InputError(f"{path}: is one of the indexes to be merged; choose another -o")
        name = database_name(path)
        if name in names:
            raise InputError(
                f"{path}: its database is called {name}, as that of {names[name]}; "
                "rename the folder of one"
            )
        names[name] = path
        table = index.read(path)
        for row in table.rows:
            rows.append(
                replace(
                    row,
                    image=str(table.file(row.image).resolve()),
                    reference=row.reference and str(table.file(row.reference).resolve()),
                    subject=f"{name}/{row.subject}",
                    sequence=f"{name}/{row.sequence}",
                )
            )
    index.write(written, rows)
    return written, len(rows)
