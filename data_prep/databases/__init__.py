"""One module per face database, each turning its own folder layout into index.csv.

A new database is one new file here, named as users will type it, with

* a docstring: the layout, the label codes, the paper's counts, licence, sources;
* `add_arguments(parser)`: its options beside the database's folder and the output, if any;
* `rows(arguments)`: the data_prep.index.Row list of the database in `arguments.root`, with
  absolute image paths; InputError says what is missing in the folder;
* `summary(rows)`: a text with counts beside the paper's.
"""

import argparse
import importlib
import pkgutil
from pathlib import Path

from data_prep import index


def add_arguments(parser):
    commands = parser.add_subparsers(metavar="DATABASE", required=True)
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        database = importlib.import_module(f"{__name__}.{name}")
        command = commands.add_parser(
            name,
            help=database.__doc__.splitlines()[0],
            description=database.__doc__,
            epilog=f"example:\n  python -m data_prep index {name} /path/to/database -o data/{name}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("root", type=Path, help="folder of the database, which is only read")
        command.add_argument(
            "-o", "--output", type=Path, required=True, help="folder for index.csv"
        )
        database.add_arguments(command)
        command.set_defaults(database=database)


def run(arguments):
    rows = arguments.database.rows(arguments)
    path = arguments.output / "index.csv"
    index.write(path, rows)
    print(arguments.database.summary(rows))
    print(f"{path}: written, {len(rows)} images")
