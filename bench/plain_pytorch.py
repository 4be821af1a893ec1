"""The nets of the paper as one writes them by hand in PyTorch: what torchcaffe is measured against.

Same layers, starting values of Scale, loss weights and rates as
prototxt/{gcnet,cnn,pretrain_autoencoder}.prototxt. The children of a net bear the names that its
layers in prototxt/ begin with, so that `load` finds their weights.
"""

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = (1, 32, 64, 96)
KERNELS = (5, 3, 3)
CLASSES = 7
SCALE_OF_DELTA = 78.3836718


class Encoder(nn.Module):
    """N x 1 x 64 x 64 -> N x 96 x 8 x 8, and the indices of the three max poolings."""

    LAYER, NUMBERS = "conv", (1, 2, 3)

    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(CHANNELS[i - 1], CHANNELS[i], KERNELS[i - 1], padding="same", bias=False)
            for i in self.NUMBERS
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(CHANNELS[i]) for i in self.NUMBERS)

    def forward(self, x):
        all_indices = []
        for convolution, norm in zip(self.convolutions, self.norms):
            x = F.relu(norm(convolution(x)), inplace=True)
            x, indices = F.max_pool2d(x, 2, return_indices=True)
            all_indices.append(indices)
        return x, all_indices


class Decoder(nn.Module):
    """The encoder's mirror image."""

    LAYER, NUMBERS = "deconv", (3, 2, 1)

    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(
                CHANNELS[i],
                CHANNELS[i - 1],
                KERNELS[i - 1],
                padding=KERNELS[i - 1] // 2,
                bias=False,
            )  # fmt: skip
            for i in self.NUMBERS
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(CHANNELS[i - 1]) for i in self.NUMBERS)
        nn.init.constant_(self.norms[-1].weight, 0.25)
        nn.init.constant_(self.norms[-1].bias, 0.5)

    def forward(self, x, all_indices):
        for deconvolution, norm, indices in zip(
            self.convolutions, self.norms, reversed(all_indices)
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

    OUTPUTS = ("probabilities", "generated")

    def __init__(self):
        super().__init__()
        self.encoder1, self.decoder1 = Encoder(), Decoder()
        self.encoder2 = Encoder()
        self.decoder2_image, self.decoder2_reference = Decoder(), Decoder()
        self.classifier = Classifier()

    def outputs(self, image):
        """What deploy_gcnet.prototxt gives, in the order of OUTPUTS."""
        generated = self.decoder1(*self.encoder1(image))
        features, _ = self.encoder2(torch.cat([image, generated]))
        scores = self.classifier(self._delta(features) * SCALE_OF_DELTA)
        return F.softmax(scores, 1), generated

    @staticmethod
    def _delta(features):
        image, reference = F.normalize(features.flatten(1)).chunk(2)
        return (image - reference).abs()

    def forward(self, image, reference, label):
        """The loss."""
        generated = self.decoder1(*self.encoder1(image))
        features, indices = self.encoder2(torch.cat([image, generated]))
        of_image, of_reference = zip(*(i.chunk(2) for i in indices))
        image_features, reference_features = features.chunk(2)
        reconstructed_image = self.decoder2_image(image_features, of_image)
        reconstructed_reference = self.decoder2_reference(reference_features, of_reference)
        delta = self._delta(features)
        distance = delta.square().sum(1)
        similar = (label - (CLASSES - 1)).clamp(min=0)  # as is_neutral in gcnet.prototxt
        too_near = (1 - (distance + 1e-12).sqrt()).clamp(min=0).square()
        contrastive = (similar * distance + (1 - similar) * too_near).sum() / (2 * len(label))
        return (
            F.cross_entropy(self.classifier(delta * SCALE_OF_DELTA), label)
            + contrastive
            + half_squared_error(generated, reference) / 64
            + half_squared_error(reconstructed_image, image) / 256
            + half_squared_error(reconstructed_reference, reference) / 256
        )


class CNN(nn.Module):
    OUTPUTS = ("probabilities",)

    def __init__(self):
        super().__init__()
        self.encoder2 = Encoder()
        self.classifier = Classifier()

    def _scores(self, image):
        return self.classifier(self.encoder2(image)[0].flatten(1))

    def outputs(self, image):
        """What deploy_cnn.prototxt gives."""
        return (F.softmax(self._scores(image), 1),)

    def forward(self, image, reference, label):
        """The loss; `reference` is not used."""
        return F.cross_entropy(self._scores(image), label)


class Autoencoder(nn.Module):
    OUTPUTS = ("reconstructed",)

    def __init__(self):
        super().__init__()
        self.encoder1, self.decoder = Encoder(), Decoder()

    def outputs(self, image):
        return (self.decoder(*self.encoder1(image)),)

    def forward(self, image, reference, label):
        """The loss; `reference` and `label` are not used."""
        return half_squared_error(*self.outputs(image), image) / 64


NETS = {"s1r1": S1R1, "cnn": CNN, "autoencoder": Autoencoder}


def half_squared_error(a, b):
    return (a - b).square().sum() / (2 * len(a))


def optimizer(net):
    """The solver of prototxt/: S1R1's decoders learn ten times as fast. One kernel a step."""
    tenfold = isinstance(net, S1R1)
    groups = {1: [], 10: []}
    for name, parameter in net.named_parameters():
        groups[10 if tenfold and name.startswith("decoder") else 1].append(parameter)
    return torch.optim.SGD(
        [{"params": part, "lr": 0.001 * times} for times, part in groups.items() if part],
        momentum=0.9, nesterov=True, weight_decay=0.0001, fused=True,
    )  # fmt: skip


@torch.no_grad()
def load(net, weights):
    """Copy Caffe's weights, {"layer/number of the blob": array}, into a net.

    Layers that `weights` lacks stay as they are: a deploy net has no decoders of Encoder_2.
    """
    for prefix, part in net.named_children():
        if isinstance(part, Classifier):
            for number, linear in ((1, part[1]), (2, part[3])):
                _copy(weights, f"{prefix}/fc{number}", linear.weight, linear.bias)
        elif f"{prefix}/bn1/0" in weights:
            for number, convolution, norm in zip(part.NUMBERS, part.convolutions, part.norms):
                _copy(weights, f"{prefix}/{part.LAYER}{number}", convolution.weight)
                _copy(weights, f"{prefix}/scale{number}", norm.weight, norm.bias)
                _copy(weights, f"{prefix}/bn{number}", norm.running_mean, norm.running_var)
                for statistics in (norm.running_mean, norm.running_var):
                    statistics /= weights[f"{prefix}/bn{number}/2"].item()


def _copy(weights, layer, *parameters):
    for number, parameter in enumerate(parameters):
        parameter.copy_(torch.from_numpy(weights[f"{layer}/{number}"]))
