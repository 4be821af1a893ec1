"""Runs cases of layers in whatever Caffe runs it: `PYTHON run_cases.py FOLDER`.

A pycaffe script for Python 3.9 and numpy 1.19, run unchanged by both engines. FOLDER/cases.json is a
list of cases, FOLDER/<number>.npz their arrays (see case.py). Writes FOLDER/<number>.out.npz, with
every blob and parameter after the passes and the gradients of inputs and parameters, and after each
case its number into FOLDER/finished, so that an abort shows which case it was.
"""

import json
import os
import sys

import caffe
import numpy as np


def run(case, arrays):
    if case["random_seed"] is not None:
        caffe.set_random_seed(case["random_seed"])
    net = caffe.Net(case["net"], caffe.TRAIN if case["phase"] == "TRAIN" else caffe.TEST)
    for name, shape in case["reshape"].items():
        net.blobs[name].reshape(*shape)
    if case["reshape"]:
        net.reshape()
    if "memory data" in arrays:
        net.set_input_arrays(arrays["memory data"], arrays["memory labels"])
    rng = np.random.RandomState(case["seed"])
    for layer, blobs in net.params.items():
        for place, blob in enumerate(blobs):
            key = "param {} {}".format(layer, place)
            blob.data[...] = arrays[key] if key in arrays else rng.standard_normal(blob.data.shape)
            blob.diff[...] = 0
    results = {}
    for number in range(case["passes"]):
        for name in net.inputs:
            if "input " + name in arrays:
                net.blobs[name].data[...] = arrays["input " + name]
            else:
                net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].data.shape)
        net.forward()
        for name, blob in net.blobs.items():
            results["pass {}: data of {}".format(number, name)] = blob.data.copy()
        if case["backward"]:
            for name in net.outputs:
                if "diff " + name in arrays:
                    net.blobs[name].diff[...] = arrays["diff " + name]
                elif not case["loss"]:
                    diff = net.blobs[name].diff
                    diff[...] = rng.standard_normal(diff.shape)
            net.backward()
            for name in net.inputs:
                if name not in case["without_gradient"]:
                    results["pass {}: diff of {}".format(number, name)] = net.blobs[
                        name
                    ].diff.copy()
        for layer, blobs in net.params.items():
            for place, blob in enumerate(blobs):
                key = "pass {}: {{}} of param {} of {}".format(number, place, layer)
                results[key.format("data")] = blob.data.copy()
                if case["backward"]:
                    results[key.format("diff")] = blob.diff.copy()
    return results


def main(folder):
    with open(os.path.join(folder, "cases.json")) as file:
        cases = json.load(file)
    for number, case in enumerate(cases):
        with np.load(os.path.join(folder, "{}.npz".format(number))) as arrays:
            results = run(case, dict(arrays))
        np.savez(os.path.join(sys.argv[2], "{}.npz".format(number)), **results)
        with open(os.path.join(sys.argv[2], "finished"), "w") as file:
            file.write(str(number))


if __name__ == "__main__":
    main(sys.argv[1])
