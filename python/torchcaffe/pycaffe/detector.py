"""Detector: a net that tells the classes of windows in images."""

import numpy as np

from torchcaffe.errors import CaffeError
from torchcaffe.pycaffe import io
from torchcaffe.pycaffe.classifier import transformer
from torchcaffe.pycaffe.net import Net
from torchcaffe.schema.caffe_pb2 import TEST


class Detector(Net):
    """A Net with `detect_windows`. `context_pad`: how many of the input's pixels along each border
    show what is around the window (0: none); the other arguments are those of io.Transformer."""

    def __init__(
        self,
        model_file,
        pretrained_file,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
        context_pad=None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows):
        """Classify windows, (ymin, xmin, ymax, xmax) each, of [(image file, windows)].

        Returns a list of {"window", "prediction", "filename"}.
        """
        found = []
        crops = []
        for filename, windows in images_windows:
            image = io.load_image(filename)
            for window in windows:
                crops.append(self.crop(image, window))
                found.append({"window": window, "prediction": None, "filename": filename})
        if not found:
            return found
        name = self.inputs[0]
        fed = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        predictions = self.forward_all(**{name: fed})[self.outputs[0]]
        for detection, prediction in zip(found, predictions):
            detection["prediction"] = prediction
        return found

    def detect_selective_search(self, image_fnames):
        """Windows by selective search need MATLAB code that is not part of Caffe."""
        raise CaffeError(
            "detect_selective_search needs selective_search_ijcv_with_python and MATLAB, which "
            "torchcaffe does not use; find windows yourself and call detect_windows"
        )

    def crop(self, im, window):
        """The part of an image (H x W x K) in a window, with its surroundings if context_pad."""
        top, left, bottom, right = (int(place) for place in window)
        if not self.context_pad:
            return im[top:bottom, left:right]
        size = int(self.blobs[self.inputs[0]].width)
        scale = size / (size - 2 * self.context_pad)
        half = np.array([bottom - top + 1, right - left + 1]) / 2
        center = np.array([top, left]) + half
        first = np.round(center - scale * half).astype(int)
        last = np.round(center + scale * half).astype(int)
        ratio = size / (last - first + 1)
        pad = np.round(np.maximum(0, -first) * ratio).astype(int)
        limits = im.shape[:2]
        first, last = np.clip(first, 0, limits), np.clip(last, 0, limits)
        shown = np.minimum(np.round((last - first + 1) * ratio).astype(int), size - pad)
        part = io.resize_image(im[first[0] : last[0], first[1] : last[1]], shown)
        crop = np.ones(self.crop_dims, np.float32) * self.crop_mean
        crop[pad[0] : pad[0] + shown[0], pad[1] : pad[1] + shown[1]] = part
        return crop

    def configure_crop(self, context_pad):
        """Set context_pad, and the mean in the images' own form, which fills what is outside."""
        name = self.inputs[0]
        channels, height, width = self.blobs[name].data.shape[1:]
        self.crop_dims = np.array([height, width, channels])
        self.context_pad = context_pad
        mean = self.transformer.mean.get(name)
        self.crop_mean = np.zeros(self.crop_dims, np.float32)
        if context_pad and mean is not None:
            mean = np.array(mean).transpose(1, 2, 0)
            if name in self.transformer.channel_swap:
                mean = mean[:, :, np.argsort(self.transformer.channel_swap[name])]
            self.crop_mean = mean / self.transformer.raw_scale.get(name, 1)
