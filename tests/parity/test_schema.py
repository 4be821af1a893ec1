"""Caffe's messages and files as BVLC Caffe has them: fields, reading, upgrades, errors."""

import os
import random
import subprocess

import numpy as np
import pytest
from conftest import REPOSITORY
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from torchcaffe import protofile
from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2, read, upgrade

SEED = int(os.environ["TEST_SEED"])
SCHEMA = REPOSITORY / "python" / "torchcaffe" / "schema"
V1_TYPES = caffe_pb2.V1LayerParameter.LayerType.keys()


# ---- The schema


def test_schema_is_bvlcs(bvlc):
    script = (
        "import sys; from caffe.proto import caffe_pb2; "
        "sys.stdout.buffer.write(caffe_pb2.DESCRIPTOR.serialized_pb)"
    )
    serialized = subprocess.run(
        [bvlc / "bin" / "python3", "-c", script], check=True, capture_output=True
    ).stdout
    theirs = descriptor_pb2.FileDescriptorProto.FromString(serialized)
    ours = descriptor_pb2.FileDescriptorProto.FromString(caffe_pb2.DESCRIPTOR.serialized_pb)
    assert enums(ours) == enums(theirs)
    assert by_name(ours.message_type).keys() == by_name(theirs.message_type).keys()
    for name, message in by_name(theirs.message_type).items():
        got = by_name(ours.message_type)[name]
        assert fields(got) == fields(message), name
        assert enums(got) == enums(message), name


def by_name(messages):
    return {message.name: message for message in messages}


def enums(message):
    return {
        enum.name: {value.name: value.number for value in enum.value} for enum in message.enum_type
    }


def fields(message):
    for field in message.field:
        field.ClearField("json_name")
        # The runtimes write the number 1e-08 of a float as 9.99999994e-09 or as it stands.
        if field.type == field.TYPE_FLOAT and field.HasField("default_value"):
            field.default_value = str(np.float32(field.default_value))
    return by_name(message.field)


def test_generated_module_is_of_the_schema(tmp_path):
    generated = tmp_path / "caffe.pb"
    arguments = [f"-I{SCHEMA}", f"--descriptor_set_out={generated}", "caffe.proto"]
    assert protoc.main(["protoc", *arguments]) == 0
    (expected,) = descriptor_pb2.FileDescriptorSet.FromString(generated.read_bytes()).file
    committed = descriptor_pb2.FileDescriptorProto.FromString(caffe_pb2.DESCRIPTOR.serialized_pb)
    for message in (*expected.message_type, *committed.message_type):
        fields(message)
    assert committed == expected


# ---- Upgrades


def v1_layer(chance, number):
    """A random V1 layer; fields need not fit its type, since upgrading does not ask."""
    lines = [f'name: "layer{number}"  type: {chance.choice(V1_TYPES)}']
    lines += [f'bottom: "blob{chance.randint(0, 9)}"' for _ in range(chance.randint(0, 2))]
    lines += [f'top: "blob{chance.randint(0, 9)}"' for _ in range(chance.randint(0, 2))]
    for field, value in (
        ("blobs_lr", "2"), ("weight_decay", "0.5"), ("param", '"shared"'),
        ("blob_share_mode", "PERMISSIVE"), ("loss_weight", "3"), ("include", "{ phase: TEST }"),
        ("exclude", '{ stage: "s" }'), ("blobs", "{ num: 1 data: 0.25 diff: 1 }"),
    ):  # fmt: skip
        lines += [f"{field}: {value}".replace(": {", " {")] * chance.choice((0, 0, 1, 2, 3))
    transforms = ["scale: 0.5", "mean_file: 'm'", "crop_size: 3", "mirror: true"]
    for field, value in (
        ("convolution_param", "num_output: 3  kernel_size: 2"),
        ("data_param", "source: 'x'"),
        ("image_data_param", "batch_size: 2"),
        ("window_data_param", "fg_fraction: 0.5"),
        ("transform_param", "crop_size: 9"),
        ("pooling_param", "pool: AVE"),
        ("loss_param", "ignore_label: 1"),
        ("hinge_loss_param", "norm: L2"),
        ("dummy_data_param", "num: 2 channels: 3"),
    ):
        if chance.random() < 0.3:
            moved = chance.sample(transforms, chance.randint(0, 4)) if "data_param" in field else []
            moved = [] if "dummy" in field else moved
            lines.append(f"{field} {{ {value} {' '.join(moved)} }}")
    return "layers { " + "\n  ".join(lines) + " }\n"


V0_FIELDS = (
    "num_output: 5", "biasterm: false", "weight_filler { type: 'xavier' }", "bias_filler { value: 1 }",
    "pad: 2", "kernelsize: 3", "group: 2", "stride: 4", "pool: STOCHASTIC", "dropout_ratio: 0.25",
    "local_size: 7", "alpha: 0.5", "beta: 0.25", "k: 2", "source: 's'", "scale: 0.5", "meanfile: 'm'",
    "batchsize: 8", "cropsize: 9", "mirror: true", "blobs { num: 1 data: 2 }", "blobs_lr: 1 blobs_lr: 2",
    "weight_decay: 0.5", "rand_skip: 3", "det_fg_threshold: 0.25", "det_bg_threshold: 0.125",
    "det_fg_fraction: 0.75", "det_context_pad: 4", "det_crop_mode: 'square'", "new_num: 1",
    "new_channels: 2", "new_height: 3", "new_width: 4", "shuffle_images: true", "concat_dim: 0",
    "hdf5_output_param { file_name: 'h' }",
)  # fmt: skip


def v0_net(chance):
    """A random V0 net whose bottoms exist, with padding layers below convolutions and pooling."""
    text = "input: 'x'  input_dim: 2  input_dim: 3  input_dim: 8  input_dim: 8\n"
    text += chance.choice(("", "force_backward: true\n", "name: 'old'\n", "debug_info: true\n"))
    below = "x"
    padded = False
    for number in range(chance.randint(1, 9)):
        kinds = ["conv", "pool"] if padded else [*upgrade._V0_TYPES, "conv", "pool", "padding"]
        kind = chance.choice(kinds)
        padded = kind == "padding"
        given = ["pad: 3"] if padded else chance.sample(V0_FIELDS, chance.randint(0, 12))
        top = chance.choice((f"blob{number}", below)) if not padded else f"blob{number}"
        text += (
            f"layers {{ layer {{ name: 'layer{number}'  type: '{kind}'  {'  '.join(given)} }}\n"
            f"  bottom: '{below}'  top: '{top}' }}\n"
        )
        below = top
    return text


def old_files():
    """{file: text} of nets and solvers in old spellings, the first ones hand-made."""
    chance = random.Random(SEED)
    files = {
        "inputs": "input: 'a'  input: 'b'  input_shape { dim: 2 dim: 3 }  input_shape { dim: 4 }\n"
        "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'r' }",
        "input_dims": "input: 'a'  input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4",
        "shape_and_dims": "input: 'a'  input_shape { dim: 2 }  input_dim: 7",
        "input_without_shape": "input: 'a'  layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'r' }",
        "dims_without_input": "input_dim: 1  layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'r' }",
        "batch_norm": "".join(
            f"layer {{ name: 'n{count}' type: '{kind}' {param * count} }}"
            for kind in ("BatchNorm", "Scale")
            for count in range(5)
            for param in ("param { lr_mult: 0 } ", "param { name: 'a' lr_mult: 2 decay_mult: 3 } ")
        ),
        "new_data": "layer { name: 'd' type: 'Data' data_param { scale: 2 crop_size: 3 } }",
        "mixed_v0_v1": "layers { name: 'a' type: RELU bottom: 'x' top: 'x' }\n"
        "layers { layer { name: 'b' type: 'relu' } bottom: 'x' top: 'x' }\ninput: 'x' input_dim: 1\n"
        "input_dim: 1 input_dim: 1 input_dim: 1",
        "v1_without_type": "layers { name: 'a' } layers { type: RELU }",
        "all_v1_types": "".join(f"layers {{ type: {name} }}\n" for name in V1_TYPES),
        "solver_types": "net: 'n'  solver_type: ADAM  snapshot_prefix: 'x/y'",
        "solver_plain": "net: 'n'  type: 'AdaDelta'",
        "solver.with.dots.txt": "net: 'n'",
        "solver_into_folder": "net: 'n'  snapshot_prefix: 'folder'",
        "solver_into_folder_slash": "net: 'n'  snapshot_prefix: 'folder/'",
        "solver_enum_only": "solver_type: 3",
        "text_forms": "name: 'a' \"b\\n\\x41\\101\"  input_dim: 0x10,  input_dim: 010;  # comment\n"
        "layer: < loss_weight: [1, 2f, 1e-3, inf, -.5]  propagate_down: t  propagate_down: 0 >",
    }
    for number in range(20):
        inputs = "input: 'i'  input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4\n"
        layers = [v1_layer(chance, place) for place in range(chance.randint(1, 6))]
        files[f"v1_{number}"] = chance.choice(("", inputs)) + "".join(layers)
        files[f"v0_{number}"] = v0_net(chance)
    return files


def upgraded_caffemodel(path):
    with open(path, "rb") as file:
        return upgrade.net(caffe_pb2.NetParameter.FromString(file.read()))


def test_old_files_are_upgraded_as_by_bvlc(bvlc, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    files = {}
    for name, text in old_files().items():
        files[name] = text
        with open(name, "w") as file:
            file.write(text)
        if not name.startswith("solver"):
            parsed = read.parse(text, caffe_pb2.NetParameter(), name)
            with open(f"{name}.caffemodel", "wb") as file:
                file.write(parsed.SerializeToString())
            if parsed.layer or parsed.layers:
                files[f"{name}.caffemodel"] = text
    command = [
        bvlc / "bin" / "python3",
        REPOSITORY / "tests" / "parity" / "read_by_bvlc.py",
        *files,
    ]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, f"seed {SEED}\n{ended.stderr[-2000:]}"
    for name, text in files.items():
        solver = name.startswith("solver")
        expected = caffe_pb2.SolverParameter() if solver else caffe_pb2.NetParameter()
        with open(f"{name}.read", "rb") as file:
            expected.ParseFromString(file.read())
        reader = (
            read.solver if solver else upgraded_caffemodel if "caffemodel" in name else read.net
        )
        assert reader(name) == expected, f"seed {SEED}, {name}:\n{text}"


@pytest.mark.parametrize("field", ["net_param", "train_net_param", "test_net_param"])
def test_old_nets_inside_of_a_solver_are_upgraded(tmp_path, field):
    """As in BVLC Caffe's lenet_consolidated_solver.prototxt, of which 1.0 makes an empty net."""
    old = "input: 'x' input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4\n"
    old += "layers { name: 'r' type: RELU bottom: 'x' top: 'r' }"
    (tmp_path / "net").write_text(old)
    count = 2 if field == "test_net_param" else 1
    (tmp_path / "solver").write_text(f"{field} {{ {old} }}\n" * count)
    found = getattr(read.solver(tmp_path / "solver"), field)
    expected = read.net(tmp_path / "net")
    assert expected.layer[1].type == "ReLU"
    assert (list(found) if count > 1 else [found]) == [expected] * count
    bad = f"{field} {{ layers {{ }} layer {{ }} }}"
    assert_told(tmp_path, bad, [f"{field}: ", "`layer` and `layers`"], read.solver)


@pytest.mark.parametrize(
    "text, parts",
    [
        (
            "layers { layer { name: 'a' type: 'convolution' } }",
            ["layer a", "'convolution'", "conv"],
        ),
        ("layers { layer { name: 'a' type: 'relu' } bottom: 'x' }", ["layer a", "'x'"]),
        (
            "input: 'x'  layers { layer { type: 'padding' } bottom: 'x' top: 'p' }\n"
            "layers { layer { name: 'a' type: 'relu' } bottom: 'p' top: 'y' }",
            ["layer a", "padding"],
        ),
        ("layers { name: 'a' }  layer { name: 'b' }", ["without a name", "`layer` and `layers`"]),
        ("input: 'x'  input: 'y'  input_dim: 1", ["2 input", "1 input_dim"]),
        ("input: 'x'  input: 'y'  input_shape { dim: 1 }", ["2 input", "1 input_shape"]),
    ],
)
def test_what_cannot_be_upgraded_is_told(tmp_path, text, parts):
    assert_told(tmp_path, text, parts)


# ---- Errors


def assert_told(folder, content, parts, reader=read.net, name="net.prototxt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CaffeError) as error:
        reader(path)
    message = str(error.value)
    assert "\n" not in message and len(message) < 2000
    for part in (str(path), *parts):
        assert part in message, (part, message)


@pytest.mark.parametrize(
    "text, parts",
    [
        ("\nlayer { nme: 'x' }", [":2:9:", "LayerParameter", "'nme'", "did you mean 'name'"]),
        (
            "layer { pooling_param { kernal_size: 3 } }",
            [":1:25:", "PoolingParameter", "did you mean 'kernel_size'"],
        ),
        ("layer { pooling_param { pool: MAXX } }", [":1:31:", "'MAXX'", "did you mean 'MAX'"]),
        ("layer { phase: train }", [":1:16:", "Phase", "did you mean 'TRAIN'"]),
        ("layer { name: 5 }", [":1:15:", "Expected string"]),
        ("layer { name: 'x'", [":1:15:", 'Expected "}"']),
        ("name: 'x'\nname: 'y'", [":2:", "'name'", "twice"]),
        ("name: 'x\n'", [":1:7:", "missing ending quote"]),
        ("input_dim: 3.5", [":1:12:", "3.5"]),
        ("input_dim: 99999999999", [":1:12:", "out of range"]),
        ("layer { clip_param { min: 1 } }", ["clip_param.max must be given"]),
        ("layer {" * 100000, ["LayerParameter has no field 'layer'"]),
        ("layer <" * 100000, ["LayerParameter has no field 'layer'"]),
        ("", ["is empty"]),
        (b"\x89HDF\r\n\0", ["binary file"]),
        (b"name: '\xff'", [":1:7:"]),
        # Braces in a text or comment are none, and the layer's name may come later.
        (
            "name: '}'\nlayer { } # {\nlayer { pooling_param { kernel_size: 3 pad: x }\n"
            "type: 'Pooling' name: 'pool{1' } layer { name: 'next' }",
            [":3:45:", "layer pool{1 (Pooling): "],
        ),
        ("layer { }\nlayer { lrn_param { k: x } type: 'LRN' }", [":2:24:", "layer #2 (LRN): "]),
        ("layers { layer { type: 'lrn' k: x } }", ["layer #1 (lrn): "]),
        ("name: 'x' layer { } input_dim: x", [":1:32: C"]),
        ("layer { name: 'r' type: RELU }", ["layer r (RELU): ", '"ReLU"', "quotes"]),
        ("layer { name: 'r' type: InnerProduct }", ['"InnerProduct"']),
        ("layer { name: conv1 type: 'ReLU' }", ['write it in quotes, "conv1"']),
        ("layers { type: 'InnerProduct' }", ["type: INNER_PRODUCT", "`layer { type:"]),
        ("layers { type: SOFTMAX_LOS }", ["did you mean 'SOFTMAX_LOSS'"]),
        # Forks.
        (
            "layer { type: 'BN' bn_param { frozen: true } name: 'bn1' }",
            ["layer bn1 (BN): bn_param is not of BVLC Caffe 1.0", "SegNet", "PSPNet"],
        ),
        (
            "layer { name: 'p' type: 'Permute' permute_param { order: 0 } }",
            ["layer p (Permute)", "a fork: SSD"],
        ),
        ("layer { type: 'ROIPooling' roi_pooling_param { } }", ["layer #1 (ROIPooling)", "R-CNN"]),
        ("layer { interp_param { height: 3 } }", ["interp_param is not of BVLC", "DeepLab"]),
        ("layer { smooth_l1_loss_param { } }", ["smooth_l1_loss_param", "Fast R-CNN"]),
        ("layer { center_loss_param { } }", ["center loss"]),
        ("layers { name: 'u' type: UPSAMPLE }", ["layer u (UPSAMPLE)", "SegNet"]),
        (
            "layer { name: 'p' pooling_param { pool: MAX ceil_mode: false } type: 'Pooling' }",
            ["layer p (Pooling): ceil_mode", "write round_mode: FLOOR"],
        ),
    ],
)
def test_bad_prototxt_is_told(tmp_path, text, parts):
    assert_told(tmp_path, text, parts)


def test_bytes_that_are_no_utf_8_may_stand_in_comments(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"\xef\xbb\xbf# caf\xe9\nname: 'net'")
    assert read.net(path).name == "net"


def test_bad_solver_is_told(tmp_path):
    for text, parts in (
        ("lr_polcy: 'inv'", [":1:1:", "did you mean 'lr_policy'"]),
        ("solver_type: ADAM  type: 'Adam'", ["solver_type", "give type only"]),
        ("solver_type: ADAMS", ["did you mean 'ADAM'"]),
    ):
        assert_told(tmp_path, text, parts, read.solver)


def caffemodel(path):
    return protofile.read(path, protofile.NetParameter, "a caffemodel")


def test_bad_binary_files_are_told(tmp_path):
    net = caffe_pb2.NetParameter(name="net")
    net.layer.add(name="layer", type="Scale").blobs.add().data.extend([1.0] * 100)
    good = net.SerializeToString()
    path = tmp_path / "good.caffemodel"
    path.write_bytes(good)
    assert caffemodel(path).SerializeToString() == good
    for content, parts in (
        (b"", ["is empty"]),
        (good[:-1], ["is not a caffemodel"]),
        (good[: len(good) // 2], ["cut off"]),
        (b"name: 'net'\nlayer { }", ["is not a caffemodel"]),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), ["HDF5"]),
        (b"\xff" * 1000, ["is not a caffemodel"]),
        # A length of 2^62 bytes for a blob that is not there.
        (b"\xa2\x06\xff\xff\xff\xff\xff\xff\xff\xff\x3f", ["is not a caffemodel"]),
    ):
        assert_told(tmp_path, content, parts, caffemodel, "bad.caffemodel")


def test_random_damage_never_crashes(tmp_path):
    chance = random.Random(SEED)
    net = caffe_pb2.NetParameter(name="net")
    net.layer.add(name="layer", type="Scale").blobs.add().data.extend([1.0] * 10)
    binary, text = net.SerializeToString(), str(net).encode()
    for good, reader in ((binary, caffemodel), (text, read.net)):
        for _ in range(200):
            damaged = bytearray(good)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            path = tmp_path / "damaged"
            path.write_bytes(damaged)
            try:
                reader(path)
            except CaffeError as error:
                assert "\n" not in str(error), f"seed {SEED}"


def test_unreadable_paths_are_told(tmp_path):
    large = tmp_path / "large"
    with open(large, "wb") as file:
        file.truncate(read.LARGEST + 1)
    for path, part in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "is a folder"),
        (large, "more than a message can have"),
        ("with\0zero", "no file name"),
        ("/dev/zero", "neither a file nor a pipe"),
    ):
        for reader in (read.net, read.solver, caffemodel):
            with pytest.raises(CaffeError, match=part):
                reader(path)


def test_a_pipe_can_be_read():
    reading, writing = os.pipe()
    os.write(writing, b"name: 'piped'")
    os.close(writing)
    assert read.net(f"/dev/fd/{reading}").name == "piped"
    os.close(reading)


def test_what_is_left_out_is_logged(tmp_path, capfd, monkeypatch):
    path = tmp_path / "old.prototxt"
    path.write_text("layers { layer { name: 'a'  type: 'relu'  stride: 2 } }")
    for level, lines in (("0", 1), ("2", 0)):
        monkeypatch.setenv("GLOG_minloglevel", level)
        read.net(path)
        printed = capfd.readouterr().err
        assert printed.count("layer a (relu): stride of type 'relu' has no place") == lines, printed
        assert not printed or printed.startswith("W")
