"""The commands of data preparation; `python -m data_prep --help` lists them."""

import argparse
import sys

import gcnet_base.interpreter  # noqa: F401 (first: it sees to the right Python)

# isort: split

from data_prep.commands import (
    align,
    check,
    index,
    lmdb,
    merge,
    peaks,
    prepare,
    statistics,
    synthesize,
)
from gcnet_base.errors import one_line_errors

_COMMANDS = (
    (
        "synthesize",
        "write a synthetic face database",
        synthesize.add_arguments,
        synthesize.run,
        "python -m data_prep synthesize ckplus data/synthetic --subjects 40",
    ),
    (
        "prepare",
        "a database to the LMDBs that training reads: index, align and lmdb in one go",
        prepare.add_arguments,
        prepare.run,
        "python -m data_prep prepare ckplus /path/to/CK+ -o data/ckplus",
    ),
    (
        "index",
        "list a face database as index.csv",
        index.add_arguments,
        index.run,
        "python -m data_prep index ckplus /path/to/CK+ -o data/ckplus",
    ),
    (
        "align",
        "cut out faces: 66x66, gray, eyes, nose and mouth in fixed places",
        align.add_arguments,
        align.run,
        "python -m data_prep align data/ckplus/index.csv -o data/ckplus/faces",
    ),
    (
        "peaks",
        "find the peak of each sequence of an aligned index, with a page to correct it",
        peaks.add_arguments,
        peaks.run,
        "python -m data_prep peaks data/mmi/faces/index.csv -o data/mmi_peaks.csv",
    ),
    (
        "merge",
        "put the aligned indexes of several databases together",
        merge.add_arguments,
        merge.run,
        "python -m data_prep merge data/ckplus/faces/index.csv data/mmi/faces/index.csv "
        "-o data/ckplus+mmi/faces",
    ),
    (
        "lmdb",
        "build the train and test LMDB of a fold, or of identities",
        lmdb.add_arguments,
        lmdb.run,
        "python -m data_prep lmdb data/ckplus/faces/index.csv -o data/lmdb --fold 0 --classes 7",
    ),
    (
        "check",
        "read LMDBs back and compare them with the faces",
        check.add_arguments,
        check.run,
        "python -m data_prep check data/folds/ckplus-*/fold*",
    ),
    (
        "statistics",
        "how far expressions and people are apart in an aligned index, beside a real database",
        statistics.add_arguments,
        statistics.run,
        "python -m data_prep statistics data/ckplus/faces/index.csv --beside ckplus",
    ),
)

_PIPELINE = ("index", "align", "lmdb")


@one_line_errors
def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m data_prep",
        description=__doc__,
        epilog="example, from a database to a fold:\n"
        + "".join(f"  {example}\n" for name, *_, example in _COMMANDS if name in _PIPELINE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary, add_arguments, run, example in _COMMANDS:
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run, refuse=command.error)
        add_arguments(command)
    # argparse itself would show the usage of all commands instead of the one that was typed.
    chosen, unknown = parser.parse_known_args(arguments)
    if unknown:
        chosen.refuse(f"unrecognized arguments: {' '.join(unknown)}")
    return chosen.run(chosen)


if __name__ == "__main__":
    sys.exit(main())
