"""Exact edits of a net or solver in Caffe's text format: text in, text out.

What is not edited stays as it is, comments and layout included. An edit that does not find what it
shall change raises InputError, so a rendered file never silently keeps an old value.

Fields are named by their path: `base_lr`, and inside a layer `data_param.source` or
`convolution_param.weight_filler.type`.
"""

import re
from dataclasses import dataclass

from gcnet_base.errors import InputError

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<punctuation>[{}<>:,;])
      | (?P<string>"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])*')
      | (?P<word>[A-Za-z0-9_.+\-/]+)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Field:
    """A field of a message: `start` and `end` span it in the text, `value_start` begins its value.

    `value` is the value's text, with its quotes if it has any, or for a message the tuple of its
    own Fields.
    """

    name: str
    start: int
    value_start: int
    end: int
    value: str | tuple


def parse(text):
    """The Fields of the whole text. Raises InputError with the line that is not text format."""
    tokens = _tokens(text)
    fields, position = _message(text, tokens, 0, closing=None)
    return fields


def without_layout(text):
    """The text without comments and layout: equal for two files that mean the same to Caffe."""
    return " ".join(token for token, _, _ in _tokens(text))


def _tokens(text):
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise _error(text, position, f"unexpected {text[position]!r}")
        if match.lastgroup:
            tokens.append((match[0], match.start(), match.end()))
        position = match.end()
    return tokens


def _error(text, position, problem):
    return InputError(f"prototxt line {text.count(chr(10), 0, position) + 1}: {problem}")


def _message(text, tokens, i, closing):
    fields = []
    while i < len(tokens) and tokens[i][0] != closing:
        name, start, end = tokens[i]
        if i + 1 == len(tokens):
            raise _error(text, start, f"{name} has no value")
        i += 1
        if tokens[i][0] == ":" and i + 1 < len(tokens):
            i += 1
        value, value_start, end = tokens[i]
        if value == "{":
            value, i = _message(text, tokens, i + 1, "}")
            if i == len(tokens):
                raise _error(text, value_start, f"the {{ of {name} is never closed")
            end = tokens[i][2]
        fields.append(Field(name, start, value_start, end, value))
        i += 1
        while i < len(tokens) and tokens[i][0] in ",;":
            i += 1
    return tuple(fields), i


def _at(fields, path):
    """The Fields at a dotted path."""
    first, _, rest = path.partition(".")
    found = [field for field in fields if field.name == first]
    if not rest:
        return found
    messages = [field.value for field in found if isinstance(field.value, tuple)]
    return [deep for message in messages for deep in _at(message, rest)]


def _plain(field):
    return field.value[1:-1] if field.value[0] in "\"'" else field.value


def _values(fields, path):
    return [_plain(field) for field in _at(fields, path)]


def _layers(text, name, phase=None):
    """The layers called `name`; with `phase`, only those whose include rules name that phase."""
    found = [
        field
        for field in parse(text)
        if field.name == "layer"
        and name in _values(field.value, "name")
        and (phase is None or phase in _values(field.value, "include.phase"))
    ]
    if not found:
        raise InputError(f"the net has no layer {name}" + (f" of phase {phase}" if phase else ""))
    return found


def _own_tops(layer):
    """The blobs that a layer makes and does not just change in place."""
    return set(_values(layer.value, "top")) - set(_values(layer.value, "bottom"))


def values(text, path, layer=None, phase=None):
    """All values at a path, as text without quotes; empty if there are none."""
    scopes = [parse(text)] if layer is None else [f.value for f in _layers(text, layer, phase)]
    return [value for scope in scopes for value in _values(scope, path)]


def value(text, path, layer=None, phase=None):
    """The one value at a path, as text without quotes. Raises InputError unless there is one."""
    found = values(text, path, layer, phase)
    if len(found) != 1:
        where = f"layer {layer}" if layer else "the text"
        raise InputError(f"{where} has {len(found)} fields {path}, expected one value")
    return found[0]


def layer_names(text):
    """The names of all layers, in the order of the text."""
    return [name for layer in _at(parse(text), "layer") for name in _values(layer.value, "name")]


def set_value(text, path, value, layer=None, phase=None):
    """Give the field at `path` another value, in every layer called `layer` (of that phase).

    Quotes are kept where the field has them. Raises InputError if a layer, or the text itself
    when `layer` is None, does not have exactly one such field.
    """
    scopes = [parse(text)] if layer is None else [f.value for f in _layers(text, layer, phase)]
    spans = []
    for scope in scopes:
        found = _at(scope, path)
        if len(found) != 1 or isinstance(found[0].value, tuple):
            where = f"layer {layer}" if layer else "the text"
            raise InputError(f"{where} has {len(found)} fields {path}, expected one value")
        spans.append((found[0].value_start, found[0].end, found[0].value[0] in "\"'"))
    new = str(value).lower() if isinstance(value, bool) else str(value)
    for start, end, quoted in reversed(spans):
        text = text[:start] + (f'"{new}"' if quoted else new) + text[end:]
    return text


def remove_layer(text, name):
    """Remove the layers called `name`.

    Raises InputError if there is none, or if another layer reads a top that only they make: such a
    net would not be whole any more. In-place layers and losses can be removed.
    """
    removed = _layers(text, name)
    others = [layer for layer in _at(parse(text), "layer") if layer not in removed]
    made = {top for layer in others for top in _own_tops(layer)}
    for layer in removed:
        orphans = _own_tops(layer) - made
        for other in others:
            read = orphans & set(_values(other.value, "bottom"))
            if read:
                reader = _values(other.value, "name")[0]
                raise InputError(f"layer {name} makes {min(read)}, which layer {reader} reads")
    for layer in reversed(removed):
        text = text[: layer.start] + text[layer.end :].lstrip(" ").removeprefix("\n")
    return text
