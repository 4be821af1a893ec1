"""Test the finished folds of runs and print tables; without a RUN, of every run under runs/."""

import argparse
import sys

import gcnet_base.interpreter  # noqa: F401 (first: it sees to the right Python)

# isort: split

import gcnet.methods.all  # noqa: F401 (registers the models)
from gcnet.report import of_runs
from gcnet_base.errors import one_line_errors

EXAMPLE = """example:
  python python/eval_folds.py runs/ckplus-cnn-7 runs/ckplus-s1r1-7
  python python/eval_folds.py runs/ckplus-s1r1-7 --index data/photos/faces/index.csv
  python python/eval_folds.py --latex > tables.tex
The first evaluates two runs and compares them. The second tests every finished fold's net on all
labelled faces of another index. The third evaluates what is not up to date and writes the tables of
all runs. Each run folder gets report.html, results.json, predictions.csv, outputs.npz,
confusion.png, curves.png and figure4.png; with --index they go to its subfolder on-<database>.
"""


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folders")
    parser.add_argument("--index", help="index.csv of aligned faces that the nets do not know")
    forms = parser.add_mutually_exclusive_group()
    for form in ("latex", "markdown", "json"):
        forms.add_argument(
            f"--{form}", dest="form", action="store_const", const=form, default="text",
            help="tables in this form on standard output, all else on standard error",
        )  # fmt: skip
    chosen = parser.parse_args()
    return 0 if of_runs.evaluate_all(chosen.runs, chosen.index, chosen.form) else 1


if __name__ == "__main__":
    sys.exit(main())
