"""Train the readings of what the paper leaves open beside each other and draw their curves."""

import argparse
import sys

import gcnet_base.interpreter  # noqa: F401 (first: it sees to the right Python)

# isort: split

import gcnet.methods.all  # noqa: F401 (registers the models)
from gcnet.methods.gcnet import readings
from gcnet_base.errors import one_line_errors

EXAMPLE = """example (the pictures and the table of docs/decisions.md):
  python python/compare_readings.py --index data/demo/faces/index.csv
What is trained already is not trained again; after a change of prototxt/, remove runs/readings.
"""


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "questions", nargs="*", metavar="QUESTION",
        help=f"of {', '.join(readings.QUESTIONS)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--index", required=True, help="index.csv of aligned faces")
    parser.add_argument("--fold", type=int, default=0, help="test fold (default %(default)s)")
    parser.add_argument("--pictures", default="docs/decisions", metavar="FOLDER",
                        help="where the pictures go (default %(default)s)")  # fmt: skip
    chosen = parser.parse_args()
    unknown = set(chosen.questions) - set(readings.QUESTIONS)
    if unknown:
        parser.error(f"unknown question {', '.join(sorted(unknown))}")
    questions = chosen.questions or list(readings.QUESTIONS)
    print(readings.compare(questions, chosen.index, chosen.fold, chosen.pictures))


if __name__ == "__main__":
    sys.exit(main())
