"""The data layers: equal to BVLC Caffe where nothing is random, and what random ones draw.

TEST_SEED=n repeats a run's seed, which is printed with a failure.
"""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time

import cv2
import h5py
import numpy as np
import pytest
from conftest import REPOSITORY
from google.protobuf import text_format

from parity import case_files
from parity.case import CASES, Chance
from parity.cases.data import new_path, raw, write_lmdb, write_mean
from parity.test_layers import RUNNER, SEED
from torchcaffe import random_state
from torchcaffe.data.databases import open_database
from torchcaffe.errors import CaffeError
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2

NUMBERS = {
    "Data": 24,
    "DummyData": 6,
    "HDF5Data": 10,
    "HDF5Output": 4,
    "ImageData": 12,
    "MemoryData": 4,
    "WindowData": 16,
}
"""How many cases of each layer type must be equal in both engines."""

NUMBERED = [(kind, number) for kind, count in NUMBERS.items() for number in range(count)]


@pytest.fixture(scope="module")
def outcomes(bvlc, tmp_path_factory):
    """(folder of cases, {engine: folder of its results})"""
    folder = tmp_path_factory.mktemp("data")
    cases = [
        CASES[layer_type][0](Chance(f"{SEED} {layer_type} {number}"), number)
        for layer_type, number in NUMBERED
    ]
    case_files.write(folder, cases, SEED)
    engines = {
        "BVLC Caffe": [bvlc / "bin" / "python3"],
        "torchcaffe": [sys.executable, "-m", "torchcaffe"],
    }
    results = {}
    for engine, command in engines.items():
        output = folder / engine.replace(" ", "_")
        output.mkdir()
        done = subprocess.run(
            [*command, RUNNER, folder, output],
            cwd=output,
            env={
                **os.environ,
                "GLOG_minloglevel": "2",
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONPATH": str(REPOSITORY / "python"),
            },
            capture_output=True,
            text=True,
        )
        results[engine] = output
        assert done.returncode == 0, f"seed {SEED}: {engine} ended\n{done.stderr[-3000:]}"
    return folder, results


@pytest.mark.parametrize(
    "place", [pytest.param(i, id=f"{kind}-{number}") for i, (kind, number) in enumerate(NUMBERED)]
)
def test_equal(outcomes, place):
    folder, results = outcomes
    where = f"seed {SEED}, case:\n{(folder / f'{place}.prototxt').read_text()}"
    theirs, ours = ({**np.load(output / f"{place}.npz")} for output in results.values())
    assert ours.keys() == theirs.keys(), where
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, f"{name} ({where})"
        assert np.array_equal(ours[name], expected), f"{name} ({where})\n{ours[name]}\n{expected}"


@pytest.mark.parametrize("number", range(NUMBERS["HDF5Output"]))
def test_hdf5_output_files_are_equal(outcomes, number):
    read = []
    for output in outcomes[1].values():
        with h5py.File(output / f"output-{number}.h5") as file:
            read.append({name: (dataset.dtype, dataset[()]) for name, dataset in file.items()})
    theirs, ours = read
    assert ours.keys() == theirs.keys() == {"data", "label"}
    for name, (dtype, values) in theirs.items():
        assert ours[name][0] == dtype
        assert np.array_equal(ours[name][1], values)


# ---- What is drawn at random


def make(layer_type, parameters, tops=("data", "label"), phase="TRAIN", seed=None):
    """A Net of one data layer."""
    if seed is not None:
        random_state.seed(seed)
    text = "  ".join(f'top: "{top}"' for top in tops)
    net = f'layer {{ name: "input"  type: "{layer_type}"  {text}  {parameters} }}'
    parameter = text_format.Parse(net, caffe_pb2.NetParameter())
    parameter.state.phase = caffe_pb2.Phase.Value(phase)
    return Net(parameter)


def data_net(records, size, transform="", phase="TRAIN", seed=None, more=""):
    source = records if not isinstance(records, list) else write_lmdb(records)
    return make(
        "Data",
        f'transform_param {{ {transform} }}  data_param {{ source: "{source}"  backend: LMDB  '
        f"batch_size: {size}  {more} }}",
        phase=phase,
        seed=seed,
    )


def tops(net):
    net.forward()
    return [blob.data.clone().numpy() for blob in net.blobs.values()]


def numbered(count):
    return [(f"{place:08d}".encode(), place) for place in range(count)]


def coordinates(size):
    """An image whose values tell the place: 16 * row + column."""
    return np.add.outer(16 * np.arange(size), np.arange(size)).astype(np.uint8)[None]


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_crops_and_mirrors_are_drawn_evenly(phase):
    records = [(key, raw(coordinates(6), label)) for key, label in numbered(3)]
    images, labels = tops(data_net(records, 3000, "crop_size: 4  mirror: true", phase, seed=SEED))
    mirrored = images[:, 0, 0, 0] > images[:, 0, 0, 1]
    assert 0.45 < mirrored.mean() < 0.55, f"seed {SEED}"
    corners = np.where(mirrored, images[:, 0, 0, 3], images[:, 0, 0, 0]).astype(int)
    counts = np.bincount(corners, minlength=64)
    offsets = [16 * row + column for row in range(3) for column in range(3)]
    if phase == "TRAIN":
        assert set(np.flatnonzero(counts)) == set(offsets), f"seed {SEED}"
        # Nine places, 3000 draws: 333 each, with a standard deviation of 17.
        assert np.abs(counts[offsets] - 333).max() < 100, f"seed {SEED}"
    else:
        assert set(np.flatnonzero(counts)) == {17}
    upright = np.where(mirrored[:, None, None], images[:, 0, :, ::-1], images[:, 0])
    assert np.array_equal(upright - corners[:, None, None], np.tile(coordinates(4), (3000, 1, 1)))
    assert np.array_equal(labels, np.arange(3000) % 3)


def test_the_mean_file_is_cropped_where_the_image_is():
    records = [(key, raw(coordinates(6), label)) for key, label in numbered(3)]
    mean = write_mean(coordinates(6).astype(np.float32))
    net = data_net(records, 50, f'crop_size: 3  mirror: true  mean_file: "{mean}"')
    assert not tops(net)[0].any()


def shuffled_images(count, **more):
    folder = new_path("shuffled")
    folder.mkdir()
    for place in range(count):
        assert cv2.imwrite(str(folder / f"{place}.png"), np.full((2, 2, 3), place, np.uint8))
    source = folder / "list.txt"
    source.write_text("".join(f"{folder}/{place}.png {place}\n" for place in range(count)))
    parameters = f'image_data_param {{ source: "{source}"  batch_size: {count}  shuffle: true }}'
    return make("ImageData", parameters, **more)


def test_image_data_is_shuffled_anew_each_round():
    net = shuffled_images(20, seed=SEED)
    rounds = []
    for _ in range(4):
        images, labels = tops(net)
        assert np.array_equal(images[:, 0, 0, 0], labels)
        assert sorted(labels) == list(range(20)), f"seed {SEED}"
        rounds.append(tuple(labels))
    assert len(set(rounds)) == 4, f"seed {SEED}"


def test_rand_skip_of_image_data_starts_at_one_of_the_first_lines():
    folder = new_path("skipped")
    folder.mkdir()
    for place in range(6):
        assert cv2.imwrite(str(folder / f"{place}.png"), np.full((2, 2, 3), place, np.uint8))
    source = folder / "list.txt"
    source.write_text("".join(f"{folder}/{place}.png {place}\n" for place in range(6)))
    starts = set()
    for seed in range(40):
        parameters = f'image_data_param {{ source: "{source}"  batch_size: 2  rand_skip: 4 }}'
        net = make("ImageData", parameters, seed=seed)
        first, second = tops(net)[1]
        assert second == (first + 1) % 6
        starts.add(int(first))
    assert starts == {0, 1, 2, 3}


def hdf5_source(sizes, value=lambda row: row):
    files = []
    row = 0
    for size in sizes:
        files.append(new_path("rows.h5"))
        with h5py.File(files[-1], "w") as file:
            file["data"] = np.array([[value(row + i)] for i in range(size)], np.float32)
        row += size
    source = new_path("list.txt")
    source.write_text("\n".join(map(str, files)))
    return source


def test_hdf5_data_shuffles_files_and_rows():
    source = hdf5_source([3, 4, 5])
    parameters = f'hdf5_data_param {{ source: "{source}"  batch_size: 12  shuffle: true }}'
    net = make("HDF5Data", parameters, tops=("data",), seed=SEED)
    rounds = [tops(net)[0].ravel().astype(int) for _ in range(6)]
    orders = set()
    for rows in rounds:
        assert sorted(rows) == list(range(12)), f"seed {SEED}"
        file = np.searchsorted([3, 7], rows, side="right")
        # Rows of one file stay together.
        assert (np.diff(file) != 0).sum() == 2, f"seed {SEED}"
        orders.add(tuple(dict.fromkeys(file)))
    assert len({tuple(rows) for rows in rounds}) > 4 and len(orders) > 1, f"seed {SEED}"


def window_file(overlaps):
    path = new_path("image.png")
    assert cv2.imwrite(str(path), (np.arange(300) % 256).astype(np.uint8).reshape(10, 10, 3))
    source = new_path("windows.txt")
    windows = "".join(f"{i} {overlap} 0 0 {i} {i}\n" for i, overlap in enumerate(overlaps, 1))
    source.write_text(f"# 0\n{path}\n3\n10\n10\n{len(overlaps)}\n{windows}")
    return source


def test_windows_are_drawn_evenly_background_first():
    source = window_file([0.9, 0.1, 0.7, 0.45, 0.2])
    net = make(
        "WindowData",
        f'transform_param {{ crop_size: 3  mirror: true }}  window_data_param {{ source: "{source}"'
        "  batch_size: 1000  fg_threshold: 0.5  bg_threshold: 0.4  fg_fraction: 0.6 }",
        seed=SEED,
    )
    images, labels = tops(net)
    assert not labels[:400].any()
    assert set(labels[400:]) == {1, 3}
    assert 230 < (labels == 1).sum() < 370, f"seed {SEED}"
    # Two background windows, each upright and mirrored.
    _, counts = np.unique(images[:400], axis=0, return_counts=True)
    assert len(counts) == 4 and counts.min() > 60, f"seed {SEED}"


def test_random_fillers_of_dummy_data_draw_anew_and_what_is_written_into_constants_stays():
    net = make(
        "DummyData",
        "dummy_data_param { shape { dim: 50 }  shape { dim: 2 }"
        '  data_filler { type: "gaussian" }  data_filler { value: 3 } }',
    )
    assert net.blobs["label"].data.tolist() == [3, 3]
    net.blobs["label"].data.fill_(7)
    first, constant = tops(net)
    assert not np.array_equal(first, tops(net)[0])
    assert constant.tolist() == [7, 7]


def test_a_seed_repeats_everything():
    records = [(key, raw(coordinates(8), label)) for key, label in numbered(5)]
    source = write_lmdb(records)
    source_of_rows = hdf5_source([7, 5])
    for build in (
        lambda seed: data_net(source, 8, "crop_size: 4  mirror: true", seed=seed),
        lambda seed: shuffled_images(9, seed=seed),
        lambda seed: make(
            "HDF5Data",
            f'hdf5_data_param {{ source: "{source_of_rows}"  batch_size: 5  shuffle: true }}',
            tops=("data",),
            seed=seed,
        ),
    ):
        first, again, other = (
            np.concatenate([top.ravel() for _ in range(6) for top in tops(net)])
            for net in (build(3), build(3), build(4))
        )
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


# ---- Reading in the background


def test_train_and_test_nets_share_one_lmdb():
    source = write_lmdb([(key, raw(coordinates(4), label)) for key, label in numbered(10)])
    nets = [data_net(source, 3, phase=phase) for phase in ("TRAIN", "TEST", "TEST")]
    for start in (0, 3, 6):
        for net in nets:
            assert tops(net)[1].tolist() == [start, start + 1, start + 2]


def test_a_new_lmdb_in_the_same_place_is_read(tmp_path):
    path = tmp_path / "lmdb"
    labels = []
    for label in (1, 2):
        write_lmdb([(b"a", raw(coordinates(4), label))], path)
        net = data_net(path, 1)
        labels.append(tops(net)[1].tolist())
        net.layers[0].close()
        del net
        for file in path.iterdir():
            file.unlink()
    assert labels == [[1], [2]]


READER = textwrap.dedent(
    """
    import sys
    import caffe

    net = caffe.Net(sys.argv[1], caffe.TRAIN)
    print(sum(int(net.forward()["label"].sum()) for _ in range(300)))
    """
)


def test_two_processes_read_one_lmdb(tmp_path):
    source = write_lmdb([(key, raw(coordinates(8), label)) for key, label in numbered(100)])
    (tmp_path / "read.py").write_text(READER)
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "data"  type: "Data"  top: "data"  top: "label"'
        f' data_param {{ source: "{source}"  backend: LMDB  batch_size: 50 }} }}'
    )
    readers = [
        subprocess.Popen(
            [sys.executable, "-m", "torchcaffe", tmp_path / "read.py", net],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "python")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for reader in readers:
        out, err = reader.communicate(timeout=300)
        # Ends by itself with threads still waiting, and says nothing.
        assert (reader.returncode, out, err) == (0, f"{150 * 4950}\n", "")


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_slow_reader_finds_the_next_batches_ready():
    records = [(key, raw(coordinates(8), label)) for key, label in numbered(10)]
    net = data_net(records, 5, more="prefetch: 3")
    layer = net.layers[0]
    for _ in range(4):
        wait_until(lambda: layer.batches_waiting == 3)
        net.forward()
        assert layer.batches_waiting >= 2


def test_dropping_a_net_ends_its_thread():
    before = set(threading.enumerate())
    net = data_net([(b"a", raw(coordinates(4)))], 1)
    net.forward()
    assert len(set(threading.enumerate()) - before) == 1
    del net
    gc.collect()
    wait_until(lambda: set(threading.enumerate()) <= before)


def run_script(script):
    """The finished process of a Python program, which may fork without harm to the tests."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "python")},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_after_a_fork_the_child_is_told_and_a_new_net_works():
    source = write_lmdb([(key, raw(coordinates(4), label)) for key, label in numbered(4)])
    done = run_script(
        f"""
        import os, sys
        sys.path.insert(0, {str(REPOSITORY / "tests")!r})
        from parity.test_data import data_net, tops
        net = data_net({str(source)!r}, 2)
        net.forward()
        child = os.fork()
        if child == 0:
            try:
                net.forward()
            except Exception as error:
                print(error, flush=True)
            print(tops(data_net({str(source)!r}, 2))[1].tolist(), flush=True)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(tops(net)[1].tolist())
        """
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 3, done.stderr
    assert "before a fork" in lines[0]
    assert lines[1:] == ["[0.0, 1.0]", "[2.0, 3.0]"]


def test_a_fork_in_the_middle_of_reading_leaves_the_child_able_to_read():
    source = write_lmdb([(key, raw(coordinates(40), label)) for key, label in numbered(40)])
    done = run_script(
        f"""
        import os, signal, threading
        from torchcaffe.data.databases import open_database
        from torchcaffe.schema.caffe_pb2 import DataParameter
        database = open_database(DataParameter.LMDB, {str(source)!r})
        expected = database.first()
        def read():
            for _ in database.records():
                pass
        threading.Thread(target=read, daemon=True).start()
        for _ in range(50):
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                os._exit(open_database(DataParameter.LMDB, {str(source)!r}).first() != expected)
            assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_database_can_be_opened_anew_while_its_last_reader_goes():
    """A thread that has made batches may still be letting go of them, piece by piece."""
    source = str(write_lmdb([(key, raw(coordinates(4), label)) for key, label in numbered(4)]))
    records = open_database(caffe_pb2.DataParameter.LMDB, source).records()
    expected = next(records)
    piece = records.gi_frame.f_locals["transaction"]
    del records
    assert open_database(caffe_pb2.DataParameter.LMDB, source).first() == expected
    del piece


# ---- Bad input


def error_of(build, passes=3):
    """The one line of the CaffeError that building and running a net ends in."""
    with pytest.raises(CaffeError) as raised:
        net = build()
        for _ in range(passes):
            net.forward()
    message = str(raised.value)
    assert "\n" not in message and message.startswith("layer input (")
    return message


def good(label=0):
    return raw(coordinates(6), label)


@pytest.mark.parametrize(
    "bad, words",
    [
        (b"\xff\xff\xff", "is no Datum"),
        (raw(coordinates(5)), "is 1x5x5 and makes 1x5x5, but its batch began with 1x6x6"),
        (raw(np.zeros((3, 6, 6), np.uint8)), "began with 1x6x6"),
        (caffe_pb2.Datum(channels=1, height=6, width=6, data=b"abc"), "holds 3 values"),
        (caffe_pb2.Datum(channels=1, height=6, width=6), "holds 0 values"),
        (caffe_pb2.Datum(channels=0, height=6, width=6), "every size must be positive"),
        (caffe_pb2.Datum(encoded=True, data=b"no picture"), "bytes are no picture"),
        (caffe_pb2.Datum(encoded=True), "bytes are no picture"),
        (
            caffe_pb2.Datum(
                encoded=True, data=cv2.imencode(".png", np.zeros((6, 6), np.uint16))[1].tobytes()
            ),
            "uint16 values",
        ),
    ],
)
def test_a_bad_record_is_named_where_it_is_met(bad, words):
    records = [(b"0", good(5)), (b"1", good(6)), (b"2", good()), (b"bad\xff", bad)]
    net = data_net(records, 2)
    assert tops(net)[1].tolist() == [5, 6]
    for _ in range(2):
        with pytest.raises(CaffeError) as raised:
            net.forward()
        message = str(raised.value)
        assert "record 'bad\\\\xff'" in message and words in message, message
        assert message.startswith("layer input (Data): ") and "\n" not in message
    # And as the first record.
    error_of(lambda: data_net([(b"bad", bad), (b"good", good())], 2))


def test_what_is_wrong_with_a_database_is_said_at_setup(tmp_path):
    missing = tmp_path / "missing"
    assert "source must be an LMDB's folder" in error_of(lambda: data_net(missing, 1), 0)
    source = write_lmdb([(key, raw(np.zeros((3, 60, 60), np.uint8))) for key, _ in numbered(50)])
    file = source / "data.mdb"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    message = error_of(lambda: data_net(source, 1), 0)
    assert f"truncated, {len(whole) // 2} of" in message and "data.mdb" in message
    for content, words in ((b"", "is empty"), (b"x" * 9000, "no readable LMDB")):
        broken = tmp_path / words
        broken.mkdir()
        (broken / "data.mdb").write_bytes(content)
        assert words in error_of(lambda broken=broken: data_net(broken, 1), 0)
    assert "holds no records" in error_of(lambda: data_net([], 1), 0)
    leveldb = f'data_param {{ source: "{tmp_path}"  batch_size: 1 }}'
    assert "LevelDB is not read; convert it to LMDB" in error_of(lambda: make("Data", leveldb), 0)
    without_backend = f'data_param {{ source: "{write_lmdb([(b"a", good())])}"  batch_size: 1 }}'
    assert "give backend: LMDB" in error_of(lambda: make("Data", without_backend), 0)


@pytest.mark.parametrize(
    "transform, words",
    [
        ("crop_size: 7", "smaller than crop_size 7"),
        ("mean_value: 1 mean_value: 2", "has 1 channels for 2 mean_value"),
        ('mean_file: "nowhere"', "nowhere: No such file"),
        (f'mean_file: "{__file__}"', "no BlobProto"),
        ('mean_file: "nowhere" mean_value: 1', "give one of them"),
        ("force_color: true force_gray: true", "give one of them"),
    ],
)
def test_a_wrong_transform_is_said_at_setup(transform, words):
    assert words in error_of(lambda: data_net([(b"a", good())], 1, transform), 0)


def test_a_mean_of_another_size_is_named():
    mean = write_mean(np.zeros((1, 5, 6)))
    message = error_of(lambda: data_net([(b"a", good())], 1, f'mean_file: "{mean}"'), 0)
    assert "is 1x6x6, but the mean of" in message and "is 1x5x6" in message


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "No such file"),
        ("", "is empty"),
        ("picture.png\n", "line 1 is 'picture.png', expected"),
        ("{}/image.png 1\n{}/image.png happy\n", "line 2 is"),
        ("{}/image.png 1\n{}/image.png 1.5\n", "line 2 is"),
        ("{}/missing.png 1\n", "missing.png is missing; mind root_folder"),
        ("{}/image.png 1_0\n", "line 1 is"),
        ("{}/image.png 2147483648\n", "line 1 is"),
        ("{}/image.png 1\n{}/broken.png 1\n", "broken.png is no picture"),
        ("{}/image.png 1\n{}/large.png 1\n", "large.png is 3x4x4 and makes 3x4x4, but its batch"),
    ],
)
def test_bad_image_lists(tmp_path, text, words):
    for name, size in (("image", 2), ("large", 4)):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((size, size, 3), np.uint8))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    source = tmp_path / "list.txt"
    if text is not None:
        source.write_text(text.replace("{}", str(tmp_path)))
    parameters = f'image_data_param {{ source: "{source}"  batch_size: 2 }}'
    message = error_of(lambda: make("ImageData", parameters))
    assert words in message and str(source) in message


def test_an_image_list_of_windows(tmp_path):
    for name in ("dark", "light"):
        assert cv2.imwrite(str(tmp_path / f"a {name}.png"), np.zeros((2, 2, 3), np.uint8))
    source = tmp_path / "list.txt"
    source.write_bytes(f"{tmp_path}/a dark.png 7\r\n{tmp_path}/a light.png 9\r\n".encode())
    net = make("ImageData", f'image_data_param {{ source: "{source}"  batch_size: 2 }}')
    net.forward()
    assert net.blobs["label"].data.tolist() == [7, 9]


def test_bad_hdf5_files(tmp_path):
    def build(text, **arrays):
        path = new_path("some.h5")
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
        source = new_path("list.txt")
        source.write_text(text.replace("{}", str(path)))
        return lambda: make("HDF5Data", f'hdf5_data_param {{ source: "{source}"  batch_size: 2 }}')

    fine = {"data": np.zeros((3, 2)), "label": np.zeros(3)}
    path = new_path("some.h5")
    h5py.File(path, "w").close()
    itself = f'hdf5_data_param {{ source: "{path}"  batch_size: 2 }}'
    told = error_of(lambda: make("HDF5Data", itself))
    assert f"{path}: is an HDF5 file; source is a text file that lists HDF5 files" in told
    assert "is empty" in error_of(build(" "))
    assert "lists /nowhere.h5, which is missing" in error_of(build("{} /nowhere.h5", **fine))
    assert "no readable HDF5 file" in error_of(build(f"{__file__}"))
    assert "no dataset 'label', there are data" in error_of(build("{}", data=np.zeros((3, 2))))
    assert "has 2 rows and 'data' 3" in error_of(build("{}", **{**fine, "label": np.zeros(2)}))
    assert "expected numbers" in error_of(build("{}", **{**fine, "label": np.array([b"a"] * 3)}))
    assert "has no rows" in error_of(build("{}", data=np.zeros((0, 2)), label=np.zeros(0)))
    other = new_path("other.h5")
    with h5py.File(other, "w") as file:
        file["data"], file["label"] = np.zeros((3, 5)), np.zeros(3)
    message = error_of(build(f"{{}} {other}", **fine))
    assert f"{other}: rows of 'data' are (5,), in the first file (2,)" in message


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty"),
        ("# 1\n", "expected `# 0`"),
        ("# 0\n{}\n3\n10\n10\n2\n1 0.9 0 0 1 1\n", "ends in the midst"),
        ("# 0\n{}\n1\n10\n10\n0\n", "has 1 channels"),
        ("# 0\n{}\n3\n10\n10\n1\n0 0.9 0 0 1 1\n", "has label 0"),
        ("# 0\n{}\n3\n10\n10\n1\n1 0.9 0 0 1 1\n", "has no background windows"),
        ("# 0\n{}\n3\n10\n10\n1\n1 0.1 0 0 1 1\n", "has no foreground windows"),
        ("# 0\n{}\n3\n10\n10\n2\n1 0.1 0 0 1 11\n1 0.9 0 0 1 1\n", "not inside the image's 10x10"),
        ("# 0\n/no.png\n3\n10\n10\n2\n1 0.1 0 0 1 1\n1 0.9 0 0 1 1\n", "/no.png is missing"),
        ("# 0\n{}\n3\n10\nten\n2\n", "invalid literal"),
    ],
)
def test_bad_window_files(tmp_path, text, words):
    path = tmp_path / "image.png"
    assert cv2.imwrite(str(path), np.zeros((10, 10, 3), np.uint8))
    source = tmp_path / "windows.txt"
    source.write_text(text.replace("{}", str(path)))
    parameters = (
        "transform_param { crop_size: 3 }"
        f'  window_data_param {{ source: "{source}"  batch_size: 4 }}'
    )
    assert words in error_of(lambda: make("WindowData", parameters))


def test_memory_data_says_what_it_wants():
    parameters = "memory_data_param { batch_size: 2  channels: 1  height: 2  width: 2 }"
    net = make("MemoryData", parameters)
    with pytest.raises(CaffeError, match="has no data yet"):
        net.forward()
    data, labels = np.zeros((4, 1, 2, 2), np.float32), np.zeros((4, 1, 1, 1), np.float32)
    for bad in (
        (data.astype(np.float64), labels),
        (data[:, :, :, ::-1], labels),
        (data[:3], labels[:3]),
        (data[:2], labels),
        (data[:0], labels[:0]),
        (data, labels[:, 0, 0, 0]),
        ([1], labels),
    ):
        with pytest.raises(CaffeError, match="layer input .MemoryData.: got"):
            net.layers[0].set_input_arrays(*bad)
    net.layers[0].set_input_arrays(data, labels)
    data[0] = 5
    assert (tops(net)[0][0] == 5).all()


def test_hdf5_output_holds_one_batch(tmp_path):
    path = tmp_path / "out.h5"
    text = (
        'layer { name: "a"  type: "DummyData"  top: "a"  top: "b"'
        "  dummy_data_param { shape { dim: 2 } data_filler { value: 1 } } }"
        'layer { name: "output"  type: "HDF5Output"  bottom: "a"  bottom: "b"'
        f' hdf5_output_param {{ file_name: "{path}" }} }}'
    )
    net = Net(text_format.Parse(text, caffe_pb2.NetParameter()))
    net.forward()
    net.forward()
    net.blobs["a"].data.fill_(2)
    with pytest.raises(CaffeError, match="has written one batch"):
        net.forward()
    with pytest.raises(CaffeError, match="cannot write file_name"):
        Net(text_format.Parse(text.replace(str(path), "/nowhere/out.h5"), caffe_pb2.NetParameter()))
