"""Layers of well-known forks of Caffe, which BVLC Caffe 1.0 lacks: off unless asked for.

The environment variable TORCHCAFFE_FORKS, set to anything but 0, turns them on for the whole
process: their layer types, and their fields in caffe.proto's messages (forks.proto, messages.py).
Without it the schema and the layer types are exactly BVLC Caffe's.

A file for each family of layers. A definition is that of the paper or of the fork's public
description, not of BVLC Caffe, which has none.
"""

import importlib
import os
import pkgutil

ENABLED = os.environ.get("TORCHCAFFE_FORKS", "0") not in ("", "0")


def register():
    """Register all of the families' layer types."""
    for file in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{file.name}")
