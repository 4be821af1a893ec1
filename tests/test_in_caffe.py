"""The tests of tests/in_caffe/, each file run once by each engine: BVLC Caffe and torchcaffe."""

import ast
import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY

from data_prep.lmdbs.records import write_pairs

FOLDER = REPOSITORY / "tests" / "in_caffe"


def functions():
    for file in sorted(FOLDER.glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield pytest.param(file.name, node.name, id=f"{file.stem}-{node.name}")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder in which the files of prototxt/ run as they stand: LMDBs of noise at their places."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "prototxt").symlink_to(REPOSITORY / "prototxt")
    (folder / "runs").mkdir()
    for lmdbs in ("lmdb", "webface"):
        (folder / "data" / lmdbs).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for lmdb, channels in ((f"lmdb/{part}", 2), (f"webface/{part}", 1)):
            pairs = rng.integers(0, 256, (64, channels, 66, 66), dtype=np.uint8)
            write_pairs(folder / "data" / lmdb, [(pair, i % 8) for i, pair in enumerate(pairs)])
    return folder


@functools.cache
def run(engine, command, file, workspace):
    results_path = workspace / f"{engine}_{file}.json"
    environment = dict(os.environ, PYTHONPATH=str(REPOSITORY / "python"), GLOG_minloglevel="1")
    ended = subprocess.run(
        [*command, FOLDER / "run.py", file, results_path],
        cwd=workspace, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    results = json.loads(results_path.read_text()) if results_path.exists() else {}
    return results, ended.stderr[-3000:]


@pytest.mark.parametrize("engine", ["bvlc", "torch"])
@pytest.mark.parametrize("file, function", list(functions()))
def test_in_caffe(request, workspace, file, function, engine):
    if engine == "bvlc":
        command = (request.getfixturevalue("bvlc") / "bin" / "python3",)
    else:
        command = (sys.executable, "-m", "torchcaffe")
    results, messages = run(engine, command, file, workspace)
    assert function in results, f"Caffe ended before this test:\n{messages}"
    assert results[function] is None, results[function]
