"""From what can a training start?

    python -m gcnet.in_caffe.starting_point solver.prototxt --snapshots 2.solverstate 1.solverstate
    python -m gcnet.in_caffe.starting_point solver.prototxt --weights encoder1.caffemodel
    python -m gcnet.in_caffe.starting_point generator=... discriminator=... --snapshots 2/ 1/

Prints JSON: "snapshot", the first snapshot that is whole (null if none is); "broken", what is wrong
with those before it; "taken", for each weights file how many of the nets' blobs it fills.
"""

import argparse
import json
import sys

import caffe

from gcnet.in_caffe import snapshots, weights
from gcnet_base.errors import InputError, one_line_errors


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        prog="python -m gcnet.in_caffe.starting_point",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("solvers", nargs="+", metavar="[NAME=]SOLVER")
    parser.add_argument("--snapshots", nargs="*", default=[], help="newest first")
    parser.add_argument("--weights", nargs="*", default=[], help=".caffemodel files")
    arguments = parser.parse_args()

    nets = {}
    for given in arguments.solvers:
        name, _, path = given.rpartition("=")
        nets[name] = caffe.get_solver(path).net
    broken, usable = [], None
    for snapshot in arguments.snapshots:
        try:
            snapshots.check(nets, snapshot)
        except InputError as error:
            broken.append(str(error))
        else:
            usable = snapshot
            break
    taken = {path: weights.taken(nets, path) for path in arguments.weights}
    print(json.dumps({"snapshot": usable, "broken": broken, "taken": taken}))


if __name__ == "__main__":
    sys.exit(main())
