"""Runs whole nets in whatever Caffe runs it: `PYTHON run_nets.py FOLDER OUTPUT`.

A pycaffe script for Python 3.9 and numpy 1.19, run unchanged by both engines. FOLDER/nets.json is a
list of nets: the prototxt file, phase, level, stages, and `passes`, for each the inputs' new shapes
and whether net.reshape() follows. Writes OUTPUT/<number>.json, the names of everything in order,
and OUTPUT/<number>.npz, all blobs and parameters with their gradients after each pass.
"""

import json
import os
import sys
import traceback

import caffe
import numpy as np


def names(net):
    """What a script sees of a net's structure; tops that nobody named are left out."""
    named = [name for name in net.blobs if not name.startswith("(automatic")]
    seen = {
        "blobs": [[name, list(net.blobs[name].data.shape)] for name in named],
        "inputs": list(net.inputs),
        "outputs": list(net.outputs),
        "params": [
            [name, [list(blob.data.shape) for blob in blobs]] for name, blobs in net.params.items()
        ],
    }
    if hasattr(net, "_layer_names"):
        seen["layers"] = list(net._layer_names)
    return seen


def run(described, results):
    net = caffe.Net(
        described["net"],
        caffe.TRAIN if described["phase"] == "TRAIN" else caffe.TEST,
        level=described["level"],
        stages=described["stages"],
    )
    seen = names(net)
    rng = np.random.RandomState(described["seed"])
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = 0.5 * rng.standard_normal(blob.data.shape)
            blob.diff[...] = 0
    for number, one in enumerate(described["passes"]):
        for name, shape in one.get("shapes", {}).items():
            net.blobs[name].reshape(*shape)
        if one.get("reshape"):
            net.reshape()
        for name in net.inputs:
            values = rng.standard_normal(net.blobs[name].data.shape)
            net.blobs[name].data[...] = values if name != "label" else np.abs(values) > 0.7
        outputs = net.forward()
        for name, values in outputs.items():
            results["pass {}: output {}".format(number, name)] = values.copy()
        net.backward()
        for name, blob in net.blobs.items():
            if not name.startswith("(automatic"):
                results["pass {}: data of {}".format(number, name)] = blob.data.copy()
                results["pass {}: diff of {}".format(number, name)] = blob.diff.copy()
        for layer, blobs in net.params.items():
            for place, blob in enumerate(blobs):
                key = "pass {}: {{}} of param {} of {}".format(number, place, layer)
                results[key.format("data")] = blob.data.copy()
                results[key.format("diff")] = blob.diff.copy()
    return seen


def main(folder, output):
    with open(os.path.join(folder, "nets.json")) as file:
        nets = json.load(file)
    for number, described in enumerate(nets):
        results = {}
        try:
            seen = run(described, results)
        except Exception:
            traceback.print_exc()
            continue
        np.savez(os.path.join(output, "{}.npz".format(number)), **results)
        with open(os.path.join(output, "{}.json".format(number)), "w") as file:
            json.dump(seen, file)


main(*sys.argv[1:])
