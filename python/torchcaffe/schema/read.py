"""Caffe's prototxt files, nets and solvers, as messages; protofile.py reads the binary ones.

Every function raises CaffeError, one line that names the file, for a file that is missing, empty,
too large or no such message; for prototxt with line, column and the nearest name that exists.
"""

import difflib
import os
import re
import stat

from google.protobuf import descriptor_pool, text_format

from torchcaffe.errors import CaffeError, layer_title
from torchcaffe.schema import caffe_pb2, circulating, upgrade

LARGEST = 2**31 - 1
"""Bytes of the largest message that protocol buffers allow."""

_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_UNKNOWN_VALUE = re.compile(r'Enum type "([\w.]+)" has no value named ([^.]*)')
_NO_STRING = re.compile(r"Expected string but found: '?(\w+)")
_REPEATED = re.compile(r'Message type "([\w.]+)" should not have multiple "([^"]*)" fields')


def net(path):
    """The NetParameter of a prototxt file, upgraded (upgrade.net)."""
    parameter = prototxt(path, caffe_pb2.NetParameter())
    try:
        return upgrade.net(parameter)
    except CaffeError as error:
        raise CaffeError(f"{path}: {error}") from error


def solver(path):
    """The SolverParameter of a prototxt file, upgraded (upgrade.solver)."""
    path = os.fspath(path)
    return upgrade.solver(prototxt(path, caffe_pb2.SolverParameter()), path)


def prototxt(path, into):
    """Fill a message from a prototxt file as it stands there, not upgraded; returns it."""
    return parse(_text(path), into, path)


def parse(text, into, path):
    """Fill a message from prototxt text; `path` is for the errors. Returns it.

    As in BVLC Caffe a field that is not repeated may be given once, and required ones must be.
    """
    try:
        text_format.Parse(text, into)
    except text_format.ParseError as error:
        numbers = [n for n in (error.GetLine(), error.GetColumn()) if n is not None]
        place = ":".join(map(str, (path, *numbers)))
        layer = _layer_at(text, *numbers) if len(numbers) == 2 else None
        within = f"{_one_line(layer)}: " if layer else ""
        raise CaffeError(f"{place}: {within}{_explained(str(error))}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise CaffeError(f"{path}: {_one_line(str(error))}") from error
    missing = into.FindInitializationErrors()
    if missing:
        raise CaffeError(f"{path}: {', '.join(missing)} must be given")
    return into


def contents(path, what):
    """The bytes of a file or pipe, of a size that a message can have.

    `what`: what the file should be, for the CaffeError where that fails (`a caffemodel`).
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise CaffeError(f"{path}: is a folder, expected {what}")
        # A device may have no end (/dev/zero), or wait for somebody.
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
            raise CaffeError(f"{path}: is neither a file nor a pipe, expected {what}")
        if status.st_size > LARGEST:
            raise _too_large(path, status.st_size)
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise CaffeError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise CaffeError(f"{path!r}: is no file name ({error})") from None
    if not data:
        raise CaffeError(f"{path}: is empty, expected {what}")
    if len(data) > LARGEST:
        raise _too_large(path, f"more than {LARGEST}")
    return data


def _too_large(path, size):
    return CaffeError(f"{path}: has {size} bytes, more than a message can have ({LARGEST})")


def _text(path):
    data = contents(path, "prototxt (text)")
    if b"\0" in data:
        raise CaffeError(f"{path}: is a binary file, expected prototxt (text)")
    # Bytes that are no UTF-8 may stand in comments.
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


_TOKEN = re.compile(
    r"""#[^\n]*|(?P<text>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)|[{<]|[}>]|(?P<word>\w+)"""
)


def _layer_at(text, line, column):
    """The title of the layer that a place of prototxt is in; None outside of layers.

    The text need not be right.
    """
    place = sum(len(before) + 1 for before in text.split("\n")[: line - 1]) + column - 1
    open_blocks, counts, found, words = [], {}, None, []
    for token in _TOKEN.finditer(text):
        if found is None and token.end() > place:
            found = next((block for block in reversed(open_blocks) if block), {})
        if token["text"] or token["word"]:
            words = [*words[-1:], token[0]]
            if len(words) == 2 and words[0] in ("name", "type") and open_blocks and open_blocks[-1]:
                open_blocks[-1].setdefault(words[0], words[1].strip("\"'"))
        elif token[0] in ("{", "<"):
            is_layer = words[-1:] in (["layer"], ["layers"])
            depth = len(open_blocks)
            counts[depth] = counts.get(depth, 0) + is_layer
            open_blocks.append({"place": counts[depth]} if is_layer else {})
        elif token[0] in ("}", ">"):
            closed = open_blocks.pop() if open_blocks else {}
            if found is not None and (closed is found or not found):
                break
        if token[0] in ("{", "}", "<", ">"):
            words = []
    if not found:
        return None
    return layer_title(found.get("name"), found.get("type", "no type"), found["place"])


def _explained(error):
    """What protocol buffers say about the text, with the nearest name that exists."""
    found = _UNKNOWN_FIELD.search(error)
    if found:
        kind, name = found.groups()
        if told := circulating.about_field(name):
            return f"{name} {told}"
        fields = descriptor_pool.Default().FindMessageTypeByName(kind).fields_by_name
        return f"{_short(kind)} has no field {name!r}; {_nearest(name, fields)}"
    found = _UNKNOWN_VALUE.search(error)
    if found:
        kind, name = found.groups()
        return _no_value(kind, name.strip("\"'"))
    found = _NO_STRING.search(error)
    if found:
        name, old_types = found[1], caffe_pb2.V1LayerParameter.LayerType
        if name.upper() in set(old_types.keys()):
            name = upgrade.v1_type(old_types.Value(name.upper()))
        return f'Expected string but found {found[1]}; write it in quotes, "{name}"'
    found = _REPEATED.search(error)
    if found:
        return f"{found[2]!r} is given twice in {_short(found[1])}, which has it once"
    # `line:column : 'the line': what is wrong`
    return _one_line(re.sub(r"^\d+:\d+ : ('.*': )?", "", error, flags=re.DOTALL).rstrip("."))


def _no_value(kind, name):
    """What to say of a value that an enum does not have."""
    values = descriptor_pool.Default().FindEnumTypeByName(kind).values_by_name
    if kind != "caffe.V1LayerParameter.LayerType":
        return f"{_short(kind)} has no value {name!r}; {_nearest(name, values)}"
    if told := circulating.about_type(name, old=True):
        return f"the type {name} {told}"
    for old in values:
        if upgrade.v1_type(values[old].number) == name:
            return (
                f"in `layers`, the older spelling, this is type: {old}; write that, or "
                f'`layer {{ type: "{name}" }}`'
            )
    return f"`layers` has no type {name!r}; {_nearest(name, values)}"


def _nearest(name, names):
    near = difflib.get_close_matches(name.lower(), [other.lower() for other in names], 1, 0.5)
    for other in names:
        if near and other.lower() == near[0]:
            return f"did you mean {other!r}?"
    return f"it has {', '.join(sorted(names))}"


def _short(kind):
    return kind.removeprefix("caffe.")


def _one_line(text):
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    return text if len(text) <= 300 else text[:297] + "..."
