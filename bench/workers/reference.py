"""Run once by BVLC Caffe: random weights and images for inference, and its own outputs for them."""

import re

import caffe
import numpy as np
from caffe_net import OUTPUTS

IMAGES, CANDIDATES = 64, 256


def fill(net, random):
    """Weights under which no unit is dead or saturated, by the kind of layer."""
    for name, blobs in net.params.items():
        kind = name.rsplit("/", 1)[1]
        for number, blob in enumerate(blobs):
            if kind.startswith("bn"):
                means = random.normal(0, 0.1, blob.shape)
                variances = random.uniform(0.5, 1.5, blob.shape)
                blob.data[...] = (means, variances, 1)[number]
            elif kind.startswith("scale"):
                values = (random.uniform(0.5, 1.5, blob.shape), random.uniform(0, 0.5, blob.shape))
                blob.data[...] = values[number]
            elif number == 0:
                inputs = np.prod(blob.shape[1:])
                blob.data[...] = random.normal(0, np.sqrt(1.0 / inputs), blob.shape)


def forward(net, images):
    net.blobs["image"].reshape(*images.shape)
    net.blobs["image"].data[...] = images
    net.forward()


def lead_of_maxima(net, count):
    """For each image, by how much the maximum of any pooling window leads at least.

    Where it does not lead by more than rounding, two right engines may pool from different places,
    and what is unpooled there differs.
    """
    leads = []
    for name, blob in net.blobs.items():
        if re.search(r"/conv\d$", name):
            stacked, channels, height, width = blob.data.shape
            windows = blob.data.reshape(stacked, channels, height // 2, 2, width // 2, 2)
            windows = np.sort(windows.transpose(0, 1, 2, 4, 3, 5).reshape(stacked, -1, 4))
            lead = windows[..., 3] - windows[..., 2]
            lead[windows[..., 3] == 0] = np.inf
            leads.append(lead.min(1).reshape(-1, count).min(0))
    return np.min(leads, 0)


def clear_images(net, random):
    """Those of the random candidates whose maxima lead most."""
    candidates = random.uniform(0, 1, (CANDIDATES, 1, 64, 64)).astype(np.float32)
    leads = []
    for start in range(0, CANDIDATES, IMAGES):
        forward(net, candidates[start : start + IMAGES])
        leads.append(lead_of_maxima(net, IMAGES))
    return candidates[np.argsort(-np.concatenate(leads))[:IMAGES]]


def main():
    random = np.random.RandomState(0)
    for name, outputs in OUTPUTS.items():
        net = caffe.Net("deploy/" + name + ".prototxt", caffe.TEST)
        fill(net, random)
        net.save("reference/" + name + ".caffemodel")
        images = clear_images(net, random)
        forward(net, images)
        arrays = {
            "{}/{}".format(layer, number): blob.data
            for layer, blobs in net.params.items()
            for number, blob in enumerate(blobs)
        }
        arrays.update({blob: net.blobs[blob].data for blob in outputs})
        np.savez("reference/" + name + ".npz", image=images, **arrays)


if __name__ == "__main__":
    main()
