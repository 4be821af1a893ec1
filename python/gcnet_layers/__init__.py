"""The Python layers that the prototxt files name: `python_param { module: "gcnet_layers" ... }`.

Needs numpy (1.19 or later) and the engine's own `caffe`, nothing else, on Python 3.9 or later.
"""

from gcnet_layers.max_unpool import MaxUnpool
from gcnet_layers.normalized_distance import NormalizedDistance

__all__ = ["MaxUnpool", "NormalizedDistance"]
