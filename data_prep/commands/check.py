"""Read LMDBs back and compare them with the faces."""

from data_prep.arguments import at_least
from data_prep.lmdbs import contents
from data_prep.lmdbs.verify import verify


def add_arguments(parser):
    parser.add_argument(
        "folders", nargs="+", metavar="folder", help="folder that lmdb or prepare wrote"
    )
    parser.add_argument(
        "--workers", type=at_least(1), metavar="N", help="processes (default: one per CPU)"
    )


def run(arguments):
    for folder in arguments.folders:
        _run_one(folder, arguments.workers)


def _run_one(folder, workers):
    description, not_compared = verify(folder, workers)
    kind = "pairs" if "fold" in description["inputs"] else "faces"
    counts = ", ".join(
        f"{part} {description[part]['records']} {kind}" for part in contents.parts_of(description)
    )
    print(f"{folder}: whole ({counts})")
    if not_compared:
        print(f"not compared: {not_compared}")
    else:
        print(f"equal to the faces of {description['index']}")
