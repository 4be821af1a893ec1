"""caffe.proto with the fields and messages of forks.proto, as a module like caffe_pb2.

forks.desc holds both files as protoc read them:

python -m grpc_tools.protoc -I. -I../schema --include_imports --descriptor_set_out=forks.desc \
    forks.proto
"""

import pathlib
import sys
import types

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.internal import builder


def joined():
    """The FileDescriptorProto of caffe.proto with what forks.proto adds."""
    both = pathlib.Path(__file__).with_name("forks.desc").read_bytes()
    file, added = descriptor_pb2.FileDescriptorSet.FromString(both).file
    messages = {message.name: message for message in file.message_type}
    for message in added.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(".caffe_forks.", ".caffe.", 1)
        if message.name not in messages:
            file.message_type.append(message)
            continue
        known = messages[message.name]
        known.field.extend(message.field)
        enums = {enum.name: enum for enum in known.enum_type}
        for enum in message.enum_type:
            enums[enum.name].value.extend(enum.value)
    return file


def take_the_place_of(name):
    """Make the module of the joined messages and let imports of `name` find it; returns it.

    No other module of caffe.proto may have been imported: protocol buffers keep one file of a name.
    """
    module = types.ModuleType(name, "caffe.proto with the messages of forks")
    file = descriptor_pool.Default().AddSerializedFile(joined().SerializeToString())
    module.DESCRIPTOR = file
    builder.BuildMessageAndEnumDescriptors(file, module.__dict__)
    builder.BuildTopDescriptorsAndMessages(file, name, module.__dict__)
    sys.modules[name] = module
    return module


def upgrade(net):
    """Today's field for one of a fork, in place: `ceil_mode: false` is `round_mode: FLOOR`.

    So the layer is Caffe's own, and what is written of it can be read by every Caffe.
    """
    for layer in net.layer:
        pooling = layer.pooling_param
        if layer.HasField("pooling_param") and pooling.HasField("ceil_mode"):
            if not pooling.ceil_mode:
                pooling.round_mode = pooling.RoundMode.Value("FLOOR")
            pooling.ClearField("ceil_mode")
