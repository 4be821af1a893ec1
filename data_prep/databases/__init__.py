"""One module per face database, each turning its own folder layout into index.csv.

A new database is one new file here, named as users will type it, with

* a docstring: the layout, the label codes, the paper's counts, how to apply, licence, sources;
* `SPLIT`: what the paper does with it, FOLDS, TEST_ONLY or IDENTITIES; `CLASSES`: with which set of
  classes, a name of gcnet.protocol.CLASSES (None for IDENTITIES);
* `add_arguments(parser)`: its options beside those of all databases, if any;
* `rows(tree, arguments)`: the data_prep.index.Row list of the data_prep.tree.Tree, with absolute
  image paths. Images that are not files in the database (frames of a video, rows of a CSV) it
  writes into `arguments.output / "images"`. What it cannot use goes to `tree.skip`, what is missing
  as a whole to `tree.expect`; InputError if nothing can be read at all;
* `counts(arguments)`: the known counts, a data_prep.summary.Counts.
"""

import argparse
import csv
import importlib
import pkgutil
from pathlib import Path

from data_prep import index, summary
from data_prep.atomic import replacing
from data_prep.tree import Tree, readable
from gcnet.errors import InputError

FOLDS, TEST_ONLY, IDENTITIES = "folds", "test only", "identities"

NAMES = sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name):
    """The module of a database by name."""
    return importlib.import_module(f"{__name__}.{name}")


def add_arguments(parser, command="index", add_more=None):
    """Add a sub-command per database; `add_more(sub-parser, database)` adds further arguments."""
    commands = parser.add_subparsers(metavar="DATABASE", required=True)
    for name in NAMES:
        database = load(name)
        one = commands.add_parser(
            name,
            help=database.__doc__.splitlines()[0],
            description=database.__doc__,
            epilog="example:\n"
            f"  python -m data_prep {command} {name} /path/to/database -o data/{name}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("root", type=Path, help="folder of the database, which is only read")
        one.add_argument(
            "-o", "--output", type=Path, required=True, help="folder for index.csv"
        )
        one.add_argument(
            "--strict",
            action="store_true",
            help="stop at the first file that cannot be used, instead of listing it in skipped.csv "
            "(numbers that differ from the real database's are noted in either case)",
        )
        database.add_arguments(one)
        if add_more:
            add_more(one, database)
        one.set_defaults(database=database, refuse=one.error)


def run(arguments):
    """Write index.csv, and skipped.csv if something was skipped; print the counts.

    Raises InputError for an output folder inside the database, if nothing in the database can be
    used, and as the database's `rows` does.
    """
    tree = Tree(arguments.root, arguments.strict)
    if readable(arguments.output) != str(arguments.output):
        raise InputError(f"{readable(arguments.output)}: its name is not UTF-8; choose another")
    if arguments.output.resolve().is_relative_to(tree.root.resolve()):
        raise InputError(
            f"{arguments.output}: lies in the database's folder, which is only read; choose another"
        )
    rows = arguments.database.rows(tree, arguments)
    if not rows:
        reasons = [f"{path}: {problem}" for path, problem in tree.skipped] + tree.lacking
        first = f"; the first of {len(reasons)} reasons: {reasons[0]}" if reasons else ""
        raise InputError(f"{tree.root}: nothing in it can be used{first}")
    path = arguments.output / "index.csv"
    index.write(path, rows)
    print(summary.table(rows, arguments.database.counts(arguments)))
    for sentence in tree.lacking:
        print(f"note: {sentence}")
    _write_skipped(arguments.output / "skipped.csv", tree.skipped)
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
