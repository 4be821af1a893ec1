"""The six models for two engines to train: on small batches, without random numbers."""

import numpy as np
from google.protobuf import text_format

from data_prep.lmdbs.records import write_pairs
from gcnet_base.paths import ROOT
from torchcaffe.schema import caffe_pb2

MODELS = ("cnn", "mlcnn", "s0r0", "s1r0", "s0r1", "s1r1")

BASE_LR = 1e-5

CLEAR_SIDE, CLEAR_BATCH, CLEAR_SEED = 16, 2, 1
"""Of the images, and of run_clear_training.py."""

BATCH, RECORDS = 2, 28
"""Of a training on LMDBs."""


def write_models(folder, change_data):
    """prototxt/ of the project with a small rate, dropout off, and its Data layers changed."""
    (folder / "prototxt").mkdir()
    (folder / "runs").mkdir()
    for path in (ROOT / "prototxt").glob("*.prototxt"):
        is_solver = path.name.startswith("solver_")
        message = caffe_pb2.SolverParameter() if is_solver else caffe_pb2.NetParameter()
        text_format.Parse(path.read_text(), message)
        if is_solver:
            message.base_lr = BASE_LR
            message.solver_mode = caffe_pb2.SolverParameter.CPU
        else:
            for layer in message.layer:
                if layer.type == "Dropout":
                    layer.phase = caffe_pb2.TEST
                if layer.type == "Data":
                    change_data(layer)
        (folder / "prototxt" / path.name).write_text(text_format.MessageToString(message))


def into_input(layer):
    """Instead of reading an LMDB, wait for what a script writes into its tops."""
    layer.type = "Input"
    layer.ClearField("data_param")
    layer.ClearField("transform_param")
    layer.input_param.shape.add(dim=[CLEAR_BATCH, 2, CLEAR_SIDE, CLEAR_SIDE])
    layer.input_param.shape.add(dim=[CLEAR_BATCH])


def small_batches(layer):
    layer.data_param.batch_size = BATCH


def write_noise(folder):
    """The models' LMDBs: pairs of noise, whose neighbouring pixels differ most, on a few faces."""
    random = np.random.default_rng(25)
    faces = random.normal(128, 30, (8, 64, 64))
    (folder / "data" / "lmdb").mkdir(parents=True)
    for part in ("train", "test"):
        records = []
        for number in range(RECORDS):
            own = random.normal(0, 25, (64, 64))
            pair = np.stack([own + faces[number % 7], own + faces[7]])
            records.append((np.clip(pair, 0, 255).astype(np.uint8), number % 7))
        write_pairs(folder / "data" / "lmdb" / part, records)
