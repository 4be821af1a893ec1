"""Does a .caffemodel belong to a net?"""

from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from gcnet_base.errors import InputError


def parse(path, message):
    """Fill the protobuf `message` from a file. Raises InputError: missing, empty or truncated."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise InputError("{}: no such file".format(path)) from None
    if not content:
        raise InputError("{}: is empty (0 bytes); train or copy it again".format(path))
    try:
        message.ParseFromString(content)
    except DecodeError:
        raise InputError(
            "{}: truncated or no {} file; train or copy it again".format(
                path, message.DESCRIPTOR.name
            )
        ) from None
    return message


def shapes(path):
    """{layer name: [shape of each of its blobs]} of a .caffemodel.

    Raises InputError as `parse` does, and for a blob whose values are not as many as its shape.
    """
    layers = {}
    for layer in parse(path, caffe_pb2.NetParameter()).layer:
        held = layers.setdefault(layer.name, [])
        for blob in layer.blobs:
            shape = tuple(blob.shape.dim)
            if not blob.HasField("shape"):  # of Caffe before blobs of any number of axes
                shape = (blob.num, blob.channels, blob.height, blob.width)
            size = 1
            for length in shape:
                size *= length
            if size != max(len(blob.data), len(blob.double_data)):
                raise InputError(
                    "{}: layer {} holds {} values, not {}; train or copy it again".format(
                        path, layer.name, max(len(blob.data), len(blob.double_data)), size
                    )
                )
            held.append(shape)
    return layers


def check(net, path, every_layer):
    """Check a .caffemodel against a caffe.Net; returns how many of the net's blobs it holds.

    Raises InputError naming the file, the layer, what it holds and what the net expects, for a blob
    of another shape, and with `every_layer` also for a layer that is missing.
    """
    held = shapes(path)
    count = 0
    for layer, blobs in net.params.items():
        expected = [tuple(blob.shape) for blob in blobs]
        if not held.get(layer):
            if every_layer:
                raise InputError(
                    "{}: has no layer {}, expected {}; it is a caffemodel of another net".format(
                        path, layer, _text(expected)
                    )
                )
            continue
        if [_stripped(s) for s in held[layer]] != [_stripped(s) for s in expected]:
            raise InputError(
                "{}: layer {} is {}, expected {}; it is a caffemodel of another net".format(
                    path, layer, _text(held[layer]), _text(expected)
                )
            )
        count += len(expected)
    return count


def taken(nets, path):
    """How many blobs of {name: caffe.Net} a .caffemodel fills.

    Raises InputError as `check` does, and if there are none.
    """
    count = sum(check(net, path, every_layer=False) for net in nets.values())
    if not count:
        raise InputError(
            "{}: has no layer of this net; it holds {}".format(
                path, ", ".join(sorted(shapes(path))[:8])
            )
        )
    return count


def _stripped(shape):
    """Without leading ones, which old files add up to four axes."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _text(blobs):
    return " + ".join("x".join(str(length) for length in shape) or "scalar" for shape in blobs)
