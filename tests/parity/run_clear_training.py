"""Trains nets on batches in which no choice is close: `PYTHON run_clear_training.py JOBS.json`.

A pycaffe script for Python 3.9 and numpy 1.19, run by both engines. ReLU, max pooling and an
absolute value choose: by a sign, by the greatest of four. Where two candidates are within rounding
of each other right engines choose differently, and what they compute from there on differs. So each
batch is the one of CANDIDATES whose closest choice, of all units of the net, is least close.

Each job has a `solver`, the `weights` that the training starts from, `batches`, the .npz of what
the nets are shown, and `result`, the .npz that gets the losses of each iteration, the outputs of the
test net at the end, and the parameters. BVLC Caffe goes first and chooses: where `batches` is not
there it is written, and so are `weights`. A job may have `iterations` and `candidates` of its own.
"""

import json
import os
import sys

import caffe
import numpy as np

ITERATIONS, TEST_BATCHES, CANDIDATES = 16, 4, 32


def closest_choice(net):
    """Run the net layer by layer; the least lead of any choice, in deviations of its blob.

    Exact zeros are not close: both engines come to them by the same exact way.
    """
    leads = [np.inf]
    for place, (name, layer) in enumerate(zip(net._layer_names, net.layers)):
        bottoms = [net.blobs[blob].data for blob in net.bottom_names[name]]
        if layer.type == "ReLU":
            leads.append(least(np.abs(bottoms[0]), bottoms[0]))
        elif layer.type == "Pooling":
            count, channels, height, width = bottoms[0].shape
            windows = bottoms[0].reshape(count, channels, height // 2, 2, width // 2, 2)
            windows = np.sort(windows.transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4))
            leads.append(least((windows[:, 3] - windows[:, 2])[windows[:, 3] > 0], bottoms[0]))
        net._forward(place, place)
        if name == "delta":
            top = net.blobs[net.top_names[name][0]].data
            leads.append(least(top, top))
    return min(leads)


def least(values, blob):
    return values[values != 0].min() / (blob.std() or 1) if values.any() else np.inf


def pairs(random, shape):
    """Noise, whose neighbouring pixels differ most, about one of seven faces; and labels."""
    faces = np.random.RandomState(1).normal(0.5, 0.12, (8,) + shape[2:])
    labels = random.randint(0, 7, shape[0])
    pair = random.normal(0, 0.1, (shape[0], 1) + shape[2:])
    pair = pair + np.stack([faces[labels], faces[np.full_like(labels, 7)]], axis=1)
    return pair.clip(0, 1).astype(np.float32), labels.astype(np.float32)


def show(net, pair, label):
    net.blobs["pair"].data[...] = pair
    net.blobs["label"].data[...] = label


def clearest(net, random, count, candidates):
    """The `count` clearest of `candidates` batches, and the lead of each; the net is as it was."""
    before = [[blob.data.copy() for blob in blobs] for blobs in net.params.values()]
    found = []
    for _ in range(candidates):
        pair, label = pairs(random, net.blobs["pair"].data.shape)
        show(net, pair, label)
        found.append((closest_choice(net), pair, label))
    for blobs, values in zip(net.params.values(), before):
        for blob, value in zip(blobs, values):
            blob.data[...] = value  # BatchNorm has counted the candidates
    return sorted(found, key=lambda one: -one[0])[:count]


def parameters(net):
    """{"param 0 of conv1": its values}"""
    return {
        "param {} of {}".format(place, layer): blob.data.copy()
        for layer, blobs in net.params.items()
        for place, blob in enumerate(blobs)
    }


def train(job):
    solver = caffe.get_solver(job["solver"])
    net, test_net = solver.net, solver.test_nets[0]
    choosing = not os.path.exists(job["batches"])
    if choosing:
        net.save(job["weights"])
        shown = {}
    else:
        net.copy_from(job["weights"])
        with np.load(job["batches"]) as arrays:
            shown = dict(arrays)
    random = np.random.RandomState(job["seed"])
    candidates = job.get("candidates", CANDIDATES)
    results = {}

    def give(phase_net, name, count=1):
        if choosing:
            found = clearest(phase_net, random, count, max(count, candidates))
            for number, (lead, pair, label) in enumerate(found):
                key = "{} {}".format(name, number)
                shown.update({"lead " + key: lead, "pair " + key: pair, "label " + key: label})
        for number in range(count):
            key = "{} {}".format(name, number)
            show(phase_net, shown["pair " + key], shown["label " + key])
            yield number

    def keep(phase_net, name):
        for blob in phase_net.outputs:
            values = results.setdefault("{} {}".format(name, blob), [])
            values.append(phase_net.blobs[blob].data.copy())

    before = parameters(net)
    for iteration in range(job.get("iterations", ITERATIONS)):
        for _ in give(net, "iteration {}".format(iteration)):
            solver.step(1)
            keep(net, "training")
    test_net.share_with(net)
    for _ in give(test_net, "test", TEST_BATCHES):
        test_net.forward()
        keep(test_net, "test")
    for name, values in parameters(net).items():
        results["end of " + name] = values
        results["change of " + name] = values - before[name]
    if choosing:
        np.savez(job["batches"], **shown)
    return results


if __name__ == "__main__":
    caffe.set_mode_cpu()
    with open(sys.argv[1]) as file:
        for job in json.load(file):
            np.savez(job["result"], **train(job))
