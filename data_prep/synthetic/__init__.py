"""Synthetic face databases, written in the layouts of the real ones.

A layout is a module here, named as the database is in data_prep.databases, with

* a docstring: the files that it writes;
* `SIZE`, `COLOUR`, `CONDITIONS`: how its pictures are taken unless told otherwise;
* `add_arguments(parser)`: its options beside those of all layouts;
* `write(root, camera, full, untidy, workers, **its options)`: writes the database into the new
  folder `root` as data_prep.synthetic.writing.Camera draws it, and returns the number of images.
"""

import importlib

from data_prep import databases

LAYOUTS = databases.NAMES


def load(layout):
    """The module that writes a layout."""
    return importlib.import_module(f"{__name__}.{layout}")
