"""Steps of a net that run several layers at once, where their memory traffic is the cost.

NormStep runs a convolution, BatchNorm, Scale, ReLU (in place, as Caffe nets write them) and a max
pooling without overlap behind them in the order that touches the least memory:

    statistics of x  ->  pooling of x itself  ->  scale, bias and ReLU on what is left

Pooling may come first since scale and ReLU are monotonic in each channel; where a channel's scale
is negative, its smallest values are pooled. Backward, the gradient arrives in the pooled shape, its
sums over the batch are taken there, and one pass over x makes the gradient of x.

Where no backward pass follows and the statistics are the net's own, BatchNorm and Scale become part
of the convolution's weights, which are kept until a parameter changes.

What the step leaves out, the in-place blob between the layers, is computed when somebody looks at
it. Results are those of the layers one by one, up to rounding. The mask takes care: in a window
whose values are all zero after the ReLU Caffe finds the first one greatest, pooling before the ReLU
another one, and an unpooling puts the decoder's values, which are not zero, where the mask says.
"""

import torch

from torchcaffe.layers.neuron import ReLU
from torchcaffe.layers.normalization import BatchNorm, Scale
from torchcaffe.layers.plumbing import Silence, Slice, Split
from torchcaffe.layers.vision import ConvolutionLayer, Pooling
from torchcaffe.memory import Buffers
from torchcaffe.step import LayerStep, Step


def steps(nodes):
    """The steps of a net's nodes in order: a NormStep where one fits, else a LayerStep for each."""
    made, place = [], 0
    while place < len(nodes):
        joined = _norm_nodes(nodes, place)
        step = NormStep(joined) if joined else LayerStep(nodes[place])
        made.append(step)
        place += len(step.nodes)
    return made


def pass_masks_as_indices(nodes):
    """Let max poolings hand their mask to unpoolings as they have it, as int64.

    Only where nothing else reads it; Split, Slice and Silence pass it on as it is.
    """
    for node in nodes:
        layer = node.layer
        if isinstance(layer, Pooling) and len(node.tops) == 2 and layer.has_no_overlap:
            layer.mask_as_index = _reads_indices(nodes, node, node.tops[1])


def _reads_indices(nodes, maker, blob):
    """Whether all nodes after `maker` that read `blob` take an int64 mask; one does at least."""
    readers = [node for node in nodes[maker.place + 1 :] if blob in node.bottoms]
    for reader in readers:
        layer = reader.layer
        if isinstance(layer, (Split, Slice)):
            if not all(_reads_indices(nodes, reader, top) for top in reader.tops):
                return False
        elif not layer.takes_index_mask and not isinstance(layer, Silence):
            return False
    return bool(readers)


def _norm_nodes(nodes, place):
    """The nodes from `place` on that a NormStep can run; [] if it is none."""
    convolution = [nodes[place]] if _is_plain_convolution(nodes[place].layer) else []
    rest = nodes[place + len(convolution) :]
    if not rest or not isinstance(rest[0].layer, BatchNorm):
        return []
    norm, *later = rest
    blob = norm.bottoms
    if norm.tops != blob or len(norm.shapes[0]) != 4:
        return []
    if convolution and convolution[0].tops != blob:
        return []
    joined = [*convolution, norm]
    allowed = [Scale, ReLU, Pooling]
    for node in later:
        layer = node.layer
        while allowed and not isinstance(layer, allowed[0]):
            allowed.pop(0)
        if not allowed or node.bottoms != blob:
            break
        if isinstance(layer, Pooling):
            if layer.has_no_overlap and layer.device.type == "cpu":
                joined.append(node)
            break
        if node.tops != blob or not _acts_on_channels(layer):
            break
        joined.append(node)
        allowed.pop(0)
    if any(node.needs_backward and not node.propagate_down[0] for node in joined[1:]):
        return []
    alike = {node.needs_backward for node in joined}
    weighted = any(any(node.loss_weights) for node in joined)
    return [] if len(joined) == 1 or len(alike) > 1 or weighted else joined


def _is_plain_convolution(layer):
    return (
        isinstance(layer, ConvolutionLayer)
        and len(layer.top_blobs) == 1
        and layer.axis == 1
        and len(layer.kernel) == 2
        and (layer.group == 1 or not layer.transposed)
    )


def _acts_on_channels(layer):
    if isinstance(layer, Scale):
        return layer.axis == 1 and len(layer.params[0].shape) == 1
    return layer.parameter.relu_param.negative_slope == 0


class NormStep(Step):
    """A convolution or none, BatchNorm, then any of Scale, ReLU and Pooling, as one step."""

    def __init__(self, nodes):
        super().__init__(nodes)
        found = {type(node.layer): node.layer for node in nodes}
        self.norm = found[BatchNorm]
        self.scale = found.get(Scale)
        self.relu = found.get(ReLU)
        self.pool = found.get(Pooling)
        self.convolution = None
        if isinstance(nodes[0].layer, ConvolutionLayer):
            self.convolution = nodes[0].layer
            self._convolution_step = LayerStep(nodes[0])
        self._after_convolution = nodes[self.convolution is not None :]
        self.blob = self.norm.bottom_blobs[0]
        self._buffers = Buffers()
        self._first = None
        self._folded_from = None

    def _forward(self, keep):
        if self.convolution is not None and self.norm.use_global_stats and not keep:
            self._forward_folded()
            return
        if self.convolution is not None:
            self._convolution_step.forward(keep)
        x = self.blob.data
        if keep and self.blob.pinned_data:
            x = x.clone()  # since the result is written into the blob's memory
        self._reshape(x)
        mean, variance = self._statistics(x)
        scale, bias, inverse = self._affine(mean, variance)
        values, places = (x, None) if self.pool is None else self._pooled(x, scale)
        top = torch.addcmul(_wide(bias), values, _wide(scale))
        if self.relu is not None:
            top = top.relu_()
        if self.pool is None:
            self.blob.set_data(top)
        else:
            self.blob.set_data(lambda: self._activated(x, scale, bias))
            self._set_pooled(top, places, x.shape[3])
        self._kept = (x, values, places, top, mean, inverse, scale) if keep else None

    def _forward_folded(self):
        """Convolve with weights that scale as well; the bias is added to what pooling leaves."""
        weight, bias = self._folded_parameters()
        image = self.convolution.bottom_blobs[0].data
        self.nodes[0].fit([image.shape])
        before_pool = None if self.pool is not None else bias
        x = self.convolution.convolve(image, weight, before_pool)
        self._reshape(x)
        if self.pool is None:
            self.blob.set_data(x if self.relu is None else x.relu_())
            return
        values, places = self._max_pool(x)
        top = values.add_(_wide(bias))
        if self.relu is not None:
            top = top.relu_()
        self.blob.set_data(lambda: self._activated(x, torch.ones_like(bias), bias))
        self._set_pooled(top, places, x.shape[3])

    def _folded_parameters(self):
        """(weight, bias) of the convolution with BatchNorm and Scale in them."""
        blobs = [
            blob
            for layer in (self.convolution, self.norm, self.scale)
            if layer is not None
            for blob in layer.params
        ]
        now = [(blob.data, blob.data._version) for blob in blobs]
        # A change by a numpy view, for which data is pinned, leaves no trace.
        if (
            self._folded_from is None
            or any(blob.pinned_data for blob in blobs)
            or any(
                tensor is not before or version != version_before
                for (tensor, version), (before, version_before) in zip(now, self._folded_from)
            )
        ):
            scale, bias, _ = self._affine(*self.norm.global_stats())
            outputs = (1, -1, 1, 1) if self.convolution.transposed else (-1, 1, 1, 1)
            weight = self.convolution.params[0].data * scale.view(outputs)
            if len(self.convolution.params) > 1:
                bias = torch.addcmul(bias, self.convolution.params[1].data, scale)
            self._folded = weight.contiguous(memory_format=torch.channels_last), bias
            self._folded_from = now
        return self._folded

    def _affine(self, mean, variance):
        """(scale, bias, 1 / deviation) of each channel: the layers give x * scale + bias."""
        inverse = (variance + self.norm.eps).rsqrt_()
        scale = inverse if self.scale is None else self.scale.params[0].data * inverse
        if self.scale is not None and self.scale.has_bias:
            return scale, torch.addcmul(self.scale.params[1].data, mean, scale, value=-1), inverse
        return scale, -mean * scale, inverse

    def _backward(self):
        x, values, places, top, mean, inverse, scale = self._kept
        if self.pool is None:
            diff = self.blob.diff
        else:
            diff = self.pool.top_blobs[0].diff
        if self.relu is not None:
            diff = torch.ops.aten.threshold_backward(diff, top, 0)
        bias_diff = _sum(diff)
        scale_diff = _sum(diff * (values - _wide(mean))) * inverse
        self._add_parameter_diffs(scale_diff, bias_diff)
        if not self._after_convolution[0].propagate_down[0]:
            return
        diff = diff * _wide(scale)
        if self.pool is not None:
            kernel = list(self.pool.kernel)
            in_order = x.is_contiguous(memory_format=torch.channels_last)
            diff = torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
                diff, x, kernel, kernel, [0, 0], [1, 1], self.pool.ceil, places,
                grad_input=self._buffers.get("diff", x.shape, x, channels_last=in_order),
            )  # fmt: skip
        if not self.norm.use_global_stats:
            count = x.numel() / x.shape[1]
            slope = scale * inverse * scale_diff / -count
            diff.addcmul_(x, _wide(slope)).add_(_wide(-slope * mean - scale * bias_diff / count))
        self.blob.set_diff(diff)
        if self.convolution is not None:
            self._convolution_step.backward()

    def undo(self):
        if self.kept:
            self.blob.set_data(self._kept[0])
        super().undo()

    def _reshape(self, x):
        for node in self._after_convolution:
            node.fit([x.shape])

    def _statistics(self, x):
        """(mean, biased variance) that normalise this pass; the batch's are counted."""
        norm = self.norm
        if norm.use_global_stats:
            return norm.global_stats()
        mean, variance = torch.ops.aten.batch_norm_update_stats(x, None, None, 0.0)
        count = x.numel() / x.shape[1]
        norm.add_stats(mean, variance * (count / max(count - 1, 1)))
        return mean, variance

    def _pooled(self, x, scale):
        """(values of x whose scaled ones are greatest, their places)"""
        if scale.min().item() > 0:
            return self._max_pool(x)
        sign = _wide(scale.sign())
        values, places = self._max_pool(x * sign)
        if bool((sign == 0).any()):
            values = x.flatten(2).gather(2, places.flatten(2)).view(places.shape)
            return values, places
        return values.mul_(sign), places

    def _max_pool(self, x):
        kernel = list(self.pool.kernel)
        return torch.ops.aten.max_pool2d_with_indices(
            x, kernel, kernel, [0, 0], [1, 1], self.pool.ceil
        )

    def _set_pooled(self, top, places, width):
        blobs = self.pool.top_blobs
        blobs[0].set_data(top)
        if len(blobs) == 2:
            blobs[1].reshape(top.shape)
            blobs[1].set_data(lambda: self._mask(top, places, width))

    def _mask(self, top, places, width):
        if self.relu is not None:
            places = torch.where(top > 0, places, self._first_places(top, width))
        return places if self.pool.mask_as_index else places.to(top.dtype)

    def _first_places(self, top, width):
        """For each pooling window its first place in the plane of x, which is `width` wide."""
        rows, columns = top.shape[2:]
        if self._first is None or self._first_of != (rows, columns, width):
            below = torch.arange(rows, device=top.device) * (self.pool.kernel[0] * width)
            right = torch.arange(columns, device=top.device) * self.pool.kernel[1]
            self._first, self._first_of = below[:, None] + right, (rows, columns, width)
        return self._first

    def _activated(self, x, scale, bias):
        top = torch.addcmul(_wide(bias), x, _wide(scale))
        return top if self.relu is None else top.relu_()

    def _add_parameter_diffs(self, scale_diff, bias_diff):
        if self.scale is None:
            return
        for blob, diff, wanted in zip(
            self.scale.params, (scale_diff, bias_diff), self.scale.param_propagate_down
        ):
            if wanted:
                blob.add_diff(diff)


def _wide(channels):
    """(C,) -> (1, C, 1, 1)"""
    return channels.view(1, -1, 1, 1)


def _sum(values):
    """Over all but the channels."""
    return values.sum((0, 2, 3))
