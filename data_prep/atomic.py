"""Files that are either whole or not there, however the writer ends."""

import contextlib
import os
from pathlib import Path


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
