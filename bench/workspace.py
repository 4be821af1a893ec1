"""The temporary folder in which the workers of engines.py run."""

import subprocess

import numpy as np

from data_prep.lmdbs.records import write_pairs
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT
from torchcaffe.schema import read

RECORDS = 2048


def make(folder, bvlc, environment):
    """Fill a folder: LMDBs of noise where prototxt/ expects them, deploy nets, weights for them.

    The weights, and the outputs that every engine's are compared with, are BVLC Caffe's; `bvlc` is
    the beginning of its command line. Raises InputError if it fails.
    """
    (folder / "prototxt").symlink_to(ROOT / "prototxt")
    for part in ("runs", "data/lmdb", "data/webface", "deploy", "reference"):
        (folder / part).mkdir(parents=True)
    write_faces(folder / "data")
    write_nets(folder / "deploy")
    command = [*bvlc, str(ROOT / "bench" / "workers" / "reference.py")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"BVLC Caffe made no reference: {done.stderr.strip()[-500:]}")


def write_faces(folder, records=RECORDS):
    """LMDBs of noise, `lmdb` of pairs and `webface` of faces, each with train and test."""
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for lmdb, channels in (("lmdb", 2), ("webface", 1)):
            faces = random.integers(0, 256, (records, channels, 66, 66), dtype=np.uint8)
            labels = random.integers(0, 7, records)
            write_pairs(folder / lmdb / part, zip(faces, labels))


def write_nets(folder):
    """The deploy nets of S1R1, CNN and autoencoder, and the net `data` that only reads."""
    (folder / "s1r1.prototxt").symlink_to(ROOT / "prototxt" / "deploy_gcnet.prototxt")
    (folder / "cnn.prototxt").symlink_to(ROOT / "prototxt" / "deploy_cnn.prototxt")
    cnn = read.net(ROOT / "prototxt" / "deploy_cnn.prototxt")
    autoencoder = read.net(ROOT / "prototxt" / "pretrain_autoencoder.prototxt")
    kept = [layer for layer in autoencoder.layer if layer.type not in ("Data", "EuclideanLoss")]
    _write_net(folder / "autoencoder.prototxt", [cnn.layer[0], *kept])
    gcnet = read.net(ROOT / "prototxt" / "gcnet.prototxt")
    _write_net(folder / "data.prototxt", [layer for layer in gcnet.layer if layer.type == "Data"])


def _write_net(path, layers):
    path.write_text("".join(f"layer {{ {layer} }}\n" for layer in layers))
