"""`debug_info`: the mean magnitude of each blob while a pass goes through the net.

Layers run one by one here, also those that a step of the net joins otherwise, as the values
between them are what is asked for.
"""

import torch

from torchcaffe import log


def forward(net, keep=True):
    """Net.forward with a line for each top and parameter; returns the loss."""
    loss = torch.zeros((), device=net.device)
    for node in net.nodes:
        layer = node.layer
        loss = loss + net.forward(node.place, node.place, keep=keep)
        for top, blob in zip(node.tops, layer.top_blobs):
            value = _mean(blob.data)
            log.info(f"    [Forward] Layer {layer.shown}, top blob {top} data: {value}")
        names = [spec.name for spec in layer.parameter.param]
        for place, blob in enumerate(layer.params):
            name = "".join(names[place : place + 1]) or place
            value = _mean(blob.data)
            log.info(f"    [Forward] Layer {layer.shown}, param blob {name} data: {value}")
    return loss


def backward(net):
    """Net.backward with a line for each bottom and parameter, and one for all parameters."""
    for node in reversed(net.nodes):
        layer = node.layer
        net.backward(node.place, node.place)
        if not node.needs_backward:
            continue
        for bottom, blob, wanted in zip(node.bottoms, layer.bottom_blobs, node.propagate_down):
            if wanted:
                value = _mean(blob.diff)
                log.info(f"    [Backward] Layer {layer.shown}, bottom blob {bottom} diff: {value}")
        for place, blob in enumerate(layer.params):
            if layer.param_propagate_down[place]:
                value = _mean(blob.diff)
                log.info(f"    [Backward] Layer {layer.shown}, param blob {place} diff: {value}")
    sums = []
    for order in (1, 2):
        for name in ("data", "diff"):
            norms = [
                torch.linalg.vector_norm(getattr(one.blob, name), order) for one in net.learnable
            ]
            total = torch.linalg.vector_norm(torch.stack(norms), order) if norms else 0.0
            sums.append(log.number(total))
    log.error(
        "    [Backward] All net params (data, diff): "
        f"L1 norm = ({sums[0]}, {sums[1]}); L2 norm = ({sums[2]}, {sums[3]})"
    )


def _mean(values):
    # A pooling's mask may be of whole numbers, which have no mean.
    return log.number(values.float().abs().mean()) if values.numel() else "nan"
