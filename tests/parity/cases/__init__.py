"""Random cases for every layer type, a file for each file of torchcaffe/layers/."""

import importlib
import pkgutil

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
