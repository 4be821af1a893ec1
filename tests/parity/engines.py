"""Both engines as commands, and a small net on an LMDB that both can train."""

import json
import os
import subprocess
import sys

import lmdb
import numpy as np

from gcnet_base.paths import ROOT
from torchcaffe.schema import caffe_pb2

ENGINES = ("torchcaffe", "BVLC Caffe")

RECORDS, BATCH = 24, 8
"""Steps that are a multiple of RECORDS / BATCH end where the data begins anew, as it does for a
training that is resumed."""

TOLERANCE = 1e-4
"""Of the largest magnitude of the blob."""

# No unit dies with this ReLU. The weights of a dead one only have weight decay; L1 moves them to
# and fro over zero, where the rounding of either engine decides the sign.
NET = """
name: "small"
layer { name: "data"  type: "Data"  top: "data"  top: "label"
  data_param { source: "numbers"  backend: LMDB  batch_size: 8 }
  transform_param { scale: 0.00390625 } }
layer { name: "ip1"  type: "InnerProduct"  bottom: "data"  top: "ip1"
  param { lr_mult: 1  decay_mult: 1 }  param { lr_mult: 2  decay_mult: 0 }
  inner_product_param { num_output: 10  weight_filler { type: "xavier" } } }
layer { name: "relu1"  type: "ReLU"  bottom: "ip1"  top: "ip1"  relu_param { negative_slope: 0.1 } }
layer { name: "ip2"  type: "InnerProduct"  bottom: "ip1"  top: "ip2"
  param { lr_mult: 0.5  decay_mult: 2 }
  inner_product_param { num_output: 3  weight_filler { type: "xavier" } } }
layer { name: "accuracy"  type: "Accuracy"  bottom: "ip2"  bottom: "label"  top: "accuracy" }
layer { name: "loss"  type: "SoftmaxWithLoss"  bottom: "ip2"  bottom: "label"  top: "loss" }
"""

TYPES = {
    "SGD": "base_lr: 0.05  momentum: 0.9",
    "Nesterov": "base_lr: 0.05  momentum: 0.9",
    "AdaGrad": "base_lr: 0.02",
    "RMSProp": "base_lr: 0.003  rms_decay: 0.95",
    "AdaDelta": "base_lr: 1  momentum: 0.95  delta: 1e-6",
    "Adam": "base_lr: 0.005  momentum: 0.9  momentum2: 0.999",
}
"""{type of solver: the fields that it needs}"""


def make_folder(folder):
    """Write the LMDB `numbers` and net.prototxt into a folder."""
    random = np.random.RandomState(3)
    with lmdb.open(str(folder / "numbers"), map_size=2**24) as environment:
        with environment.begin(write=True) as transaction:
            for number in range(RECORDS):
                label = number % 3
                pixels = random.randint(0, 128, (1, 6, 6)) + 40 * label
                datum = caffe_pb2.Datum(
                    channels=1, height=6, width=6, label=label,
                    data=pixels.astype(np.uint8).tobytes(),
                )  # fmt: skip
                transaction.put(f"{number:08}".encode(), datum.SerializeToString())
    (folder / "net.prototxt").write_text(NET)


def write_solver(folder, name, solver_type, fields=""):
    """Write NAME.prototxt; `fields` come after those of the type and replace nothing."""
    text = f'net: "net.prototxt"  type: "{solver_type}"  {TYPES[solver_type]}\n{fields}\n'
    for field, default in (
        ("lr_policy", '"fixed"'), ("solver_mode", "CPU"), ("random_seed", "7"),
        ("max_iter", "50"), ("snapshot_prefix", f'"{name}"'),
    ):  # fmt: skip
        if f"{field}:" not in text:
            text += f"{field}: {default}\n"
    (folder / f"{name}.prototxt").write_text(text)
    return f"{name}.prototxt"


def environment(**more):
    paths = {"PYTHONPATH": f"{ROOT / 'python'}"}
    quiet = {"GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **paths, **quiet, **more}


def command(engine, bvlc):
    """The words that begin a `caffe` command of an engine, `BVLC Caffe` or `torchcaffe`."""
    if engine == "BVLC Caffe":
        return [str(bvlc / "bin" / "caffe")]
    return [sys.executable, "-m", "torchcaffe.command"]


def run_jobs(engine, bvlc, folder, jobs):
    """Run jobs (run_solvers.py) in an engine, one process for all; [their arrays] in order."""
    prefix = engine.replace(" ", "_")
    jobs = [{**job, "result": f"{prefix}_{number}.npz"} for number, job in enumerate(jobs)]
    for job in jobs:
        (folder / job["result"]).unlink(missing_ok=True)
    path = folder / f"{prefix}.json"
    path.write_text(json.dumps(jobs))
    python = (
        [bvlc / "bin" / "python3"]
        if engine == "BVLC Caffe"
        else [sys.executable, "-m", "torchcaffe"]
    )
    script = ROOT / "tests" / "parity" / "run_solvers.py"
    done = subprocess.run(
        [*python, script, path], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{engine}: {done.stderr[-3000:]}"
    results = []
    for job in jobs:
        with np.load(folder / job["result"]) as arrays:
            results.append(dict(arrays))
    return results


def assert_close(ours, theirs, where=""):
    """Arrays by name, equal within TOLERANCE of the largest magnitude of each."""
    assert ours.keys() == theirs.keys(), where
    for name, expected in theirs.items():
        difference = np.abs(ours[name] - expected).max()
        largest = np.abs(expected).max()
        assert difference <= TOLERANCE * largest, f"{where} {name}: {difference:g} of {largest:g}"
