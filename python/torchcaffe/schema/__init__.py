"""Caffe's messages: caffe.proto, and caffe_pb2.py made from it in this folder by

python -m grpc_tools.protoc -I. --python_out=. caffe.proto

With forks (torchcaffe.forks) caffe_pb2 has their fields, too.
"""

from torchcaffe import forks

if forks.ENABLED:
    from torchcaffe.forks import messages

    caffe_pb2 = messages.take_the_place_of(f"{__name__}.caffe_pb2")
