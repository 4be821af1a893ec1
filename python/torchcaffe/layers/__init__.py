"""The layer types, a file for each family. Importing this package registers all of them, and those
of forks where torchcaffe.forks is on."""

import importlib
import pkgutil

from torchcaffe import forks
from torchcaffe.layers.base import LAYERS, ComputedLayer, Layer, layer, make

__all__ = ["LAYERS", "ComputedLayer", "Layer", "layer", "make"]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

if forks.ENABLED:
    forks.register()
