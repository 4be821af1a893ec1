"""Nets and solvers in Caffe's text format, looked up and edited as messages.

An edit that does not find what it shall change raises InputError, so a rendered file never silently
keeps an old value.

Fields are named by their path: `base_lr`, and inside a layer `data_param.source` or
`convolution_param.weight_filler.type`. Layers are LayerParameters of a NetParameter.
"""

import hashlib
import io
from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gcnet_base.errors import InputError
from gcnet_base.paths import portable
from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2, read


def net(path):
    """The NetParameter of a file as it stands there. Raises InputError naming file and line."""
    return _read(path, caffe_pb2.NetParameter())


def solver(path):
    """The SolverParameter of a file as it stands there. Raises InputError naming file and line."""
    return _read(path, caffe_pb2.SolverParameter())


def _read(path, message):
    try:
        return read.prototxt(path, message)
    except CaffeError as error:
        raise InputError(str(error)) from None


def text(message, source):
    """A message in Caffe's text format, after a comment that names the file `source` it is of.

    Every number is printed so that BVLC Caffe reads the same one.
    """
    return f"# Rendered from {portable(source)}.\n{text_format.MessageToString(message)}"


def digest(messages):
    """SHA-256 of what messages mean to Caffe: comments, layout and the order of fields are none."""
    parts = [hashlib.sha256(one.SerializeToString(deterministic=True)) for one in messages]
    return hashlib.sha256(b"".join(part.digest() for part in parts)).hexdigest()


@dataclass(frozen=True)
class _Place:
    """Where a value stands in its message: `number` is that of a repeated field's element."""

    message: Message
    field: FieldDescriptor
    number: int | None

    @property
    def value(self):
        value = getattr(self.message, self.field.name)
        return value if self.number is None else value[self.number]

    def put(self, value):
        try:
            if self.number is None:
                setattr(self.message, self.field.name, value)
            else:
                getattr(self.message, self.field.name)[self.number] = value
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.field.name} cannot be {value!r} ({error})") from None


def _places(message):
    """The _Places of all that a message has, in the order of their field numbers."""
    for field, value in message.ListFields():
        for number in range(len(value)) if field.is_repeated else (None,):
            yield _Place(message, field, number)


def _at(message, path):
    """The _Places of all values at a dotted path."""
    first, _, rest = path.partition(".")
    found = [place for place in _places(message) if place.field.name == first]
    if not rest:
        return found
    inner = [place.value for place in found if isinstance(place.value, Message)]
    return [deep for one in inner for deep in _at(one, rest)]


def layers(net, name, phase=None):
    """The layers called `name`; with `phase`, only those whose include rules name that phase.

    `phase` is "TRAIN" or "TEST". Raises InputError if there is none.
    """
    found = [
        layer
        for layer in net.layer
        if layer.name == name
        and (
            phase is None
            or any(
                rule.HasField("phase") and rule.phase == caffe_pb2.Phase.Value(phase)
                for rule in layer.include
            )
        )
    ]
    if not found:
        raise InputError(f"the net has no layer {name}" + (f" of phase {phase}" if phase else ""))
    return found


def _scopes(message, layer, phase):
    return [message] if layer is None else layers(message, layer, phase)


def values(message, path, layer=None, phase=None):
    """All values at a path that are given; empty if there are none, defaults do not count."""
    return [place.value for one in _scopes(message, layer, phase) for place in _at(one, path)]


def value(message, path, layer=None, phase=None):
    """The one value at a path. Raises InputError unless there is one."""
    found = values(message, path, layer, phase)
    if len(found) != 1:
        raise _not_one(path, layer, len(found))
    return found[0]


def _not_one(path, layer, count):
    where = f"layer {layer}" if layer else "the text"
    return InputError(f"{where} has {count} fields {path}, expected one value")


def set_value(message, path, value, layer=None, phase=None):
    """Give the field at `path` another value, in every layer called `layer` (of that phase).

    Raises InputError if a layer, or the message itself when `layer` is None, does not have exactly
    one such field, or the field cannot have such a value. The message is then as it was.
    """
    places = []
    for one in _scopes(message, layer, phase):
        found = _at(one, path)
        if len(found) != 1 or isinstance(found[0].value, Message):
            raise _not_one(path, layer, len(found))
        places += found
    for place in places:
        place.put(value)


def remove_layer(net, name):
    """Remove the layers called `name`.

    Raises InputError if there is none, or if another layer reads a top that only they make: such a
    net would not be whole any more. In-place layers and losses can be removed.
    """
    removed = layers(net, name)
    others = [layer for layer in net.layer if layer.name != name]
    made = {top for layer in others for top in _own_tops(layer)}
    for layer in removed:
        orphans = _own_tops(layer) - made
        for other in others:
            read_here = orphans & set(other.bottom)
            if read_here:
                raise InputError(
                    f"layer {name} makes {min(read_here)}, which layer {other.name} reads"
                )
    for layer in removed:
        net.layer.remove(layer)


def _own_tops(layer):
    """The blobs that a layer makes and does not just change in place."""
    return set(layer.top) - set(layer.bottom)


def fields(message):
    """Yield (path, value as text) of everything that is given, a layer by its name."""
    for place in _places(message):
        name = place.field.name
        if isinstance(place.value, Message):
            label = f"layer {place.value.name}, " if name == "layer" else f"{name}."
            for path, printed in fields(place.value):
                yield label + path, printed
        else:
            printed = io.StringIO()
            text_format.PrintFieldValue(place.field, place.value, printed)
            yield name, printed.getvalue().removesuffix(".0")  # numbers as people write them
