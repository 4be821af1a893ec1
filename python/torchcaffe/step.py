"""The smallest part of a net that runs at once."""


class LayerStep:
    """One layer, run on the net's blobs."""

    def __init__(self, net, place):
        self.net, self.places = net, (place,)
        self.kept = False
        self.layer = net.layers[place]

    def forward(self, keep):
        layer = self.layer
        if not layer.reads_bottoms:
            return
        bottoms = [self._bottom(blob, keep) for blob in layer.bottom_blobs]
        shapes = [bottom.shape for bottom in bottoms]
        if shapes != layer.shapes:
            layer.shapes = shapes
            layer.reshape(shapes)
        results = layer.forward(bottoms, keep)
        for blob, result in zip(layer.top_blobs, results):
            blob.set_data(result)

    def _bottom(self, blob, keep):
        """The tensor of a bottom; a copy if the layer keeps it and then writes over its memory."""
        overwritten = keep and blob.pinned_data and any(blob is top for top in self.layer.top_blobs)
        return blob.data.clone() if overwritten else blob.data

    def backward(self):
        layer, place = self.layer, self.places[0]
        if not self.net.needs_backward[place] or not (layer.bottom_blobs or layer.params):
            return
        wanted = self.net.propagate_down(place)
        diffs = layer.backward([blob.diff for blob in layer.top_blobs], wanted)
        for blob, diff, want in zip(layer.bottom_blobs, diffs, wanted):
            if want:
                blob.set_diff(diff)
