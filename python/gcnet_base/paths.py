"""Where things are, as they are written down, and digests of what is there."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository. Caffe runs in it, and the paths in rendered prototxt files are relative to it."""


def portable(path):
    """A path as text: relative to the repository where it lies inside it, else absolute."""
    path = Path(path).resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def database_name(index):
    """A name for the database behind an index: its folder's, or the one above a folder "faces"."""
    folder = Path(index).resolve().parent
    return folder.parent.name if folder.name == "faces" else folder.name


def sha256(path):
    """The SHA-256 of a file's content, as hexadecimal text."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
