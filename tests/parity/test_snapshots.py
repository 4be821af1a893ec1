"""Snapshots cross between the engines, and files that are wrong lead to one clear line."""

import itertools
import os
import resource
import signal
import time

import h5py
import numpy as np
import pytest
from google.protobuf import text_format
from google.protobuf.message import EncodeError

from parity.engines import ENGINES, TYPES, assert_close, make_folder, run_jobs, write_solver
from torchcaffe import protofile, weights
from torchcaffe.errors import CaffeError
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2, read
from torchcaffe.solver import Solver

FORMATS = {"BINARYPROTO": "", "HDF5": ".h5"}
GRID = list(itertools.product(TYPES, FORMATS))


@pytest.fixture(scope="module")
def folder(bvlc, tmp_path_factory):
    """With the data, the net and first.caffemodel."""
    folder = tmp_path_factory.mktemp("snapshots")
    make_folder(folder)
    first = write_solver(folder, "first", "SGD")
    job = {"solver": first, "save": "first.caffemodel", "steps": []}
    run_jobs("BVLC Caffe", bvlc, folder, [job])
    return folder


@pytest.fixture(scope="module")
def outcomes(bvlc, folder):
    """{(type, format, engine that began, engine that went on): arrays after 42 iterations}

    21 iterations before the snapshot, which end with the data, and 21 after it; the step of the
    learning rate changes at 10 and 30, so it has to be in the snapshot too.
    """
    solvers = {}
    for solver_type, form in GRID:
        for engine in ENGINES:
            name = f"{solver_type}_{form}_{engine.replace(' ', '_')}"
            fields = (
                f"snapshot_format: {form}  weight_decay: 0.01  snapshot_diff: true  "
                'lr_policy: "multistep"  gamma: 0.5  stepvalue: 10  stepvalue: 30'
            )
            solvers[solver_type, form, engine] = write_solver(folder, name, solver_type, fields)
    results = {}
    for engine in ENGINES:
        jobs = [
            {
                "solver": solvers[*case, engine],
                "weights": "first.caffemodel",
                "steps": [21, "snapshot", 21],
            }
            for case in GRID
        ]
        for case, arrays in zip(GRID, run_jobs(engine, bvlc, folder, jobs)):
            results[*case, engine, engine] = arrays
    for engine, other in (ENGINES, ENGINES[::-1]):
        jobs = []
        for case in GRID:
            solver = solvers[*case, other]
            state = f"{solver.removesuffix('.prototxt')}_iter_21.solverstate{FORMATS[case[1]]}"
            jobs.append({"solver": solvers[*case, engine], "restore": state, "steps": [21]})
        for case, arrays in zip(GRID, run_jobs(engine, bvlc, folder, jobs)):
            results[*case, other, engine] = arrays
    return results


@pytest.mark.parametrize(
    ("solver_type", "form", "began", "went_on"),
    [(*case, *engines) for case in GRID for engines in (ENGINES, ENGINES[::-1])],
)
def test_a_run_goes_on_in_the_other_engine(outcomes, solver_type, form, began, went_on):
    crossed = outcomes[solver_type, form, began, went_on]
    assert crossed["iter"] == 42
    for engine in ENGINES:
        assert_close(crossed, outcomes[solver_type, form, engine, engine], f"unbroken in {engine}:")


def described(message):
    """All of a caffemodel but its numbers, whose counts stand for them."""
    text = type(message).FromString(message.SerializeToString())
    for layer in text.layer:
        for blob in layer.blobs:
            for pieces in (blob.data, blob.diff):
                pieces[:] = [str(len(raw)).encode() for raw in pieces]
    return str(text)


@pytest.mark.parametrize("solver_type", TYPES)
def test_the_files_have_the_same_fields(outcomes, folder, solver_type):
    """Layers in their order with Split layers, all fields, blobs' shapes, histories' order."""
    kinds = {".caffemodel": protofile.NetParameter, ".solverstate": protofile.SolverState}
    for end, kind in kinds.items():
        messages = [
            kind.FromString(
                (folder / f"{solver_type}_BINARYPROTO_{name}_iter_21{end}").read_bytes()
            )
            for name in ("torchcaffe", "BVLC_Caffe")
        ]
        if end == ".caffemodel":
            assert described(messages[0]) == described(messages[1])
        else:
            ours, theirs = messages
            assert (ours.iter, ours.current_step) == (theirs.iter, theirs.current_step) == (21, 1)
            assert ours.learned_net == theirs.learned_net.replace("BVLC_Caffe", "torchcaffe")
            assert len(ours.history) == len(theirs.history)
            for mine, its in zip(ours.history, theirs.history):
                assert protofile.shape(mine) == protofile.shape(its)
                a, b = protofile.values(mine, ""), protofile.values(its, "")
                assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()


@pytest.mark.parametrize("end", [".caffemodel.h5", ".solverstate.h5"])
def test_hdf5_has_the_same_tree(outcomes, folder, end):
    trees = []
    for name in ("torchcaffe", "BVLC_Caffe"):
        tree = {}
        with h5py.File(folder / f"Adam_HDF5_{name}_iter_21{end}") as file:
            file.visititems(
                lambda path, each: tree.update(
                    {path: (getattr(each, "shape", None), str(getattr(each, "dtype", None))[:2])}
                )
            )
        trees.append(tree)
    assert trees[0] == trees[1]


SHARED = """
name: "shared"
layer { name: "x"  type: "Input"  top: "x"  input_param { shape { dim: 2 dim: 3 } } }
layer { name: "one"  type: "InnerProduct"  bottom: "x"  top: "a"  param { name: "w" }
  inner_product_param { num_output: 3  weight_filler { type: "xavier" } } }
layer { name: "two"  type: "InnerProduct"  bottom: "a"  top: "b"  param { name: "w" }
  inner_product_param { num_output: 3  weight_filler { type: "xavier" } } }
"""


def net_of(text, folder, phase=caffe_pb2.TEST):
    path = folder / "some.prototxt"
    path.write_text(text)
    parameter = read.net(path)
    parameter.state.phase = phase
    return Net(parameter)


def arrays_of(net):
    return {
        (layer.name, place): blob.data.clone().numpy()
        for layer in net.layers
        for place, blob in enumerate(layer.params)
    }


@pytest.mark.parametrize("end", [".caffemodel", ".caffemodel.h5"])
def test_shared_parameters(tmp_path, end):
    saved, loaded = net_of(SHARED, tmp_path), net_of(SHARED, tmp_path)
    path = str(tmp_path / f"shared{end}")
    (weights.save_hdf5 if end.endswith("h5") else weights.save)(saved, path)
    weights.copy_from(loaded, path)
    expected = arrays_of(saved)
    assert loaded.layers[1].params[0] is loaded.layers[2].params[0]
    for key, array in arrays_of(loaded).items():
        assert np.array_equal(array, expected[key])
    if end.endswith("h5"):
        with h5py.File(path) as file:
            assert list(file["data"]["two"]) == ["1"]


def inner_product(outputs=4, inputs=3, name="ip", bias=""):
    return f"""
layer {{ name: "x"  type: "Input"  top: "x"  input_param {{ shape {{ dim: 1 dim: {inputs} }} }} }}
layer {{ name: "{name}"  type: "InnerProduct"  bottom: "x"  top: "y"
  inner_product_param {{ num_output: {outputs}  {bias}  weight_filler {{ type: "xavier" }} }} }}
"""


@pytest.mark.parametrize("end", [".caffemodel", ".caffemodel.h5"])
def test_a_shape_mismatch_says_layer_param_shapes_and_hint(tmp_path, end):
    path = str(tmp_path / f"old{end}")
    save = weights.save_hdf5 if end.endswith("h5") else weights.save
    save(net_of(inner_product(), tmp_path), path)
    net = net_of(inner_product(outputs=5), tmp_path)
    before = arrays_of(net)
    with pytest.raises(CaffeError) as raised:
        weights.copy_from(net, path)
    message = str(raised.value)
    for part in ("layer 'ip'", "param 0", "4 3 (12)", "5 3 (15)", "rename the layer"):
        assert part in message
    assert all(np.array_equal(before[key], array) for key, array in arrays_of(net).items())


def test_another_number_of_blobs(tmp_path):
    path = str(tmp_path / "old.caffemodel")
    weights.save(net_of(inner_product(), tmp_path), path)
    with pytest.raises(CaffeError, match="layer ip: has 2 blobs there and 1 in the net"):
        weights.copy_from(net_of(inner_product(bias="bias_term: false"), tmp_path), path)


@pytest.mark.parametrize("end", [".caffemodel", ".caffemodel.h5"])
def test_unknown_layers_are_told_and_ignored(tmp_path, capfd, end):
    path = str(tmp_path / f"old{end}")
    save = weights.save_hdf5 if end.endswith("h5") else weights.save
    save(net_of(inner_product(name="other"), tmp_path), path)
    net = net_of(inner_product(), tmp_path)
    before = arrays_of(net)
    weights.copy_from(net, path)
    assert "Ignoring source layer other" in capfd.readouterr().err
    assert all(np.array_equal(before[key], array) for key, array in arrays_of(net).items())


def test_old_files_of_four_axes_and_old_layers(tmp_path):
    net = net_of(inner_product(), tmp_path)
    stored = caffe_pb2.NetParameter()
    layer = stored.layers.add(name="ip", type=caffe_pb2.V1LayerParameter.INNER_PRODUCT)
    layer.blobs.add(num=1, channels=1, height=4, width=3, data=range(12))
    layer.blobs.add(num=1, channels=1, height=1, width=4, data=[5, 6, 7, 8])
    path = tmp_path / "old.caffemodel"
    path.write_bytes(stored.SerializeToString())
    weights.copy_from(net, path)
    arrays = arrays_of(net)
    assert arrays["ip", 0].tolist() == np.arange(12).reshape(4, 3).tolist()
    assert arrays["ip", 1].tolist() == [5, 6, 7, 8]


def test_numbers_as_doubles_and_not_packed(tmp_path):
    def field(number, contents):
        return bytes([number << 3 | 2, len(contents)]) + contents

    doubles = caffe_pb2.BlobProto(shape={"dim": [1, 2]}, double_data=[1.5, 2.5])
    shape = caffe_pb2.BlobProto(shape={"dim": [1]})
    # Field 5, `data`, as one number of 32 bits: 3.
    single = shape.SerializeToString() + b"\x2d\x00\x00\x40\x40"
    layer = field(1, b"ip") + field(7, doubles.SerializeToString()) + field(7, single)
    path = tmp_path / "doubles.caffemodel"
    path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    net = net_of(inner_product(outputs=1, inputs=2), tmp_path)
    weights.copy_from(net, path)
    assert arrays_of(net)["ip", 0].tolist() == [[1.5, 2.5]]
    assert arrays_of(net)["ip", 1].tolist() == [3]


@pytest.mark.parametrize("form", ["doubles one by one", "pieces", "pieces of doubles"])
def test_numbers_as_other_programs_write_them(tmp_path, form):
    """A packed field may stand in pieces, and a field that is packed may be written unpacked."""
    values = np.arange(6) + 0.5
    number, kind = (5, "<f4") if form == "pieces" else (8, "<f8")
    if form == "doubles one by one":
        pieces = [bytes([number << 3 | 1]) + value.tobytes() for value in values]
    else:
        pieces = [
            bytes([number << 3 | 2, part.nbytes]) + part.tobytes()
            for part in (values[:1].astype(kind), values[1:].astype(kind))
        ]
    blob = caffe_pb2.BlobProto(shape={"dim": [2, 3]}).SerializeToString() + b"".join(pieces)
    assert list(caffe_pb2.BlobProto.FromString(blob).double_data or [0])[0] in (0, 0.5)
    found = protofile.values(protofile.BlobProto.FromString(blob), "blob")
    assert found.tolist() == values.tolist()


def test_too_large_a_net_for_a_caffemodel(tmp_path, monkeypatch):
    """As protocol buffers end, without the 2 GB that it takes."""

    class TooLarge:
        def SerializeToString(self):
            raise EncodeError("Failed to serialize proto")

    monkeypatch.setattr(weights, "to_message", lambda net, diff: TooLarge())
    path = tmp_path / "large.caffemodel"
    with pytest.raises(CaffeError, match=f"{path}: would be larger .* snapshot_format: HDF5"):
        weights.save(net_of(inner_product(), tmp_path), path)
    assert not path.exists()


@pytest.mark.parametrize("end", [".caffemodel", ".caffemodel.h5"])
def test_of_layers_of_one_name_the_one_with_parameters_counts(tmp_path, end):
    relu = '\nlayer { name: "ip"  type: "ReLU"  bottom: "BOTTOM"  top: "TOP" }\n'
    first, second = relu.replace("BOTTOM", "x").replace("TOP", "r"), relu.replace("BOTTOM", "y")
    text = inner_product().replace('bottom: "x"', 'bottom: "r"')
    text = text.replace('layer { name: "ip"', first + 'layer { name: "ip"')
    text += second.replace("TOP", "z")
    saved, loaded = net_of(text, tmp_path), net_of(text, tmp_path)
    assert [layer.name for layer in saved.layers] == ["x", "ip", "ip", "ip"]
    path = str(tmp_path / f"one{end}")
    (weights.save_hdf5 if end.endswith("h5") else weights.save)(saved, path)
    weights.copy_from(loaded, path)
    for key, array in arrays_of(loaded).items():
        assert np.array_equal(array, arrays_of(saved)[key])


def test_parameters_of_layers_without_a_name_are_not_mixed_up(tmp_path):
    text = inner_product(3) + inner_product(3).split("\n", 2)[2].replace('"y"', '"z"')
    net = net_of(text.replace('name: "ip"', ""), tmp_path)
    path = str(tmp_path / "unnamed.caffemodel")
    weights.save(net, path)
    for call in (weights.copy_from, weights.save_hdf5):
        with pytest.raises(CaffeError, match="no name"):
            call(net, path)


def test_links_to_what_is_not_there(tmp_path):
    net = net_of(inner_product(), tmp_path)
    for place, what in (("data/ip/0", "layer ip, param 0"), ("data/ip", "layer ip"), ("data", "/")):
        for link in (h5py.SoftLink("/nowhere"), h5py.ExternalLink("nowhere.h5", "/data")):
            path = str(tmp_path / "good.h5")
            weights.save_hdf5(net, path)
            with h5py.File(path, "a") as file:
                del file[place]
                file[place] = link
            with pytest.raises(CaffeError, match=f"{path}: {what}.*not there") as raised:
                weights.copy_from(net, path)
            assert "\n" not in str(raised.value)


def test_devices_are_no_files(tmp_path):
    for path, reader in (("/dev/zero", weights.copy_from), ("/dev/null", weights.copy_from)):
        with pytest.raises(CaffeError, match=f"{path}: is neither a file nor a pipe"):
            reader(net_of(inner_product(), tmp_path), path)


def good_model(tmp_path, end):
    path = tmp_path / f"good{end}"
    (weights.save_hdf5 if end.endswith("h5") else weights.save)(
        net_of(inner_product(), tmp_path), str(path)
    )
    return path.read_bytes()


def damaged(tmp_path, end):
    good = good_model(tmp_path, end)
    yield "empty", b""
    yield "half", good[: len(good) // 2]
    yield "no end", good[:-1]
    yield "text", b"name: 'a text file, not a model'\n" * 20
    yield "noise", np.random.RandomState(5).bytes(4000)


@pytest.mark.parametrize(
    "end", [".caffemodel", ".caffemodel.h5", ".solverstate", ".solverstate.h5"]
)
def test_damaged_files_lead_to_a_line(tmp_path, end):
    net = net_of(inner_product(), tmp_path)
    for name, contents in damaged(tmp_path, end.replace("solverstate", "caffemodel")):
        path = tmp_path / f"bad{end}"
        path.write_bytes(contents)
        with pytest.raises(CaffeError) as raised:
            if "solverstate" in end:
                small_solver().restore(str(path))
            else:
                weights.copy_from(net, str(path))
        assert str(path) in str(raised.value) and "\n" not in str(raised.value), name


def test_every_truncation_leads_to_a_line_or_to_a_shorter_model(tmp_path):
    """A file cut between two layers is a whole message; cut elsewhere it is none."""
    net = net_of(inner_product(), tmp_path)
    good = good_model(tmp_path, ".caffemodel")
    path = tmp_path / "cut.caffemodel"
    refused = 0
    for length in range(1, len(good)):
        path.write_bytes(good[:length])
        try:
            weights.copy_from(net, path)
        except CaffeError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused >= len(good) - 4


def test_changed_bytes_never_crash(tmp_path):
    seed = int(os.environ["TEST_SEED"])
    print("seed", seed)
    random = np.random.RandomState(seed)
    net = net_of(inner_product(), tmp_path)
    good = np.frombuffer(good_model(tmp_path, ".caffemodel"), np.uint8)
    path = tmp_path / "changed.caffemodel"
    for _ in range(500):
        changed = good.copy()
        changed[random.randint(len(changed), size=3)] = random.randint(256, size=3)
        path.write_bytes(changed.tobytes())
        try:
            weights.copy_from(net, path)
        except CaffeError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("dims", [[2**40, 2**20], [-1, -12], [2**62, 4], [0, 2**62]])
def test_shapes_of_numbers_that_are_not_there(tmp_path, dims):
    net = net_of(inner_product(), tmp_path)
    stored = caffe_pb2.NetParameter()
    layer = stored.layer.add(name="ip")
    layer.blobs.add(shape={"dim": dims}, data=range(12))
    layer.blobs.add(shape={"dim": [4]}, data=range(4))
    path = tmp_path / "huge.caffemodel"
    path.write_bytes(stored.SerializeToString())
    with pytest.raises(CaffeError, match="shape mismatch"):
        weights.copy_from(net, path)
    del layer.blobs[0].data[3:]
    del layer.blobs[0].shape.dim[:]
    layer.blobs[0].shape.dim.extend([4, 3])
    path.write_bytes(stored.SerializeToString())
    with pytest.raises(CaffeError, match="has 3 values for the shape 4 3 .*damaged"):
        weights.copy_from(net, path)


def test_a_sparse_dataset_that_claims_terabytes(tmp_path):
    path = str(tmp_path / "huge.caffemodel.h5")
    with h5py.File(path, "w") as file:
        file.create_dataset("data/ip/0", (2**40,), "f4", chunks=(2**20,))
        file["data/ip/1"] = np.zeros(4, np.float32)
    with pytest.raises(CaffeError, match="shape mismatch"):
        weights.copy_from(net_of(inner_product(), tmp_path), path)


def test_too_large_a_file(tmp_path):
    path = tmp_path / "large.caffemodel"
    with open(path, "wb") as file:
        file.truncate(2**31)
    with pytest.raises(CaffeError, match="has 2147483648 bytes"):
        weights.copy_from(net_of(inner_product(), tmp_path), path)


def test_missing_file_and_folder(tmp_path):
    net = net_of(inner_product(), tmp_path)
    for path in (tmp_path / "none.caffemodel", tmp_path / "none.h5", tmp_path):
        with pytest.raises(CaffeError, match=str(path)):
            weights.copy_from(net, path)
    with pytest.raises(CaffeError, match="cannot be written: No such file or directory; make its"):
        weights.save(net, str(tmp_path / "nowhere" / "net.caffemodel"))


@pytest.mark.parametrize("end", [".caffemodel", ".caffemodel.h5"])
def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path, end):
    """A limit of file sizes acts as a full disk does: the write fails in the middle."""
    net = net_of(inner_product(outputs=400, inputs=300), tmp_path)
    path = tmp_path / f"net{end}"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CaffeError, match="cannot be written"):
            (weights.save_hdf5 if end.endswith("h5") else weights.save)(net, str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"net{end}", "some.prototxt"]


def small_solver(solver_type="SGD", outputs=4):
    parameter = caffe_pb2.SolverParameter(
        base_lr=0.1, lr_policy="fixed", max_iter=10, type=solver_type
    )
    text_format.Parse(inner_product(outputs), parameter.net_param)
    return Solver(parameter)


def test_a_solverstate_of_another_solver_or_net(tmp_path):
    solver = small_solver("Adam")
    solver.param.snapshot_prefix = str(tmp_path / "adam")
    for form, end in FORMATS.items():
        solver.param.snapshot_format = caffe_pb2.SolverParameter.SnapshotFormat.Value(form)
        solver.snapshot()
        state = str(tmp_path / f"adam_iter_0.solverstate{end}")
        with pytest.raises(CaffeError, match="has 4 history blobs, expected 2 for a SGD solver"):
            small_solver().restore(state)
        with pytest.raises(CaffeError, match="history 0: is of shape 4 3, expected 5 3"):
            small_solver("Adam", outputs=5).restore(state)
        small_solver("Adam").restore(state)


def test_what_hdf5_cannot_hold_is_told_before_training(tmp_path):
    parameter = caffe_pb2.SolverParameter(
        base_lr=0.1, lr_policy="fixed", snapshot=5, snapshot_prefix=str(tmp_path / "a"),
        snapshot_format=caffe_pb2.SolverParameter.HDF5,
    )  # fmt: skip
    text_format.Parse(inner_product(), parameter.net_param)
    Solver(parameter)
    (layer,) = (each for each in parameter.net_param.layer if each.type == "InnerProduct")
    layer.ClearField("name")
    with pytest.raises(CaffeError, match="InnerProduct.*has parameters and no name"):
        Solver(parameter)
    assert not list(tmp_path.iterdir())


def test_2_7_million_numbers_in_well_under_a_second(tmp_path):
    net = net_of(inner_product(outputs=2700, inputs=1000), tmp_path)
    for end, save in ((".caffemodel", weights.save), (".h5", weights.save_hdf5)):
        path = str(tmp_path / f"large{end}")
        started = time.process_time()
        save(net, path)
        weights.copy_from(net, path)
        assert time.process_time() - started < 0.5
