"""Parse the prototxt files that are named, in an engine's Python, as the messages they hold."""

import sys

from caffe.proto import caffe_pb2
from google.protobuf import text_format

for path in sys.argv[1:]:
    name = path.rsplit("/", 1)[-1]
    is_solver = name.startswith("solver_")
    message = caffe_pb2.SolverParameter() if is_solver else caffe_pb2.NetParameter()
    with open(path, encoding="utf-8") as file:
        text_format.Merge(file.read(), message)
    assert message.net if is_solver else len(message.layer), path
print("parsed", len(sys.argv) - 1)
