"""`from caffe.proto import caffe_pb2`."""

from torchcaffe.schema import caffe_pb2

__all__ = ["caffe_pb2"]
