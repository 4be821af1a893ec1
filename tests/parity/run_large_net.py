"""Runs a large net in whatever Caffe runs it: `PYTHON run_large_net.py NET CLASSES ARRAYS [moved]`.

A pycaffe script for Python 3.9 and numpy 1.19, run unchanged by both engines. NET is a prototxt file
in the phase TRAIN, CLASSES how many classes its labels have, ARRAYS a folder. Weights and inputs are
drawn at random, one forward and one backward pass made.

If ARRAYS does not exist it is made and gets every blob's values, every parameter's values after the
pass, and its gradient. Otherwise they are compared with what is there. `moved`: once more, every
weight one float32 rounding unit off, and compared as well. Each comparison is a line of JSON: the
largest difference of values, of the largest magnitude in the blob; of gradients, of the largest in
the layer; where each is; shapes that differ; and how many parameters there are.
"""

import json
import os
import sys

import caffe
import numpy as np


def fill(net, classes, moved):
    random = np.random.RandomState(1)
    types = dict(zip(net._layer_names, (layer.type for layer in net.layers)))
    for name, blobs in net.params.items():
        for place, blob in enumerate(blobs):
            blob.data[...] = weights(random, types[name], place, blob.data.shape)
            blob.diff[...] = 0
    for name in net.inputs:
        data = net.blobs[name].data
        if name.startswith("label"):
            data[...] = random.randint(0, classes, data.shape)
        elif name == "continued":
            data[...] = random.uniform(size=data.shape) > 0.2
            data[0] = 0
        else:
            data[...] = random.standard_normal(data.shape)
    if moved:
        random = np.random.RandomState(2)
        for blobs in net.params.values():
            for blob in blobs:
                aims = random.choice(np.float32([-np.inf, np.inf]), blob.data.shape)
                blob.data[...] = np.nextafter(blob.data, aims)


def weights(random, layer_type, place, shape):
    """Such that values keep their size from layer to layer."""
    if layer_type == "BatchNorm":
        return 0
    drawn = random.standard_normal(shape)
    if layer_type in ("Scale", "PReLU"):
        return (1, 0)[place] + 0.1 * drawn if layer_type == "Scale" else 0.25 + 0.1 * drawn
    if len(shape) == 1:
        return 0.1 * drawn
    return drawn * np.sqrt(2.0 * shape[0] / np.prod(shape))


def passed(path, classes, moved=False):
    """The net after a forward and a backward pass."""
    net = caffe.Net(path, caffe.TRAIN)
    fill(net, classes, moved)
    net.forward()
    net.backward()
    return net


def parameters(net):
    """How many, each shared one once, without BatchNorm's statistics."""
    types = dict(zip(net._layer_names, (layer.type for layer in net.layers)))
    found = [
        blob.data for name in net.params if types[name] != "BatchNorm" for blob in net.params[name]
    ]
    return sum({array.ctypes.data: array.size for array in found}.values())


def arrays_of(net):
    """Yield ((kind of array, its layer or blob, its place), array)."""
    for name, blob in net.blobs.items():
        yield ("values", name, 0), blob.data
    for name, blobs in net.params.items():
        for place, blob in enumerate(blobs):
            yield ("values of parameter", name, place), blob.data
            yield ("gradients", name, place), blob.diff


def file_of(folder, number):
    return os.path.join(folder, "{}.npy".format(number))


def save(net, folder):
    os.mkdir(folder)
    names = []
    for name, array in arrays_of(net):
        np.save(file_of(folder, len(names)), array)
        names.append(name)
    with open(os.path.join(folder, "names.json"), "w") as file:
        json.dump(names, file)


def compare(net, folder):
    with open(os.path.join(folder, "names.json")) as file:
        numbers = {tuple(name): number for number, name in enumerate(json.load(file))}
    worst = {"values": [0, ""], "gradients": [0, ""]}
    differ = []
    layers = {}
    for name, array in arrays_of(net):
        kind, layer, place = name
        number = numbers.pop(name, None)
        expected = None if number is None else np.load(file_of(folder, number), mmap_mode="r")
        if expected is None or expected.shape != array.shape:
            differ.append("{} {} {}".format(*name))
            continue
        difference = float(np.abs(array - expected).max())
        largest = float(np.abs(expected).max())
        if not np.isfinite(difference):
            differ.append("{} {} {} is not finite".format(*name))
        elif kind == "gradients":
            layers.setdefault(layer, []).append((difference, largest))
        elif largest:
            worst["values"] = max(worst["values"], [difference / largest, layer])
    for layer, found in layers.items():
        difference, largest = (max(each) for each in zip(*found))
        if largest:
            worst["gradients"] = max(worst["gradients"], [difference / largest, layer])
    differ += ["{} {} {}".format(*name) for name in numbers]
    print(json.dumps(dict(worst, differ=differ, parameters=parameters(net))))


def main(path, classes, folder, moved=""):
    net = passed(path, int(classes))
    if os.path.exists(folder):
        compare(net, folder)
    else:
        save(net, folder)
    if moved:
        compare(passed(path, int(classes), moved=True), folder)


main(*sys.argv[1:])
