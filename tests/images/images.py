"""The container images: `make test-images` builds them and tries what a user does in each.

Not a part of `make test`: Docker, Podman or (as root) buildah is needed, and an hour.
"""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
import tiny

from gcnet import runs
from gcnet.caffe_log import CaffeLog

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = REPOSITORY / "docker" / "image.sh"
LIMITS = {"bvlc-cpu": 1100e6, "bvlc-cuda": None, "torch": 1500e6}
"""Bytes; torch's is for PyTorch's build for the CPU."""
ENGINE = {"bvlc-cpu": "bvlc", "bvlc-cuda": "bvlc", "torch": "torch"}
USER = 4711
"""Nobody's number, neither in the image nor here."""
ITERATIONS = 10
ARCHITECTURES = (37, 50, 52, 60, 61, 70, 75, 80, 86)


def call(*command, **named):
    """The standard output of a command that has to end well."""
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", **named
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session", params=LIMITS)
def image(request):
    start = time.monotonic()
    call(IMAGE, "build", request.param)
    print(f"\n{request.param}: built in {time.monotonic() - start:.0f} s (0 s: it was there)")
    return request.param


@pytest.fixture
def run(image):
    """Run a command in the image, as USER."""

    def run(*command, volumes=(), env=()):
        options = [f"--volume={folder}:{folder}" for folder in volumes]
        options += [f"--env={pair}" for pair in env]
        return call(IMAGE, "run", image, f"--user={USER}:{USER}", *options, *map(str, command))

    return run


@pytest.fixture
def common(tmp_path_factory):
    """A folder that a container's user may write to."""
    folder = tmp_path_factory.mktemp("common")
    os.chmod(folder.parent, 0o755)
    os.chmod(folder, 0o777)
    return folder


def only(image, *names):
    if image not in names:
        pytest.skip(f"not of {image}")


def test_versions(image, run):
    assert run("id", "-u").strip() == str(USER)
    assert "caffe version 1.0.0" in run("caffe", "--version")
    engine_python = ["python3", "-m", "torchcaffe"] if image == "torch" else ["python3"]
    said = run(*engine_python, "-c", "import caffe, sys; print(caffe.__version__, *sys.version_info)")
    caffe, *python = said.split()
    assert caffe.startswith("1.0.0")
    assert python[:2] == (["3", "11"] if image == "torch" else ["3", "9"])
    said = run("python", "-c", "import sys, cv2, lmdb, matplotlib, gcnet, data_prep; print(*sys.version_info)")
    assert said.split()[:2] == ["3", "11"]


def test_every_prototxt_is_parsed(image, run):
    files = sorted(REPOSITORY.glob("prototxt/*.prototxt"))
    engine_python = ["python3", "-m", "torchcaffe"] if image == "torch" else ["python3"]
    script = Path(__file__).with_name("parse_prototxt.py")
    said = run(
        *engine_python, script, *(f"prototxt/{path.name}" for path in files), volumes=[script.parent]
    )
    assert said.strip() == f"parsed {len(files)}"


def test_the_readme_trains_and_evaluates(image, run, common):
    """`caffe train` on the solver as it stands, from an LMDB that the image makes."""
    index = tiny.write_database(common / "faces")
    run(
        "sh", "-c",
        f"python3 -m data_prep lmdb {index} -o data/lmdb --fold 0 --classes 7 --copies 0"
        " && { timeout --signal=INT 150 caffe train -solver prototxt/solver_s1r1.prototxt"
        f" 2> {common}/log || true; }}",
        volumes=[common],
    )  # fmt: skip
    log = (common / "log").read_text()
    assert re.search(r"Iteration 0 .*loss = [0-9.]+", log), log[-2000:]
    assert "Snapshotting solver state" in log, log[-2000:]


def trained(folder, index, weights, engine, monkeypatch):
    """Losses of the host's training."""
    monkeypatch.setattr(runs, "LMDBS", folder / "folds")
    run = tiny.train(
        folder / f"host-{engine}", index, "s1r1", runs.PROTOTXT, engine=engine, batch=7,
        max_iter=ITERATIONS, weights=[weights],
    )  # fmt: skip
    return losses(run)


def losses(run):
    with open(run.fold_folder(0) / "caffe.log") as lines:
        log = CaffeLog(lines)
    return {**log.train, "test": log.test["accuracy"]}


def test_ten_iterations_are_those_of_the_host(image, run, common, bvlc, monkeypatch):
    index = tiny.write_database(common / "faces")
    monkeypatch.setattr(runs, "LMDBS", common / "folds")
    start = tiny.train(
        common / "start", index, "s1r1", runs.PROTOTXT, engine="torch", batch=7, max_iter=1
    ).final_caffemodel(0)
    expected = trained(common, index, start, ENGINE[image], monkeypatch)
    call("chmod", "-R", "a+rwX", common)
    said = run(
        "python3", "python/train_folds.py", "--index", index, "--net", "s1r1", "--folds", "0",
        "--max-iter", ITERATIONS, "--batch", 7, "--copies", 0, "--weights", start,
        "--run", common / "inside",
        volumes=[common], env=[f"GCNET_FOLDS={common / 'folds'}"],
    )  # fmt: skip
    assert "fold 0: trained" in said
    inside = losses(runs.load(common / "inside"))
    assert inside.keys() == expected.keys()
    for name, values in expected.items():
        assert list(inside[name]) == list(values)
        assert list(inside[name].values()) == pytest.approx(list(values.values()), rel=1e-3), name
    said = run(
        "python3", "python/eval_folds.py", common / "inside",
        volumes=[common], env=[f"GCNET_FOLDS={common / 'folds'}"],
    )  # fmt: skip
    assert "Accuracy in per cent" in said
    assert (common / "inside" / "report.html").stat().st_size > 100_000


def test_nothing_is_left_of_the_build(image, run):
    """No caches, package lists, wheels, pip settings, build trees or compilers."""
    found = run(
        "sh", "-c",
        "ls -d /root/.cache /root/.config /etc/pip.conf /etc/xdg/pip /opt/wheels /gcnet/build"
        " /gcnet/.git /usr/src/caffe/build /usr/bin/gcc /usr/bin/nvcc /usr/bin/cmake 2>/dev/null;"
        " ls /var/lib/apt/lists /var/cache/apt/archives/*.deb 2>/dev/null | grep -v partial;"
        " find / -xdev -name '*.whl' -not -path '/proc/*' 2>/dev/null; true",
    )  # fmt: skip
    assert found.split() == []


def test_size(image):
    size = int(call(IMAGE, "size", image))
    print(f"\n{image}: {size / 1e6:.0f} MB")
    if LIMITS[image]:
        assert size <= LIMITS[image]


def test_the_library_has_code_for_each_architecture(image, run, common):
    only(image, "bvlc-cuda")
    run("cp", "/usr/lib/x86_64-linux-gnu/libcaffe.so.1.0.0", common, volumes=[common])
    environment = {**os.environ, "STAGE": "caffe"}
    call(IMAGE, "build", image, env=environment)
    kernels = call(
        IMAGE, "run", image, f"--volume={common}:{common}", "cuobjdump", "--list-elf",
        common / "libcaffe.so.1.0.0", env=environment,
    )  # fmt: skip
    found = {int(number) for number in re.findall(r"sm_(\d+)", kernels)}
    assert found == set(ARCHITECTURES)


def test_caffes_own_tests_on_the_cpu(image, run):
    only(image, "bvlc-cuda")
    # Typed tests run as /0 and /1 on the CPU, float and double, and as /2 and /3 on the GPU.
    said = run("caffe-gtest", "--gtest_filter=-*/2.*:*/3.*:*GPU*")
    passed = re.search(r"\[  PASSED  \] (\d+) tests", said)
    assert passed and int(passed[1]) > 800, said[-3000:]
    assert "FAILED TEST" not in said


def test_gpu_check(image, run):
    """Its way on the CPU, and what it says where there is no GPU."""
    only(image, "bvlc-cuda", "torch")
    said = run("docker/gpu_check.sh", "cpu")
    assert "largest relative difference of a loss: 0.0e+00" in said
    assert re.search(r"S1R1 CPU against cpu: 0.0e\+00; [0-9.]+ iterations/s of 64\n", said)
    if not Path("/dev/nvidia0").exists():
        done = subprocess.run(
            [IMAGE, "run", image, "docker/gpu_check.sh"], capture_output=True, text=True
        )
        assert "error: no GPU 0 here" in done.stderr and done.returncode == 1
