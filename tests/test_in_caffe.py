"""The tests of tests/in_caffe/, each file run once by BVLC Caffe's own Python."""

import ast
import functools
import json
import os
import subprocess

import pytest
from conftest import REPOSITORY

FOLDER = REPOSITORY / "tests" / "in_caffe"


def functions():
    for file in sorted(FOLDER.glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield pytest.param(file.name, node.name, id=f"{file.stem}-{node.name}")


@functools.cache
def run(prefix, file, results_path):
    environment = dict(
        os.environ, PYTHONPATH=str(REPOSITORY / "python"), GLOG_minloglevel="1"
    )
    command = [prefix / "bin" / "python3", FOLDER / "run.py", file, results_path]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    results = json.loads(results_path.read_text()) if results_path.exists() else {}
    return results, ended.stderr[-3000:]


@pytest.mark.parametrize("file, function", list(functions()))
def test_in_caffe(bvlc, tmp_path_factory, file, function):
    results_path = tmp_path_factory.getbasetemp() / f"{file}.json"
    results, messages = run(bvlc, file, results_path)
    assert function in results, f"Caffe ended before this test:\n{messages}"
    assert results[function] is None, results[function]
