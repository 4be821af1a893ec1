"""torchcaffe: Caffe on PyTorch. docs/torchcaffe.md says what it is and how it is tested."""

__version__ = "0.1.0"
