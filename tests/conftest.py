"""Fixtures that every test room shares, and the seed of all random tests.

The seed is 1 unless TEST_SEED=n says otherwise, so that a failure belongs to a change and not to the
dice; `make fuzz` throws the dice.
"""

import os
import pathlib
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("TEST_SEED", "1")


def pytest_report_header():
    return f"TEST_SEED={os.environ['TEST_SEED']}"


@pytest.fixture(scope="session")
def bvlc():
    """The prefix of an installed BVLC Caffe; installs it when it is not there yet."""
    installed = subprocess.run(
        [REPOSITORY / "docker" / "bvlc_caffe.sh"], capture_output=True, text=True
    )
    assert installed.returncode == 0, installed.stderr
    return pathlib.Path(installed.stdout.strip().splitlines()[-1].split(" is in ", 1)[1])
