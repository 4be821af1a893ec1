"""Trains nets in whatever Caffe runs it: `PYTHON run_training.py JOBS.json`.

A pycaffe script for Python 3.9 and numpy 1.19, run unchanged by both engines. Each job has
`solver`, `weights` (a .caffemodel to start from, made where there is none), `iterations`,
`test_iterations`, and `result`, the .npz that gets every output of the training net after each
iteration and at the end the scores of each test net and the parameters.
"""

import json
import os
import sys

import caffe
import numpy as np


def train(job):
    solver = caffe.get_solver(job["solver"])
    if os.path.exists(job["weights"]):
        solver.net.copy_from(job["weights"])
    else:
        solver.net.save(job["weights"])
    curves = {name: [] for name in solver.net.outputs if solver.net.blobs[name].data.size == 1}
    for _ in range(job["iterations"]):
        solver.step(1)
        for name, values in curves.items():
            values.append(float(solver.net.blobs[name].data))
    results = {"curve " + name: np.array(values) for name, values in curves.items()}
    for net in solver.test_nets:
        net.share_with(solver.net)
        scores = {name: [] for name in net.outputs if net.blobs[name].data.size == 1}
        for _ in range(job["test_iterations"]):
            net.forward()
            for name, values in scores.items():
                values.append(float(net.blobs[name].data))
        results.update({"test " + name: np.array(values) for name, values in scores.items()})
    for layer, blobs in solver.net.params.items():
        for place, blob in enumerate(blobs):
            results["param {} {}".format(layer, place)] = blob.data.copy()
    return results


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        for job in json.load(file):
            np.savez(job["result"], **train(job))
