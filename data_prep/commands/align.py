"""Cut out the faces of an index."""

from pathlib import Path

from data_prep.arguments import at_least
from data_prep.faces.align import align_and_say


def add_arguments(parser):
    parser.add_argument("index", type=Path, help="index.csv of a database or of photographs")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="folder for the faces and their index.csv, for dropped.csv (images left out, and why) "
        "and for sheet.png and dropped.png (random samples of both)",
    )
    parser.add_argument(
        "--workers", type=at_least(1), metavar="N", help="processes (default: one per CPU)"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop at the first image without a face instead of leaving it out",
    )


def run(arguments):
    align_and_say(arguments.index, arguments.output, arguments.workers, arguments.strict)
