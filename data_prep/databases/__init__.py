"""One module per face database, each turning its own folder layout into index.csv.

A new database is one new file here, named as users will type it, with

* a docstring: the layout, the label codes, the paper's counts, how to apply, licence, sources;
* `SPLIT`: what the paper does with it, FOLDS, TEST_ONLY or IDENTITIES; `CLASSES`: with which set of
  classes, a name of gcnet_base.protocol.CLASSES (None for IDENTITIES);
* `add_arguments(parser)`: its options beside those of all databases, if any;
* `rows(tree, images_folder, **its options)`: the data_prep.index.Row list of the
  data_prep.tree.Tree, with absolute image paths. Images that are not files in the database (frames
  of a video, rows of a CSV) it writes into `images_folder`. What it cannot use goes to `tree.skip`,
  what is missing as a whole to `tree.expect`; InputError if nothing can be read at all;
* `counts(**its options)`: the known counts, a data_prep.summary.Counts.
"""

import csv
import importlib
import pkgutil

from data_prep import index, summary
from data_prep.tree import Tree, readable
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError

FOLDS, TEST_ONLY, IDENTITIES = "folds", "test only", "identities"

NAMES = sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name):
    """The module of a database by name."""
    return importlib.import_module(f"{__name__}.{name}")


def write_index(database, root, output, strict, options):
    """Write `output`/index.csv of the database in the folder `root`; print the counts.

    `database` is its module, `options` the values of its own options by name. What was skipped goes
    into skipped.csv; `strict` stops at the first. Raises InputError for an output folder inside the
    database, if nothing in the database can be used, and as the database's `rows` does.
    """
    tree = Tree(root, strict)
    if readable(output) != str(output):
        raise InputError(f"{readable(output)}: its name is not UTF-8; choose another")
    if output.resolve().is_relative_to(tree.root.resolve()):
        raise InputError(
            f"{output}: lies in the database's folder, which is only read; choose another"
        )
    rows = database.rows(tree, output / "images", **options)
    if not rows:
        reasons = [f"{path}: {problem}" for path, problem in tree.skipped] + tree.lacking
        first = f"; the first of {len(reasons)} reasons: {reasons[0]}" if reasons else ""
        raise InputError(f"{tree.root}: nothing in it can be used{first}")
    path = output / "index.csv"
    index.write(path, rows)
    print(summary.table(rows, database.counts(**options)))
    for sentence in tree.lacking:
        print(f"note: {sentence}")
    _write_skipped(output / "skipped.csv", tree.skipped)
    print(f"{path}: written, {len(rows)} images")


def _write_skipped(path, skipped):
    if not skipped:
        path.unlink(missing_ok=True)
        return
    with replacing(path, newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "reason"))
        writer.writerows(skipped)
    print(f"{path}: {len(skipped)} files that cannot be used, skipped")
