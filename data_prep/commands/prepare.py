"""A database to the LMDBs that training reads: index, align and lmdb in one go."""

from data_prep import databases
from data_prep.arguments import at_least
from data_prep.commands.index import database_parsers, options_of
from data_prep.prepare import prepare
from gcnet_base.protocol import CLASSES


def add_arguments(parser):
    for command, database in database_parsers(parser, "prepare"):
        if database.SPLIT != databases.IDENTITIES:
            command.add_argument(
                "--classes", choices=CLASSES, default=database.CLASSES,
                help="(default: %(default)s)",
            )  # fmt: skip
        command.add_argument(
            "--workers", type=at_least(1), metavar="N", help="processes (default: one per CPU)"
        )


def run(arguments):
    classes = getattr(arguments, "classes", None)
    options = options_of(arguments, ("classes", "workers"))
    prepare(
        arguments.database, arguments.root, arguments.output, arguments.strict, options, classes,
        arguments.workers,
    )  # fmt: skip
