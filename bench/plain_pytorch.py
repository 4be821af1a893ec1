"""The nets of the paper as one writes them by hand in PyTorch: what torchcaffe is measured against.

Same layers and numbers of values as prototxt/{gcnet,cnn,pretrain_autoencoder}.prototxt.
"""

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = (1, 32, 64, 96)
KERNELS = (5, 3, 3)
CLASSES = 7


class Encoder(nn.Module):
    """N x 1 x 64 x 64 -> N x 96 x 8 x 8, and the indices of the three max poolings."""

    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(CHANNELS[i], CHANNELS[i + 1], KERNELS[i], padding="same", bias=False)
            for i in range(3)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in CHANNELS[1:])

    def forward(self, x):
        all_indices = []
        for convolution, norm in zip(self.convolutions, self.norms):
            x = F.relu(norm(convolution(x)), inplace=True)
            x, indices = F.max_pool2d(x, 2, return_indices=True)
            all_indices.append(indices)
        return x, all_indices


class Decoder(nn.Module):
    """The encoder's mirror image."""

    def __init__(self):
        super().__init__()
        self.deconvolutions = nn.ModuleList(
            nn.ConvTranspose2d(
                CHANNELS[i + 1], CHANNELS[i], KERNELS[i], padding=KERNELS[i] // 2, bias=False
            )
            for i in reversed(range(3))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(CHANNELS[i]) for i in reversed(range(3)))

    def forward(self, x, all_indices):
        for deconvolution, norm, indices in zip(
            self.deconvolutions, self.norms, reversed(all_indices)
        ):
            x = F.relu(norm(deconvolution(F.max_unpool2d(x, indices, 2))), inplace=True)
        return x


class Classifier(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Dropout(), nn.Linear(96 * 8 * 8, 384), nn.ReLU(), nn.Linear(384, CLASSES)
        )


class S1R1(nn.Module):
    """GCNet with contrastive and reconstruction losses (eq. 4)."""

    def __init__(self):
        super().__init__()
        self.encoder1, self.decoder1 = Encoder(), Decoder()
        self.encoder2 = Encoder()
        self.decoder2i, self.decoder2r = Decoder(), Decoder()
        self.classifier = Classifier()

    def probabilities(self, image):
        generated = self.decoder1(*self.encoder1(image))
        features, _ = self.encoder2(torch.cat([image, generated]))
        return F.softmax(self.classifier(self._delta(features) * 78.3836718), 1)

    @staticmethod
    def _delta(features):
        unit = F.normalize(features.flatten(1))
        image, reference = unit.chunk(2)
        return (image - reference).abs()

    def forward(self, image, reference, label):
        """The loss."""
        generated = self.decoder1(*self.encoder1(image))
        features, indices = self.encoder2(torch.cat([image, generated]))
        of_image, of_reference = zip(*(i.chunk(2) for i in indices))
        image_features, reference_features = features.chunk(2)
        delta = self._delta(features)
        distance = delta.square().sum(1)
        similar = (label == CLASSES - 1).float()
        too_near = (1 - (distance + 1e-12).sqrt()).clamp(min=0).square()
        contrastive = (similar * distance + (1 - similar) * too_near).sum() / (2 * len(label))
        return (
            F.cross_entropy(self.classifier(delta * 78.3836718), label)
            + contrastive
            + half_squared_error(generated, reference) / 64
            + half_squared_error(self.decoder2i(image_features, of_image), image) / 256
            + half_squared_error(self.decoder2r(reference_features, of_reference), reference) / 256
        )


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.classifier = Classifier()

    def probabilities(self, image):
        return F.softmax(self.classifier(self.encoder(image)[0].flatten(1)), 1)

    def forward(self, image, reference, label):
        return F.cross_entropy(self.classifier(self.encoder(image)[0].flatten(1)), label)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def forward(self, image, reference, label):
        return half_squared_error(self.decoder(*self.encoder(image)), image) / 64


def half_squared_error(a, b):
    return (a - b).square().sum() / (2 * len(a))
