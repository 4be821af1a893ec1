"""The LMDBs as BVLC Caffe's Data layer reads them: of (face, reference) pairs, or of single faces.

Keys are running numbers of 8 digits, so that key order is the order of writing. A value is a Datum:
uint8, channel 0 the face, channel 1 (in a pair) the reference, label the class id.
"""

import contextlib
import itertools
import math
from pathlib import Path

import lmdb
import numpy as np
from google.protobuf.message import DecodeError

from data_prep import FACE_SIZE
from gcnet_base.errors import InputError
from torchcaffe.schema.caffe_pb2 import Datum

PAIR_SHAPE = (2, FACE_SIZE, FACE_SIZE)
FACE_SHAPE = (1, FACE_SIZE, FACE_SIZE)
KEY_DIGITS = 8

REMEDY = "build it with python -m data_prep lmdb"

_FIRST_MAP_SIZE = 1 << 24
RECORDS_PER_COMMIT = 500
# What was read of a map counts as memory of the process until the map is closed: 12 KB a pair.
RECORDS_PER_OPENING = 5000


def key_of(number):
    """The key (bytes) of record `number`."""
    return f"{number:0{KEY_DIGITS}d}".encode()


def encode(pair, label):
    """The value (bytes) of a record: `pair` uint8 C x H x W, label an int."""
    channels, height, width = pair.shape
    datum = Datum(
        channels=channels, height=height, width=width, data=pair.tobytes(), label=int(label)
    )
    return datum.SerializeToString()


def write_values(path, values):
    """Write values, as `encode` makes them, into a new LMDB folder `path`.

    The map doubles whenever it is full, so nobody has to guess how large it gets. Raises InputError
    when the disk is full; what is written until then is the caller's to remove.
    """
    path = Path(path)
    path.mkdir()
    records = ((key_of(number), value) for number, value in enumerate(values))
    try:
        # lock=False: only this process knows the folder. sync=False: one flush at the end.
        with lmdb.open(str(path), map_size=_FIRST_MAP_SIZE, lock=False, sync=False) as database:
            while batch := list(itertools.islice(records, RECORDS_PER_COMMIT)):
                _commit(database, batch)
            database.sync(True)
    except lmdb.Error as error:
        raise InputError(
            f"{path}: cannot write the LMDB ({error}); is the disk full? Free some space or choose "
            "another folder"
        ) from None


def write_pairs(path, records):
    """Write (pair, label) records into a new LMDB folder: as `encode` and `write_values` say."""
    write_values(path, itertools.starmap(encode, records))


def _commit(database, batch):
    while True:
        try:
            with database.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value, append=True)
            return
        except lmdb.MapFullError:
            database.set_mapsize(2 * database.info()["map_size"])


@contextlib.contextmanager
def open_pairs(path):
    """An LMDB of this project opened for reading, as an lmdb.Environment.

    Raises InputError if it is missing, empty, truncated or no LMDB (reading a truncated one would
    end the process with a bus error), and for the damage that lmdb finds within the block.
    """
    file = Path(path) / "data.mdb"
    if not file.is_file():
        raise InputError(f"{path}: no LMDB here (data.mdb is missing); {REMEDY}")
    size = file.stat().st_size
    if size == 0:
        raise InputError(f"{file}: is empty (0 bytes); {REMEDY}")
    try:
        database = lmdb.open(str(path), readonly=True, lock=False, create=False)
    except lmdb.Error as error:
        raise InputError(f"{file}: no readable LMDB ({error}); {REMEDY}") from None
    with database:
        needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
        if size < needed:
            raise InputError(f"{file}: truncated, {size} of {needed} bytes; {REMEDY}")
        try:
            yield database
        except lmdb.Error as error:
            raise InputError(f"{path}: damaged LMDB ({error}); {REMEDY}") from None


def read_records(path, shape=PAIR_SHAPE):
    """Yield (key, pair, label) of each record in key order: bytes, uint8 of `shape`, int.

    However large the LMDB is, little memory is taken. Raises InputError as `open_pairs` does, and
    for a record of another shape.
    """
    last = None
    while True:
        count = 0
        with open_pairs(path) as database, database.begin() as transaction:
            cursor = transaction.cursor()
            if last is None or cursor.set_range(last) and cursor.next():
                for key, value in itertools.islice(cursor, RECORDS_PER_OPENING):
                    yield key, *_decode(path, key, value, shape)
                    last, count = key, count + 1
        if count < RECORDS_PER_OPENING:
            return


def read_pairs(path, shape=PAIR_SHAPE):
    """All records of an LMDB in key order.

    Returns (pairs, labels): uint8 N x `shape` and int64 N. Raises InputError as `read_records`.
    """
    with open_pairs(path) as database:
        count = database.stat()["entries"]
    pairs = np.empty((count, *shape), np.uint8)
    labels = np.empty(count, np.int64)
    for number, (_, pair, label) in enumerate(read_records(path, shape)):
        pairs[number], labels[number] = pair, label
    return pairs, labels


def _decode(path, key, value, shape):
    try:
        datum = Datum.FromString(value)
    except DecodeError:
        raise InputError(f"{path}: record {key!r} is no Datum; {REMEDY}") from None
    found = (datum.channels, datum.height, datum.width)
    data = np.frombuffer(datum.data, np.uint8)
    if found != shape or data.size != math.prod(shape):
        raise InputError(
            f"{path}: record {key!r} holds {'x'.join(map(str, found))} values "
            f"({data.size} bytes), not {'x'.join(map(str, shape))}; {REMEDY}"
        )
    return data.reshape(shape), datum.label
