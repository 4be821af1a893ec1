"""Test the finished folds of runs; without a RUN, of every run under runs/."""

import argparse
import sys

from gcnet import evaluation
from gcnet.errors import one_line_errors

EXAMPLE = """example:
  python python/eval_folds.py runs/ckplus-s1r1
  python python/eval_folds.py runs/ckplus-s1r1 --index data/photos/faces/index.csv
The second tests every finished fold's net on all labelled faces of another index. Each run folder
gets report.html, results.json, predictions.csv, confusion.png, curves.png and figure4.png; with
--index they go to its subfolder on-<database>.
"""


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folders")
    parser.add_argument("--index", help="index.csv of aligned faces that the nets do not know")
    chosen = parser.parse_args()
    return 0 if evaluation.evaluate_all(chosen.runs, chosen.index) else 1


if __name__ == "__main__":
    sys.exit(main())
