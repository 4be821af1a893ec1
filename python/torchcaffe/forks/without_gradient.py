"""For bottoms that get no gradient although something below them learns."""

import torch


class WithoutGradient:
    """What a layer has whose bottoms may stand above parameters and yet have no influence.

    The mask of a pooling, or regions that a Python layer proposes from scores, are made from what
    learns, so the net asks for their gradient. As in the forks it is 0, not an error.
    """

    def zeros(self, propagate_down):
        """Zeros for each bottom whose gradient is wanted, else None."""
        return [
            torch.zeros(blob.shape, device=self.device) if wanted else None
            for blob, wanted in zip(self.bottom_blobs, propagate_down)
        ]
