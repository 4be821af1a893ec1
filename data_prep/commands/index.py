"""List a face database as index.csv."""

import argparse
from pathlib import Path

from data_prep import databases

_NOT_OPTIONS = ("root", "output", "strict", "database", "run", "refuse")


def add_arguments(parser):
    for _ in database_parsers(parser, "index"):
        pass


def database_parsers(parser, command):
    """Add a sub-command per database to that of `command`; yields each with its module."""
    parsers = parser.add_subparsers(metavar="DATABASE", required=True)
    for name in databases.NAMES:
        database = databases.load(name)
        one = parsers.add_parser(
            name,
            help=database.__doc__.splitlines()[0],
            description=database.__doc__,
            epilog="example:\n"
            f"  python -m data_prep {command} {name} /path/to/database -o data/{name}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("root", type=Path, help="folder of the database, which is only read")
        one.add_argument("-o", "--output", type=Path, required=True, help="folder for index.csv")
        one.add_argument(
            "--strict",
            action="store_true",
            help="stop at the first file that cannot be used, instead of listing it in skipped.csv "
            "(numbers that differ from the real database's are noted in either case)",
        )
        database.add_arguments(one)
        yield one, database
        one.set_defaults(database=database, refuse=one.error)


def options_of(arguments, others=()):
    """The values of the database's own options, by name; `others`: names that are not its own."""
    return {
        name: value
        for name, value in vars(arguments).items()
        if name not in (*_NOT_OPTIONS, *others)
    }


def run(arguments):
    databases.write_index(
        arguments.database, arguments.root, arguments.output, arguments.strict,
        options_of(arguments),
    )  # fmt: skip
