"""NormalizedDistance: the contrastive representation delta of Section III-A of the paper."""

import numpy as np

from gcnet_layers.reported import ReportedLayer, shape_text

# Below this length a feature vector has no direction to speak of: 1/length would be beyond what
# the float32 gradients of a net can carry.
SHORTEST = 1e-12


class NormalizedDistance(ReportedLayer):
    """delta_j = | f_j / |f| - r_j / |r| | for each row, |.| the L2 norm over the row's C values.

    bottom 0: features f of the images, float32, N x C.
    bottom 1: features r of the references, float32, N x C.
    top 0: delta, float32, N x C, each value from 0 to 1 for non-negative features.

    Lengths are summed in float64. A vector of length zero (all of its features dead) counts as
    the zero vector after normalisation and gets a zero gradient. Where f_j / |f| = r_j / |r| the
    gradient of the absolute value is taken as 0.

        layer {
          name: "delta"  type: "Python"  bottom: "features"  bottom: "reference_features"
          top: "delta"
          python_param { module: "gcnet_layers"  layer: "NormalizedDistance"
                         param_str: '{"name": "delta"}' }
        }

    Raises (printed with the layer's name before Caffe aborts): ValueError for bottoms that are
    not 2-dimensional or differ in shape.
    """

    bottoms = ("features", "reference features")

    def reshape(self, bottom, top):
        features, reference = tuple(bottom[0].shape), tuple(bottom[1].shape)
        if len(features) != 2 or features != reference:
            raise ValueError(
                "features are {} and reference features {}, expected two blobs of one shape "
                "N x C (a Flatten layer makes it)".format(
                    shape_text(bottom[0]), shape_text(bottom[1])
                )
            )
        top[0].reshape(*features)

    def forward(self, bottom, top):
        self.units, self.inverse_lengths = zip(*(_unit(bottom[i].data) for i in range(2)))
        difference = self.units[0] - self.units[1]
        self.sign = np.sign(difference)
        np.abs(difference, out=top[0].data)

    def backward(self, top, propagate_down, bottom):
        towards = top[0].diff * self.sign
        for i, direction in enumerate((towards, -towards)):
            if propagate_down[i]:
                unit = self.units[i]
                along = np.einsum("nc,nc->n", direction, unit, dtype=np.float64)
                bottom[i].diff[...] = self.inverse_lengths[i] * (
                    direction - unit * along[:, np.newaxis].astype(np.float32)
                )

    # The same on torch tensors, for engines that offer them (torchcaffe).

    def forward_tensors(self, bottoms):
        import torch

        both = torch.stack(bottoms)
        lengths = torch.linalg.vector_norm(both, dim=2, keepdim=True, dtype=_precise(both))
        inverse = (1 / lengths).where(lengths > SHORTEST, lengths.new_zeros(()))
        self.inverse_lengths = inverse.to(both.dtype)
        self.units = both * self.inverse_lengths
        self.difference = self.units[0] - self.units[1]
        return [self.difference.abs()]

    def backward_tensors(self, top_diffs, propagate_down):
        towards = top_diffs[0] * self.difference.sign()
        diffs = []
        for i, direction in enumerate((towards, -towards)):
            unit = self.units[i]
            along = (direction * unit).sum(1, keepdim=True, dtype=_precise(unit)).to(unit.dtype)
            diff = self.inverse_lengths[i] * (direction - unit * along)
            diffs.append(diff if propagate_down[i] else None)
        return diffs


def _precise(tensor):
    """The type in which lengths are summed: float64, but for devices that do not have it."""
    import torch

    return torch.float32 if tensor.device.type == "mps" else torch.float64


def _unit(vectors):
    """Rows (N x C) to unit length, and N x 1 inverse lengths; zero for rows without length."""
    lengths = np.sqrt(np.einsum("nc,nc->n", vectors, vectors, dtype=np.float64))[:, np.newaxis]
    has_length = lengths > SHORTEST
    inverse = np.where(has_length, 1 / np.where(has_length, lengths, 1), 0).astype(np.float32)
    return vectors * inverse, inverse
