"""Say which expressions the faces in your own pictures show, with the nets of a trained run."""

import argparse
import sys

import gcnet_base.interpreter  # noqa: F401 (first: it sees to the right Python)

# isort: split

import gcnet.methods.all  # noqa: F401 (registers the models)
from gcnet.engine import ENGINES
from gcnet.report import predictions
from gcnet_base.errors import one_line_errors

EXAMPLE = """example:
  python python/predict.py photo.jpg webcam/ --run runs/ckplus-s1r1
  python python/predict.py photo.jpg --run runs/ckplus-s1r1 --fold 0 -o out
Of several faces in a picture the largest or most central one is taken. Pictures without a face are
named and left out; only if none has one is the exit status 1.
"""


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="image files, or folders of them"
    )
    parser.add_argument(
        "--run", required=True, help="run folder of a net that needs no neutral picture"
    )
    parser.add_argument(
        "--fold", type=int,
        help="ask this fold's net alone (default: the mean of all finished folds' nets)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="FOLDER",
        help="for predictions.csv and a drawing of each picture (default: RUN/predictions)",
    )  # fmt: skip
    parser.add_argument(
        "--engine", choices=ENGINES, help="which Caffe (default: the one that trained the run)"
    )
    chosen = parser.parse_args()
    any_face = predictions.predict_all(
        chosen.run, chosen.pictures, chosen.fold, chosen.output, chosen.engine
    )
    return 0 if any_face else 1


if __name__ == "__main__":
    sys.exit(main())
