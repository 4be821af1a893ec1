"""Files of binary messages (.caffemodel, .solverstate), read and written as a whole.

The messages are caffe.proto's, but for the numbers of BlobProto, which are declared as bytes: on
the wire a packed field and bytes are the same, and numpy reads them many times faster than a
message's list. Nothing of a file is believed before it is checked: a blob's shape makes no
allocation until its count is that of the numbers which are there.
"""

import contextlib
import errno
import math
import os

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, EncodeError

from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2
from torchcaffe.schema import read as files

_HDF5 = b"\x89HDF"
"""The first bytes of files of that kind."""


def _messages_with_raw_numbers():
    file = descriptor_pb2.FileDescriptorProto()
    caffe_pb2.DESCRIPTOR.CopyToProto(file)
    blob = next(each for each in file.message_type if each.name == "BlobProto")
    for field in blob.field:
        if field.name in ("data", "diff", "double_data", "double_diff"):
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
            # Repeated, since a packed field may stand in several pieces.
            field.ClearField("options")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
        for name in ("NetParameter", "SolverState", "BlobProto")
    ]


NetParameter, SolverState, BlobProto = _messages_with_raw_numbers()


def read(path, message_class, what):
    """The message in the file; raises CaffeError, naming the file, if there is none.

    `what`: what the file should be, for the message (`a caffemodel`).
    """
    contents = files.contents(path, what)
    if contents.startswith(_HDF5):
        raise CaffeError(f"{path}: is an HDF5 file; its name must end with .h5")
    result = message_class()
    try:
        result.ParseFromString(contents)
    except DecodeError:
        raise CaffeError(
            f"{path}: is not {what}, or was cut off; write or download it again"
        ) from None
    return result


def serialized(message, path):
    """The bytes of a message that shall be the file `path`; CaffeError if they are too many."""
    try:
        contents = message.SerializeToString()
    except EncodeError:
        contents = None
    if contents is None or len(contents) > files.LARGEST:
        raise CaffeError(
            f"{path}: would be larger than a message can be ({files.LARGEST} bytes); use HDF5 "
            "(in a solver snapshot_format: HDF5)"
        )
    return contents


def write(path, contents):
    """Write a whole file or nothing: under a temporary name first, then renamed.

    Raises CaffeError if that fails (a full disk, no permission); the old file then stays.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(contents)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        hint = {
            errno.ENOSPC: "free some space",
            errno.EDQUOT: "free some space",
            errno.ENOENT: "make its folder first",
        }.get(error.errno)
        raise CaffeError(
            f"{path}: cannot be written: {error.strerror}" + (f"; {hint}" if hint else "")
        ) from None


def shape(blob):
    """The shape of a BlobProto as a tuple; four axes for one of the old num, channels, ... form."""
    old = ("num", "channels", "height", "width")
    if any(blob.HasField(name) for name in old):
        return tuple(getattr(blob, name) for name in old)
    return tuple(blob.shape.dim)


def fits(source, target):
    """Whether values of shape `source` go into a blob of shape `target`.

    Shapes are equal; or `source` is of the old four axes and only has ones before `target`.
    """
    if source == target:
        return True
    return len(source) == 4 and len(target) < 4 and source == (1,) * (4 - len(target)) + target


def values(blob, what):
    """The data of a BlobProto: a float32 array, flat, of the count that its shape says.

    Raises CaffeError, beginning with `what`, where the numbers are not as many.
    """
    if not any((*blob.double_data, *blob.data)) and 0 not in shape(blob):
        blob = _packed(blob)
    pieces, kind = (blob.double_data, "<f8") if any(blob.double_data) else (blob.data, "<f4")
    raw = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    expected = math.prod(shape(blob))
    if min(shape(blob), default=0) < 0 or len(raw) != expected * np.dtype(kind).itemsize:
        raise CaffeError(
            f"{what}: has {len(raw) // np.dtype(kind).itemsize} values for the shape "
            f"{' '.join(map(str, shape(blob)))} ({expected}); the file is damaged"
        )
    return np.frombuffer(raw, kind).astype(np.float32)


def _packed(blob):
    """The BlobProto where numbers were written one by one, as some other programs do."""
    listed = caffe_pb2.BlobProto.FromString(blob.SerializeToString())
    return BlobProto.FromString(listed.SerializeToString())


def fill(blob, shape, data, diff=None):
    """Write arrays into a BlobProto."""
    blob.shape.dim.extend(shape)
    blob.data.append(np.ascontiguousarray(data, "<f4").tobytes())
    if diff is not None:
        blob.diff.append(np.ascontiguousarray(diff, "<f4").tobytes())
