"""What `import caffe` gives in torchcaffe: pycaffe's interface over torchcaffe's engine.

Names and behaviour are those of BVLC Caffe 1.0's Python interface, so that scripts run unchanged
(`python -m torchcaffe script.py`). What BVLC Caffe answers with an abort of the process is a
CaffeError here.
"""

from torchcaffe.arrays import Blob
from torchcaffe.errors import CaffeError
from torchcaffe.layers.python_base import Layer
from torchcaffe.pycaffe import io
from torchcaffe.pycaffe.classifier import Classifier
from torchcaffe.pycaffe.detector import Detector
from torchcaffe.pycaffe.engine import (
    NCCL,
    Timer,
    has_nccl,
    init_log,
    layer_type_list,
    log,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from torchcaffe.pycaffe.net import Net
from torchcaffe.pycaffe.net_spec import NetSpec, layers, params, to_proto
from torchcaffe.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Solver,
    get_solver,
)
from torchcaffe.schema.caffe_pb2 import TEST, TRAIN

__version__ = "1.0.0"
"""The version of BVLC Caffe whose interface this is."""

__all__ = [
    "NCCL", "TEST", "TRAIN", "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Blob", "CaffeError",
    "Classifier", "Detector", "Layer", "NesterovSolver", "Net", "NetSpec", "RMSPropSolver",
    "SGDSolver", "Solver", "Timer", "get_solver", "has_nccl", "init_log", "io", "layer_type_list",
    "layers", "log", "params", "set_device", "set_mode_cpu", "set_mode_gpu", "set_multiprocess",
    "set_random_seed", "set_solver_count", "set_solver_rank", "solver_count", "solver_rank",
    "to_proto",
]  # fmt: skip
