"""The pair LMDB: (face, reference) records as BVLC Caffe's Data layer reads them.

Keys are running numbers of 8 digits, so that key order is the order of writing. A value is a Datum:
uint8, channel 0 the face, channel 1 the reference, label the class id.
"""

import contextlib
from pathlib import Path

import lmdb
import numpy as np
from google.protobuf.message import DecodeError

from data_prep import FACE_SIZE
from gcnet.errors import InputError
from torchcaffe.schema.caffe_pb2 import Datum

PAIR_SHAPE = (2, FACE_SIZE, FACE_SIZE)
KEY_DIGITS = 8

_REMEDY = "build it again with python -m data_prep lmdb"

_FIRST_MAP_SIZE = 1 << 24
_RECORDS_PER_COMMIT = 500


def write_pairs(path, records):
    """Write (pair, label) records (uint8 of PAIR_SHAPE, int) into a new LMDB folder `path`.

    The map doubles whenever it is full, so nobody has to guess how large it gets. Raises InputError
    when the disk is full; what is written until then is the caller's to remove.
    """
    path = Path(path)
    path.mkdir()
    try:
        # lock=False: only this process knows the folder. sync=False: one flush at the end.
        with lmdb.open(str(path), map_size=_FIRST_MAP_SIZE, lock=False, sync=False) as database:
            batch = []
            for number, (pair, label) in enumerate(records):
                batch.append((f"{number:0{KEY_DIGITS}d}".encode(), _encode(pair, label)))
                if len(batch) == _RECORDS_PER_COMMIT:
                    _commit(database, batch)
                    batch = []
            _commit(database, batch)
            database.sync(True)
    except lmdb.Error as error:
        raise InputError(
            f"{path}: cannot write the LMDB ({error}); is the disk full? Free some space or choose "
            "another folder"
        ) from None


def _commit(database, batch):
    while True:
        try:
            with database.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value, append=True)
            return
        except lmdb.MapFullError:
            database.set_mapsize(2 * database.info()["map_size"])


def _encode(pair, label):
    channels, height, width = pair.shape
    datum = Datum(
        channels=channels, height=height, width=width, data=pair.tobytes(), label=int(label)
    )
    return datum.SerializeToString()


@contextlib.contextmanager
def open_pairs(path):
    """A pair LMDB opened for reading, as an lmdb.Environment.

    Raises InputError if it is missing, empty, truncated or no LMDB: reading a truncated one would
    end the process with a bus error.
    """
    file = Path(path) / "data.mdb"
    if not file.is_file():
        raise InputError(f"{path}: no LMDB here (data.mdb is missing); {_REMEDY}")
    size = file.stat().st_size
    if size == 0:
        raise InputError(f"{file}: is empty (0 bytes); {_REMEDY}")
    try:
        database = lmdb.open(str(path), readonly=True, lock=False, create=False)
    except lmdb.Error as error:
        raise InputError(f"{file}: no readable LMDB ({error}); {_REMEDY}") from None
    with database:
        needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
        if size < needed:
            raise InputError(f"{file}: truncated, {size} of {needed} bytes; {_REMEDY}")
        yield database


def read_pairs(path):
    """All records of a pair LMDB in key order.

    Returns (pairs, labels): uint8 N x 2 x 66 x 66, and int64 N. Raises InputError as `open_pairs`
    does, and for a record that is no pair.
    """
    with open_pairs(path) as database:
        try:
            return _read(path, database)
        except lmdb.Error as error:
            raise InputError(f"{path}: damaged LMDB ({error}); {_REMEDY}") from None


def _read(path, database):
    with database.begin() as transaction:
        count = transaction.stat()["entries"]
        pairs = np.empty((count, *PAIR_SHAPE), np.uint8)
        labels = np.empty(count, np.int64)
        for number, (key, value) in enumerate(transaction.cursor()):
            try:
                datum = Datum.FromString(value)
            except DecodeError:
                raise InputError(f"{path}: record {key!r} is no Datum; {_REMEDY}") from None
            shape = (datum.channels, datum.height, datum.width)
            if shape != PAIR_SHAPE or len(datum.data) != pairs[0].size:
                raise InputError(
                    f"{path}: record {key!r} holds {'x'.join(map(str, shape))} values "
                    f"({len(datum.data)} bytes), not {'x'.join(map(str, PAIR_SHAPE))}; "
                    + _REMEDY
                )
            pairs[number] = np.frombuffer(datum.data, np.uint8).reshape(PAIR_SHAPE)
            labels[number] = datum.label
    return pairs, labels
