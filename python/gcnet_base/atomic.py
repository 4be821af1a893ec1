"""Files and folders that are either whole or not there, however the writer ends."""

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from pathlib import Path

# The file in a hidden folder that a running writer keeps locked, and a killed one does not.
_LOCK = "writing.lock"


@contextlib.contextmanager
def naming(path):
    """Put `path` into an OSError that does not say which file it is about (a full disk)."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def replacing(path, mode="w", **open_arguments):
    """Open a temporary file beside `path`; rename it to `path` when the block ends well.

    When the block raises, the temporary file is removed and `path` is as it was. Not flushed to the
    disk: that would take as long for each face as aligning it (6 ms), and a power cut is rare.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path), open(partial, mode, **open_arguments) as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def replacing_folder(place):
    """Make a new folder in a hidden one beside `place`; put it at `place` when the block ends well.

    Yields the new folder, empty. Its parent, the hidden folder, is room for what the block needs
    meanwhile; it is removed at the end. When the block raises, `place` is as it was. Several
    processes may do it at once, the last one wins. What a killed one left is removed by the next
    that writes `place`.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(place)
    hidden, lock = _hidden_folder(place)
    try:
        # A folder inside, because the hidden one itself is closed to other users.
        new = hidden / place.name
        new.mkdir()
        yield new
        _replace(new, place, hidden)
    finally:
        _remove(hidden)
        os.close(lock)


def _hidden_folder(place):
    """(a new hidden folder beside `place`, descriptor of the lock on it)."""
    while True:
        hidden = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
        # Until it is locked, another process may take the folder for an abandoned one.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock), os.stat(hidden / _LOCK)):
                    return hidden, lock
            except (BlockingIOError, FileNotFoundError):
                pass
            os.close(lock)


def remove_abandoned(place):
    """Remove the hidden folders of killed writers of `place`, told by the free lock in them."""
    random_part = "?" * 8  # of the names that tempfile makes
    for hidden in place.parent.glob(f".{glob.escape(place.name)}.{random_part}"):
        try:
            lock = os.open(hidden / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            # Killed before it made the lock: the folder is empty.
            with contextlib.suppress(OSError):
                hidden.rmdir()
            continue
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(hidden)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)


def _remove(hidden):
    # The lock last: without it the rest would be nobody's if this process is killed meanwhile.
    for entry in hidden.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != _LOCK:
            entry.unlink(missing_ok=True)
    shutil.rmtree(hidden, ignore_errors=True)


def _replace(new, place, hidden):
    """Put the finished folder at `place`; what is there, if anything, moves into `hidden`."""
    while True:
        if place.exists():
            # Another process that writes `place` may move it away first.
            with contextlib.suppress(FileNotFoundError):
                os.rename(place, tempfile.mkdtemp(dir=hidden))
        try:
            os.rename(new, place)
            return
        except OSError as error:
            # Another process put its own there in between.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
