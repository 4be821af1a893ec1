"""Propose the peak of each sequence."""

from pathlib import Path

from data_prep import peaks


def add_arguments(parser):
    parser.add_argument("index", type=Path, help="index.csv of aligned faces, with whole sequences")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="CSV",
        help="file for the peaks; the page is written beside it",
    )  # fmt: skip


def run(arguments):
    peaks.write_proposals(arguments.index, arguments.output)
