"""Classifier: a net that tells the classes of images."""

import numpy as np

from torchcaffe.pycaffe import io
from torchcaffe.pycaffe.net import Net
from torchcaffe.schema.caffe_pb2 import TEST


def transformer(net, mean, input_scale, raw_scale, channel_swap):
    """The Transformer of a net's first input for images of H x W x K."""
    name = net.inputs[0]
    made = io.Transformer({name: net.blobs[name].data.shape})
    made.set_transpose(name, (2, 0, 1))
    for setter, value in (
        (made.set_mean, mean),
        (made.set_input_scale, input_scale),
        (made.set_raw_scale, raw_scale),
        (made.set_channel_swap, channel_swap),
    ):
        if value is not None:
            setter(name, value)
    return made


class Classifier(Net):
    """A Net with `predict`. Images are scaled to `image_dims` (height, width; the net's by default)
    and cropped to the net's input; the other arguments are those of io.Transformer."""

    def __init__(
        self,
        model_file,
        pretrained_file,
        image_dims=None,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = image_dims if image_dims is not None else self.crop_dims

    def predict(self, inputs, oversample=True):
        """N x classes: the first output for N images (H x W x K), float32.

        oversample: the mean over ten crops (io.oversample); otherwise the crop at the centre.
        """
        images = np.stack([io.resize_image(image, self.image_dims) for image in inputs])
        if oversample:
            images = io.oversample(images, self.crop_dims)
        else:
            top, left = (np.array(self.image_dims) / 2 - self.crop_dims / 2).astype(int)
            images = images[:, top : top + self.crop_dims[0], left : left + self.crop_dims[1]]
        name = self.inputs[0]
        fed = np.stack([self.transformer.preprocess(name, image) for image in images])
        predictions = self.forward_all(**{name: fed})[self.outputs[0]]
        if oversample:
            predictions = predictions.reshape(len(predictions) // 10, 10, -1).mean(1)
        return predictions
