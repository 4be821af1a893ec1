"""What `import caffe` gives in torchcaffe: pycaffe's interface."""

from torchcaffe.pycaffe.net import Blob, Net
from torchcaffe.schema.caffe_pb2 import TEST, TRAIN

__all__ = ["TEST", "TRAIN", "Blob", "Net"]
