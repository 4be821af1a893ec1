"""Random cases for the layers that read data, where nothing of them is drawn at random."""

import functools
import itertools
import pathlib
import tempfile

import h5py
import lmdb
import numpy as np

from parity.case import Case, cases
from torchcaffe.schema import caffe_pb2

_numbers = itertools.count()


@functools.cache
def _folder():
    """A folder that is removed when the process ends."""
    made = tempfile.TemporaryDirectory(prefix="torchcaffe-data-")
    _folder.owner = made
    return pathlib.Path(made.name)


def new_path(name):
    return _folder() / f"{next(_numbers)}-{name}"


def numpy_random(chance):
    return np.random.default_rng(chance.getrandbits(64))


def write_lmdb(records, path=None):
    """An LMDB of (key, Datum or bytes), in the order given; its path."""
    path = path or new_path("lmdb")
    with lmdb.open(str(path), map_size=2**26) as database, database.begin(write=True) as writing:
        for key, value in records:
            writing.put(key, value if isinstance(value, bytes) else value.SerializeToString())
    return path


def raw(image, label=0):
    """A Datum of raw bytes, or of float_data for a float array."""
    channels, height, width = image.shape
    datum = caffe_pb2.Datum(channels=channels, height=height, width=width, label=label)
    if image.dtype == np.uint8:
        datum.data = image.tobytes()
    else:
        datum.float_data.extend(image.ravel())
    return datum


def encoded(image, label=0, suffix=".png"):
    """A Datum of an encoded picture, without sizes."""
    import cv2

    picture = image.transpose(1, 2, 0)
    data = cv2.imencode(suffix, picture)[1].tobytes()
    return caffe_pb2.Datum(data=data, label=label, encoded=True)


def write_mean(mean, older=True):
    """A binaryproto of a mean, channels x height x width."""
    blob = caffe_pb2.BlobProto(data=mean.astype(np.float32).ravel())
    if older:
        blob.num, (blob.channels, blob.height, blob.width) = 1, mean.shape
    else:
        blob.shape.dim.extend((1, *mean.shape))
    path = new_path("mean.binaryproto")
    path.write_bytes(blob.SerializeToString())
    return path


def transform(chance, shape, crop=None):
    """A transform_param without anything random for images of `shape`."""
    random = numpy_random(chance)
    channels, height, width = shape
    text = chance.choice(("", "scale: 0.00390625", f"scale: {chance.uniform(-2, 2)}"))
    if crop is None:
        crop = chance.choice((0, chance.randint(1, min(height, width))))
    text += f" crop_size: {crop}" if crop else ""
    mean = chance.choice(("none", "file", "one", "each"))
    if mean == "file":
        values = random.uniform(0, 255, shape)
        text += f' mean_file: "{write_mean(values, chance.random() < 0.5)}"'
    elif mean != "none":
        count = 1 if mean == "one" else channels
        text += "".join(f" mean_value: {value}" for value in random.uniform(0, 255, count))
    return f"transform_param {{ {text} }}"


def _network(layer_type, parameters, tops=("data", "label")):
    text = "  ".join(f'top: "{top}"' for top in tops)
    return f'layer {{ name: "{layer_type}"  type: "{layer_type}"  {text}\n  {parameters} }}'


def _case(layer_type, parameters, tops=("data", "label"), **more):
    more = {"phase": "TEST", "passes": 3, "backward": False, **more}
    return Case(layer_type, _network(layer_type, parameters, tops), {}, **more)


@cases("Data", count=4)
def data(chance, number):
    random = numpy_random(chance)
    kind = ("raw", "encoded", "raw", "float", "sizes", "forced", "jpeg", "raw")[number % 8]
    count = chance.randint(1, 9)
    shape = chance.choice((1, 3) if kind in ("encoded", "forced", "jpeg") else (1, 2, 3, 4))
    shape = shape, chance.randint(4, 12), chance.randint(4, 12)
    images = [random.integers(0, 256, shape, np.uint8) for _ in range(count)]
    labels = random.integers(-3, 10_000_000 if number % 2 else 10, count).tolist()
    size = chance.randint(1, 7)
    transforming = transform(chance, shape)
    phase = "TEST"
    if kind == "float":
        images = [image.astype(np.float32) / 7 - 3 for image in images]
    elif kind == "sizes":
        # Records of two sizes, batches of one, so that the tops change their shape.
        size, count = 1, 5
        images = [random.integers(0, 256, (2, 5 + i % 2, 7), np.uint8) for i in range(count)]
        labels = list(range(count))
        transforming = "transform_param { scale: 0.5 mean_value: 3 }"
    elif kind == "forced":
        force, channels = chance.choice((("force_gray", 1), ("force_color", 3)))
        transforming = transform(chance, (channels, *shape[1:]))
        transforming = transforming.replace("{", f"{{ {force}: true ", 1)
    elif "crop_size" not in transforming:
        phase = chance.choice(("TEST", "TRAIN"))
    if kind in ("encoded", "forced", "jpeg"):
        suffix = ".jpg" if kind == "jpeg" else ".png"
        records = [encoded(image, label, suffix) for image, label in zip(images, labels)]
    else:
        records = [raw(image, label) for image, label in zip(images, labels)]
    keys = [f"{place:08d}" for place in range(len(records))]
    chance.shuffle(keys)
    source = write_lmdb([(key.encode(), record) for key, record in zip(keys, records)])
    more = chance.maybe("rand_skip: 5  ") + chance.maybe("force_encoded_color: true  ")
    more += chance.maybe(f"prefetch: {chance.randint(1, 6)}")
    return _case(
        "Data",
        f'{transforming}\n  data_param {{ source: "{source}"  backend: LMDB  '
        f"batch_size: {size}  {more} }}",
        tops=("data", "label") if chance.random() < 0.8 else ("data",),
        phase=phase,
    )


@cases("ImageData", count=4)
def image_data(chance, number):
    import cv2

    random = numpy_random(chance)
    count = chance.randint(1, 6)
    is_color = chance.random() < 0.6
    resized = number % 3 == 1
    height, width = chance.randint(4, 12), chance.randint(4, 12)
    root = new_path("images")
    root.mkdir()
    lines = []
    for place in range(count):
        size = (chance.randint(4, 20), chance.randint(4, 20)) if resized else (height, width)
        picture = random.integers(0, 256, (*size, chance.choice((1, 3, 4))), np.uint8)
        name = f"an image {place}.png"
        assert cv2.imwrite(str(root / name), picture)
        lines.append(f"{name} {chance.randint(-5, 2000)}")
    source = new_path("list.txt")
    if number % 2:
        prefix, rooted = "", f'root_folder: "{root}/"'
    else:
        prefix, rooted = f"{root}/", ""
    newline = "\r\n" if number % 5 == 4 else "\n"
    source.write_text("".join(f"{prefix}{line}{newline}" for line in lines), newline="")
    new_size = f"new_height: {height}  new_width: {width}" if resized else ""
    transforming = transform(chance, (3 if is_color else 1, height, width))
    return _case(
        "ImageData",
        f'{transforming}\n  image_data_param {{ source: "{source}"  {rooted}  {new_size}  '
        f"batch_size: {chance.randint(1, 5)}  is_color: {str(is_color).lower()} }}",
    )


@cases("WindowData", count=4)
def window_data(chance, number):
    """One window of each kind, so that nothing is left to chance."""
    import cv2

    random = numpy_random(chance)
    crop = chance.randint(4, 12)
    text = ""
    used = {"foreground": 0.5 + chance.random() / 2, "background": chance.random() * 0.4}
    root = new_path("windows")
    root.mkdir()
    for index, (kind, overlap) in enumerate(used.items()):
        height, width = chance.randint(8, 30), chance.randint(8, 30)
        picture = random.integers(0, 256, (height, width, 3), np.uint8)
        assert cv2.imwrite(str(root / f"{kind}.png"), picture)
        x1, y1 = chance.randint(0, width - 2), chance.randint(0, height - 2)
        x2, y2 = chance.randint(x1, width - 1), chance.randint(y1, height - 1)
        label = chance.randint(1, 20)
        text += (
            f"# {index}\n{root}/{kind}.png\n3\n{height}\n{width}\n2\n"
            f"{label} {overlap:.4f} {x1} {y1} {x2} {y2}\n7 0.45 0 0 3 3\n"
        )
    source = new_path("windows.txt")
    source.write_text(text)
    pad = chance.randint(1, (crop - 1) // 2) if number % 2 else 0
    mode = chance.choice(("", 'crop_mode: "square"', 'crop_mode: "warp"'))
    three = "mean_value: 3  mean_value: 4.25  mean_value: 90"
    mean = ("", "file", "mean_value: 100.5", three)[number % 4]
    if mean == "file":
        side = crop + chance.randint(0, 3)
        mean = f'mean_file: "{write_mean(random.uniform(0, 255, (3, side, side)))}"'
    return _case(
        "WindowData",
        f"transform_param {{ crop_size: {crop}  scale: 3  {mean} }}\n"
        f'  window_data_param {{ source: "{source}"  batch_size: {chance.randint(1, 6)}  '
        f"fg_threshold: 0.5  bg_threshold: 0.4  fg_fraction: {chance.random():.3f}  "
        f"context_pad: {pad}  {mode}  scale: {chance.uniform(0.001, 2):.4f}  "
        f"cache_images: {chance.flag()} }}",
        phase=chance.choice(("TEST", "TRAIN")),
    )


@cases("HDF5Data", count=4)
def hdf5_data(chance, number):
    random = numpy_random(chance)
    shapes = [chance.shape(chance.randint(0, 4), most=4) for _ in range(chance.randint(1, 4))]
    names = [f"top{place}" for place in range(len(shapes))]
    files = []
    for _ in range(chance.randint(1, 3)):
        rows = chance.randint(1, 6)
        files.append(new_path("rows.h5"))
        with h5py.File(files[-1], "w") as file:
            for name, shape in zip(names, shapes):
                kind = chance.choice((np.float32, np.float64, np.int32, np.uint8, np.int64))
                file[name] = (random.normal(size=(rows, *shape)) * 50).astype(kind)
    source = new_path("files.txt")
    source.write_text(chance.choice((" ", "\n")).join(map(str, files)))
    parameters = f'hdf5_data_param {{ source: "{source}"  batch_size: {chance.randint(1, 8)} }}'
    return _case("HDF5Data", parameters, tops=names, phase=chance.choice(("TEST", "TRAIN")))


@cases("HDF5Output", count=4)
def hdf5_output(chance, number):
    rows = chance.randint(1, 4)
    inputs = {
        "data": (rows, *chance.shape(chance.randint(0, 3), most=4)),
        "label": (rows, *chance.shape(chance.randint(0, 3), most=4)),
    }
    # Relative: each engine writes in its own folder where the files are compared.
    net = (
        'layer { name: "output"  type: "HDF5Output"  bottom: "data"  bottom: "label"\n'
        f'  hdf5_output_param {{ file_name: "output-{number}.h5" }} }}'
    )
    return Case("HDF5Output", net, inputs, phase=chance.choice(("TEST", "TRAIN")), backward=False)


@cases("MemoryData", count=4)
def memory_data(chance, number):
    random = numpy_random(chance)
    channels, height, width = chance.shape(3)
    size = chance.randint(1, 4)
    rows = size * chance.randint(1, 3)
    memory = (
        random.normal(size=(rows, channels, height, width)).astype(np.float32),
        random.integers(0, 9, (rows, 1, 1, 1)).astype(np.float32),
    )
    ignored = chance.maybe("transform_param { scale: 0.5 } ")
    parameters = f"batch_size: {size}  channels: {channels}  height: {height}  width: {width}"
    return _case(
        "MemoryData", f"{ignored} memory_data_param {{ {parameters} }}", memory=memory, passes=4
    )


@cases("DummyData", count=4)
def dummy_data(chance, number):
    count = chance.randint(1, 3)
    if number % 2:
        shapes = ["{ " + " ".join(f"dim: {d}" for d in chance.shape(chance.randint(0, 5))) + " }"]
        shapes *= 1 if chance.random() < 0.5 else count
        text = "  ".join(f"shape {shape}" for shape in shapes)
    else:
        text = "  ".join(
            f"{name}: {chance.randint(1, 4)}"
            for name in ("num", "channels", "height", "width")
            for _ in range(chance.choice((1, count)))
        )
    fillers = chance.choice((0, 1, count))
    for place in range(fillers):
        # A uniform filler of one value is filled again at each forward and still known.
        value = chance.uniform(-3, 3)
        text += chance.choice(
            (
                f"  data_filler {{ value: {value} }}",
                f'  data_filler {{ type: "constant"  value: {value} }}',
                f'  data_filler {{ type: "uniform"  min: {value}  max: {value} }}',
            )
        )
    tops = [f"top{place}" for place in range(count)]
    return _case("DummyData", f"dummy_data_param {{ {text} }}", tops=tops, passes=2)
