"""gcnet's programs started by the Python 3.9 of BVLC Caffe, as `python3` is in its images."""

import os
import subprocess

import pytest

from gcnet_base.paths import ROOT

PREPARATION = ["-m", "data_prep", "align", "some index.csv"]
PROGRAMS = [
    PREPARATION,
    *([f"python/{path.name}", "runs/some run", "--json"] for path in ROOT.glob("python/*.py")),
]


@pytest.fixture
def run(bvlc):
    """Run arguments with Caffe's Python; returns the CompletedProcess."""

    def run(arguments, **environment):
        return subprocess.run(
            [bvlc / "bin" / "python3", *arguments], cwd=ROOT, text=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "python"), **environment},
        )  # fmt: skip

    return run


@pytest.mark.parametrize("arguments", PROGRAMS)
def test_they_are_handed_over_to_the_python_of_gcnet(arguments, run, tmp_path):
    python = tmp_path / "python3.11"
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 3\n")
    python.chmod(0o755)
    done = run(arguments, GCNET_PYTHON=str(python))
    assert (done.stdout.splitlines(), done.returncode) == (arguments, 3), done.stderr


@pytest.mark.parametrize("arguments", [PREPARATION, ["python/eval_folds.py"]])
def test_without_one_they_say_which_python_they_need(arguments, run, bvlc):
    for python, message in (
        ({}, "error: this needs Python 3.11 and is run by 3.9; "),
        ({"GCNET_PYTHON": str(bvlc / "bin" / "python3")}, "error: this needs Python 3.11 and is "),
        ({"GCNET_PYTHON": "/nowhere/python"}, "error: GCNET_PYTHON=/nowhere/python: No such file"),
    ):
        done = run(arguments, **python)
        assert done.returncode == 1
        assert done.stderr.startswith(message) and done.stderr.count("\n") == 1, done.stderr
