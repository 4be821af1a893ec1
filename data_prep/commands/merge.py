"""Put the aligned indexes of several databases together."""

from data_prep.merge import merge


def add_arguments(parser):
    parser.add_argument("indexes", nargs="+", metavar="index", help="index.csv that align wrote")
    parser.add_argument("-o", "--output", required=True, help="folder for index.csv")


def run(arguments):
    written, rows = merge(arguments.indexes, arguments.output)
    print(f"{written}: written, {rows} faces of {len(arguments.indexes)} databases")
