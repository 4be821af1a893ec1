"""`debug_info`: the mean magnitude of each blob while a pass goes through the net.

Layers run one by one here, also those that a step of the net joins otherwise, as the values
between them are what is asked for.
"""

import torch

from torchcaffe import log


def forward(net, keep=True):
    """Net.forward with a line for each top and parameter; returns the loss."""
    loss = torch.zeros((), device=net.device)
    names = dict(zip(net.parameter_places, net.parameter_names))
    for i, layer in enumerate(net.layers):
        loss = loss + net.forward(i, i, keep=keep)
        for top in net.top_names[i]:
            value = _mean(net.blobs[top].data)
            log.info(f"    [Forward] Layer {layer.name}, top blob {top} data: {value}")
        for place, blob in enumerate(layer.params):
            value = _mean(blob.data)
            log.info(
                f"    [Forward] Layer {layer.name}, param blob {names[i, place]} data: {value}"
            )
    return loss


def backward(net):
    """Net.backward with a line for each bottom and parameter, and one for all parameters."""
    for i, layer in reversed(list(enumerate(net.layers))):
        net.backward(i, i)
        if not net.needs_backward[i]:
            continue
        for bottom, wanted in zip(net.bottom_names[i], net.propagate_down(i)):
            if wanted:
                value = _mean(net.blobs[bottom].diff)
                log.info(f"    [Backward] Layer {layer.name}, bottom blob {bottom} diff: {value}")
        for place, blob in enumerate(layer.params):
            if layer.param_propagate_down[place]:
                value = _mean(blob.diff)
                log.info(f"    [Backward] Layer {layer.name}, param blob {place} diff: {value}")
    sums = []
    for order in (1, 2):
        for name in ("data", "diff"):
            norms = [
                torch.linalg.vector_norm(getattr(blob, name), order) for blob in net.learnable
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
