"""Runs several layers as one step where that is faster."""


def steps(net):
    """The steps of a net in order."""
    from torchcaffe.net import LayerStep

    return [LayerStep(net, place) for place in range(len(net.layers))]
