"""Embed."""

import torch

from torchcaffe.layers.base import Layer, layer


@layer("Embed")
class Embed(Layer):
    """A row of the weights (input_dim x num_output) for each whole number of the bottom, plus a
    bias (num_output); the top has one axis more than the bottom.

    Fails on a number outside 0 to input_dim - 1, where BVLC Caffe reads memory that is not its own.
    A number is truncated if it is not whole, as there. BVLC Caffe ends with force_backward; here
    the bottom gets no gradient.
    """

    ignored_by_force_backward = (0,)

    def setup(self, shapes):
        given = self.parameter.embed_param
        self.check(given.num_output > 0, "num_output is 0, expected 1 or more")
        self.check(given.input_dim > 0, "input_dim is 0, expected 1 or more")
        self.add_parameter((given.input_dim, given.num_output), given.weight_filler)
        if given.bias_term:
            self.add_parameter((given.num_output,), given.bias_filler)

    def reshape(self, shapes):
        return [(*shapes[0], self.parameter.embed_param.num_output)]

    def forward(self, bottoms, keep):
        numbers = self._numbers = bottoms[0].long()
        if numbers.numel():
            least, most = int(numbers.min()), int(numbers.max())
            rows = self.parameter.embed_param.input_dim
            self.check(
                least >= 0 and most < rows,
                f"its bottom has numbers from {least} to {most}, expected 0 to {rows - 1} "
                f"(input_dim is {rows})",
            )
        top = torch.nn.functional.embedding(numbers, self.params[0].data)
        return [top + self.params[1].data if len(self.params) > 1 else top]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[0], "has no gradient for its bottom, the numbers")
        rows = top_diffs[0].reshape(-1, self.parameter.embed_param.num_output)
        if self.param_propagate_down[0]:
            diff = torch.zeros(self.params[0].shape, device=self.device)
            self.params[0].add_diff(diff.index_add_(0, self._numbers.reshape(-1), rows))
        if len(self.params) > 1 and self.param_propagate_down[1]:
            self.params[1].add_diff(rows.sum(0))
        return [None]
