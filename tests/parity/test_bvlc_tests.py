"""BVLC Caffe's own tests of pycaffe, all of them, on torchcaffe."""

import os
import pathlib
import subprocess
import sys

from conftest import REPOSITORY

INSTALL = REPOSITORY / "tests" / "bvlc_tests.sh"


def test_bvlc_caffes_own_tests_of_pycaffe_pass(bvlc, tmp_path):
    installed = subprocess.run([INSTALL], capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    prefix = pathlib.Path(installed.stdout.strip().splitlines()[-1].split(" is in ", 1)[1])
    # Written for Python 2 as well, they need six, which came with BVLC Caffe.
    (tmp_path / "six.py").symlink_to(bvlc / "usr" / "lib" / "python3" / "dist-packages" / "six.py")
    folder = "python/caffe/test"
    ended = subprocess.run(
        [sys.executable, "-m", "torchcaffe", "-m", "unittest", "discover", "-s", folder, "-t", folder],
        cwd=prefix / "caffe",
        env={
            **os.environ,
            "PYTHONPATH": f"{REPOSITORY / 'python'}:{tmp_path}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{prefix / 'bin'}:{os.environ['PATH']}",
            "GLOG_minloglevel": "2",
        },
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "Ran 52 tests" in ended.stderr and "skipped" not in ended.stderr, ended.stderr[-300:]
