"""docker/bvlc_caffe.sh: what it does beside a good installation, with an apt-get that we control."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from conftest import REPOSITORY

SCRIPT = REPOSITORY / "docker" / "bvlc_caffe.sh"
NEEDED = ("sh", "sed", "head", "cat", "mkdir", "dirname", "basename", "ls", "flock", "rm", "mv",
          "find", "tail", "touch", "sleep", "apt-config", "dpkg", "dpkg-deb", "tar", "date")  # fmt: skip


@pytest.fixture
def machine(tmp_path):
    """A PATH with the tools that the script needs, and no apt-get."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in NEEDED:
        (tools / name).symlink_to(shutil.which(name))
    return tools


def start(machine, prefix, **variables):
    environment = {"PATH": str(machine), "HOME": str(prefix.parent), **variables}
    return subprocess.Popen(
        [SCRIPT, prefix], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def apt(machine, body):
    """An apt-get in which `update --print-uris` names a mirror and all else does `body`."""
    (machine / "apt-get").write_text(
        "#!/bin/sh\n"
        'case "$*" in *--print-uris*)\n'
        "  echo \"'http://mirror.invalid/debian/dists/bookworm/InRelease' x 0\"; exit;; esac\n"
        f"{body}\n"
    )
    (machine / "apt-get").chmod(0o755)


def refused(process, *parts):
    _, messages = process.communicate(timeout=30)
    assert process.returncode != 0
    lines = [line for line in messages.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, messages
    for part in parts:
        assert part in lines[0], lines[0]


def test_a_machine_without_apt_is_pointed_to_the_image(machine, tmp_path):
    refused(start(machine, tmp_path / "caffe"), "no apt-get", "docker/README.md")
    assert (REPOSITORY / "docker" / "README.md").is_file()
    assert not (tmp_path / "caffe").exists()


def test_a_machine_without_a_debian_mirror_is_told_the_variable(machine, tmp_path):
    (machine / "apt-get").symlink_to(shutil.which("true"))
    refused(start(machine, tmp_path / "caffe"), "DEBIAN_MIRROR", "docker/README.md")


def test_a_mirror_that_does_not_answer_leaves_nothing(machine, tmp_path):
    apt(machine, "exit 100")
    process = start(machine, tmp_path / "caffe", DEBIAN_MIRROR="http://mine.invalid/debian")
    refused(process, "http://mine.invalid/debian", "docker/README.md")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["caffe.lock", "tools"]


def test_a_folder_with_something_else_is_left_alone(machine, tmp_path):
    prefix = tmp_path / "caffe"
    prefix.mkdir()
    (prefix / "thesis.tex").write_text("mine")
    apt(machine, "exit 100")
    refused(start(machine, prefix), "not a Caffe tree")
    assert (prefix / "thesis.tex").read_text() == "mine"


def test_an_interrupted_install_does_not_look_finished(machine, tmp_path):
    apt(machine, "sleep 2; exit 100")
    process = start(machine, tmp_path / "caffe")
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob("caffe.partial.*/apt/apt.conf")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert not (tmp_path / "caffe").exists()
    # A kill leaves a partial tree; the next start clears it away.
    (tmp_path / "caffe.partial.123").mkdir()
    start(machine, tmp_path / "caffe").communicate(timeout=30)
    assert not list(tmp_path.glob("caffe.partial.*"))


def test_two_at_once_work_one_after_the_other(machine, tmp_path):
    times = tmp_path / "times"
    apt(machine, f"date +%s.%N >> {times}; sleep 1; date +%s.%N >> {times}; exit 100")
    both = [start(machine, tmp_path / "caffe") for _ in range(2)]
    for process in both:
        process.communicate(timeout=30)
    begun, ended, begun_again, _ = map(float, times.read_text().split())
    assert begun <= ended <= begun_again


def test_a_finished_tree_is_left_as_it_is(bvlc):
    before = os.stat(bvlc).st_mtime_ns
    again = subprocess.run([SCRIPT, bvlc], capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (0, f"BVLC Caffe is in {bvlc}\n")
    assert os.stat(bvlc).st_mtime_ns == before
    assert sorted(path.name for path in (bvlc / "bin").iterdir()) == [
        "caffe", "caffe-gtest", "python3"
    ]  # fmt: skip


def test_caffes_own_tests_run(bvlc):
    ended = subprocess.run(
        [bvlc / "bin" / "caffe-gtest", "--gtest_filter=SplitLayerTest/0.*:PoolingLayerTest/0.*"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0 and "[  PASSED  ]" in ended.stdout, ended.stderr
