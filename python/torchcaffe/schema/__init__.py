"""Caffe's messages: caffe.proto, and caffe_pb2.py made from it in this folder by

python -m grpc_tools.protoc -I. --python_out=. caffe.proto
"""
