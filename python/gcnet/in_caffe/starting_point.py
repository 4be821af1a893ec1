"""From what can a training start?

    python -m gcnet.in_caffe.starting_point solver.prototxt --snapshots 2.solverstate 1.solverstate
    python -m gcnet.in_caffe.starting_point solver.prototxt --weights encoder1.caffemodel

Prints JSON: "snapshot", the first snapshot that is whole (null if none is); "broken", what is wrong
with those before it; "taken", for each weights file how many of the net's blobs it fills.
"""

import argparse
import json
import os
import sys

import caffe
from caffe.proto import caffe_pb2

from gcnet.in_caffe import weights
from gcnet_base.errors import InputError, one_line_errors


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        prog="python -m gcnet.in_caffe.starting_point",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("solver")
    parser.add_argument("--snapshots", nargs="*", default=[], help="newest first")
    parser.add_argument("--weights", nargs="*", default=[], help=".caffemodel files")
    arguments = parser.parse_args()

    net = caffe.get_solver(arguments.solver).net
    broken, usable = [], None
    for snapshot in arguments.snapshots:
        try:
            check_snapshot(net, snapshot)
        except InputError as error:
            broken.append(str(error))
        else:
            usable = snapshot
            break
    taken = {}
    for path in arguments.weights:
        taken[path] = weights.check(net, path, every_layer=False)
        if not taken[path]:
            raise InputError(
                "{}: has no layer of this net; it holds {}".format(
                    path, ", ".join(sorted(weights.shapes(path))[:8])
                )
            )
    print(json.dumps({"snapshot": usable, "broken": broken, "taken": taken}))


def check_snapshot(net, path):
    """Raise InputError unless a .solverstate and its .caffemodel are whole and of this net."""
    state = weights.parse(path, caffe_pb2.SolverState())
    blobs = sum(len(blobs) for blobs in net.params.values())
    # BVLC Caffe writes the current step last.
    if len(state.history) < blobs or not state.HasField("current_step"):
        raise InputError("{}: truncated".format(path))
    if not os.path.exists(state.learned_net):
        raise InputError("{}: its {} is missing".format(path, state.learned_net))
    weights.check(net, state.learned_net, every_layer=True)


if __name__ == "__main__":
    sys.exit(main())
