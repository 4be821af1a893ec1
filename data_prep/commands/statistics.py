"""What the faces of an aligned index say in numbers, beside those of another database."""

import json
from pathlib import Path

from data_prep.statistics import measures, table
from gcnet_base.atomic import replacing


def add_arguments(parser):
    parser.add_argument("index", type=Path, help="index.csv that align wrote")
    parser.add_argument(
        "--beside", metavar="REFERENCE",
        help=f"compare with {', '.join(table.names())} (the real ones, as measured), or with a "
        "JSON that -o wrote",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON to write")


def run(arguments):
    beside = table.reference(arguments.beside) if arguments.beside else None
    index = arguments.index
    figures = {"name": index.parent.parent.name or str(index)}
    figures |= measures.measure(measures.read(index))
    print(table.text(figures, beside))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(arguments.output, encoding="utf-8") as file:
            file.write(json.dumps(figures, indent=2) + "\n")
        print(f"{arguments.output}: written")
