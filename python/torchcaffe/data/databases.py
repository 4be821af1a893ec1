"""Databases of records, read in key order and round again."""

import os
import threading
import weakref

import lmdb

from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2

_REMEDY = "copy or build it again"

_environments = {}
"""{(process, device, inode of the file): the _Environment that is open}"""

_lock = threading.RLock()
"""Held while LMDB is at work, and while the process forks.

Closing an environment waits until no other thread is at work in it; a child forked in the middle of
such work would wait for a thread that it does not have. Reentrant: a garbage collection may end a
reader at any moment.
"""

os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


def open_database(backend, source):
    """The Lmdb of the folder `source`, shared with everybody in the process who reads it.

    Raises CaffeError if it is missing, empty, truncated or no LMDB, and for backend LEVELDB: no
    maintained package reads LevelDB.
    """
    file = os.path.join(source, "data.mdb")
    if backend == caffe_pb2.DataParameter.LEVELDB:
        raise CaffeError(
            f"{source}: is an LMDB; give backend: LMDB (Caffe's default is LEVELDB)"
            if os.path.isfile(file)
            else f"{source}: LevelDB is not read; convert it to LMDB and give backend: LMDB"
        )
    try:
        status = os.stat(file)
    except OSError as error:
        raise CaffeError(f"{file}: {error.strerror}; source must be an LMDB's folder") from None
    # py-lmdb refuses to open a database twice in a process, and a forked child may not use its
    # parent's.
    key = os.getpid(), status.st_dev, status.st_ino
    with _lock:
        # A garbage collection may end readers at any moment, also in here.
        for opened in list(_environments):
            if opened[0] != key[0] and (inherited := _environments.pop(opened, None)):
                inherited.close()
        while True:
            environment = _environments.get(key)
            if environment is None:
                environment = _environments[key] = _Environment(source, file, status.st_size)
            environment.readers += 1
            if _environments.get(key) is environment:
                return Lmdb(source, environment, key)


class _Environment:
    """What is open of an LMDB, without its lock file: any number of processes may read it."""

    def __init__(self, source, file, size):
        self.readers = 0
        if size == 0:
            raise CaffeError(f"{file}: is empty (0 bytes); {_REMEDY}")
        try:
            self.opened = lmdb.open(source, readonly=True, lock=False, create=False)
            status = self.opened.stat()
            needed = (self.opened.info()["last_pgno"] + 1) * status["psize"]
        except lmdb.Error as error:
            raise CaffeError(f"{file}: no readable LMDB ({error}); {_REMEDY}") from None
        # Reading a page that is not there would end the process with a bus error.
        if size < needed:
            raise CaffeError(f"{file}: truncated, {size} of {needed} bytes; {_REMEDY}")
        if status["entries"] == 0:
            raise CaffeError(f"{file}: holds no records; {_REMEDY}")

    def close(self):
        """Close it; who still reads gets an error."""
        self.opened.close()


def _leave(environment, key):
    """Close the environment of a reader that is gone, if it was the last one.

    Here and not by dropping it, which could still be going on in a thread that makes batches while
    another one opens the database anew.
    """
    with _lock:
        environment.readers -= 1
        if not environment.readers and _environments.get(key) is environment:
            del _environments[key]
            environment.close()


class Lmdb:
    """An LMDB opened for reading; all of a process share what is open of it."""

    def __init__(self, source, environment, key):
        self.source = source
        self._environment = environment.opened
        weakref.finalize(self, _leave, environment, key).atexit = False

    def first(self):
        """(key, value) of the first record."""
        return next(self.records())

    def records(self):
        """(key, value) of the records in key order, round and round endlessly."""
        try:
            with _lock:
                transaction = self._environment.begin()
                cursor = transaction.cursor()
            try:
                while True:
                    with _lock:
                        if not cursor.next() and not cursor.first():
                            raise CaffeError(f"{self.source}: holds no records; {_REMEDY}")
                        record = cursor.item()
                    yield record
            finally:
                with _lock:
                    transaction.abort()
        except lmdb.Error as error:
            raise CaffeError(f"{self.source}: damaged LMDB ({error}); {_REMEDY}") from None
