"""Fixtures that every test room shares."""

import pathlib
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def bvlc():
    """The prefix of an installed BVLC Caffe; installs it when it is not there yet."""
    installed = subprocess.run(
        [REPOSITORY / "docker" / "bvlc_caffe.sh"], capture_output=True, text=True
    )
    assert installed.returncode == 0, installed.stderr
    return pathlib.Path(installed.stdout.strip().splitlines()[-1].split(" is in ", 1)[1])
