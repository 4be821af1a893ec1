"""Run a net forward over many inputs. Runs in the engine's Python (3.9, numpy and caffe only).

    python -m gcnet.forward --net deploy.prototxt --weights x.caffemodel --inputs in.npz \\
        --blobs probabilities,generated --output out.npz
"""

import argparse
import sys

import caffe
import numpy as np

from gcnet import caffemodel
from gcnet_base.errors import InputError, one_line_errors


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        prog="python -m gcnet.forward",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--net", required=True, help="deploy prototxt")
    parser.add_argument("--stages", default="", help="stages of the net, with commas between")
    parser.add_argument("--weights", required=True, help=".caffemodel that holds every layer")
    parser.add_argument("--inputs", required=True, help=".npz: input blob -> float32 N x C x H x W")
    parser.add_argument("--blobs", required=True, help="blobs to keep, with commas between")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--output", required=True, help=".npz: blob -> float32 N x ...")
    arguments = parser.parse_args()

    stages = [stage for stage in arguments.stages.split(",") if stage]
    net = caffe.Net(arguments.net, caffe.TEST, stages=stages)
    caffemodel.check(net, arguments.weights, every_layer=True)
    net.copy_from(arguments.weights)
    wanted = arguments.blobs.split(",")
    for blob in wanted:
        if blob not in net.blobs:
            raise InputError("{}: has no blob {}".format(arguments.net, blob))
    with np.load(arguments.inputs) as inputs:
        outputs = forward(net, dict(inputs), wanted, arguments.batch)
    np.savez(arguments.output, **outputs)


def forward(net, inputs, wanted, batch):
    """{blob: array} of `wanted`, for {input blob: array}, all with the samples along axis 0."""
    kept = {blob: [] for blob in wanted}
    count = len(next(iter(inputs.values())))
    for start in range(0, count, batch):
        for blob, values in inputs.items():
            part = values[start : start + batch]
            net.blobs[blob].reshape(*part.shape)
            net.blobs[blob].data[...] = part
        net.forward()
        for blob in wanted:
            kept[blob].append(net.blobs[blob].data.copy())
    return {blob: np.concatenate(parts) for blob, parts in kept.items()}


if __name__ == "__main__":
    sys.exit(main())
