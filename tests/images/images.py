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

from data_prep.lmdbs import places
from gcnet import runs
from gcnet.models import PROTOTXT
from gcnet.train.caffe_log import CaffeLog

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
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", **named)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session", params=LIMITS)
def image(request):
    start = time.monotonic()
    call(IMAGE, "build", request.param)
    print(f"\n{request.param}: built in {time.monotonic() - start:.0f} s, or taken from the cache")
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
    said = run("caffe", "--version")
    assert "Caffe 1.0 on PyTorch" in said if image == "torch" else "caffe version 1.0.0" in said
    engine_python = ["python3", "-m", "torchcaffe"] if image == "torch" else ["python3"]
    python = "import sys; print(*sys.version_info[:2])"
    imported = run(*engine_python, "-c", f"import caffe; print(caffe.__version__); {python}")
    own = run(
        "python", "-c", f"import cv2, lmdb, gcnet.report.of_runs, data_prep.faces.align; {python}"
    )
    print(f"\n{image}: {said}{imported}{own}")
    assert imported.split() == ["1.0.0", "3", "11" if image == "torch" else "9"]
    assert own.split() == ["3", "11"]


def test_every_prototxt_is_parsed(image, run):
    files = [f"prototxt/{path.name}" for path in sorted(REPOSITORY.glob("prototxt/*.prototxt"))]
    engine_python = ["python3", "-m", "torchcaffe"] if image == "torch" else ["python3"]
    script = Path(__file__).with_name("parse_prototxt.py")
    said = run(*engine_python, script, *files, volumes=[script.parent])
    assert said.strip() == f"parsed {len(files)}"


def test_the_solver_of_the_readme_trains(image, run, common):
    """`caffe train` on the solver as it stands, from an LMDB that the image makes, until SIGINT."""
    index = tiny.write_database(common / "faces")
    log = common / "log"
    run(
        "sh", "-c",
        f"python3 -m data_prep lmdb {index} -o data/lmdb --fold 0 --classes 7 --copies 0 && "
        f"{{ caffe train -solver prototxt/solver_s1r1.prototxt 2> {log} & }} && "
        f"while kill -0 $! && ! grep -q 'Iteration 0.*loss = ' {log}; do sleep 1; done; "
        "kill -INT $! && wait $! && ls runs/s1r1_iter_*.caffemodel",
        volumes=[common],
    )  # fmt: skip
    assert re.search(r"Iteration 0 .*loss = [0-9.]+", log.read_text())


def trained(folder, index, weights, engine, monkeypatch):
    """Losses of the host's training."""
    monkeypatch.setattr(places, "LMDBS", folder / "folds")
    run = tiny.train(
        folder / f"host-{engine}", index, "s1r1", PROTOTXT, engine=engine, batch=7,
        max_iter=ITERATIONS, weights=[weights],
    )  # fmt: skip
    return losses(run)


def losses(run):
    with open(run.fold_folder(0) / "caffe.log") as lines:
        log = CaffeLog(lines)
    return {**log.train, "test": log.test["accuracy"]}


def test_ten_iterations_are_those_of_the_host(image, run, common, bvlc, monkeypatch):
    index = tiny.write_database(common / "faces")
    monkeypatch.setattr(places, "LMDBS", common / "folds")
    start = tiny.train(
        common / "start", index, "s1r1", PROTOTXT, engine="torch", batch=7, max_iter=1
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
    """No caches, package lists, wheels, settings, passwords, build trees or compilers."""
    found = run(
        "sh", "-c",
        "ls -d ~root/.cache ~root/.config /etc/pip.conf /etc/xdg/pip /opt/wheels /gcnet/build"
        " /gcnet/.git /usr/src/caffe/build /usr/bin/gcc /usr/bin/nvcc /usr/bin/cmake 2>/dev/null;"
        " find /var/lib/apt/lists /var/cache/apt /tmp /var/tmp -type f;"
        " env | grep -i -e proxy -e '^pip' -e '://[^/]*@'; grep -r -h '://[^/]*@' /etc/apt;"
        " find / -xdev -name '*.whl' 2>/dev/null; true",
    )  # fmt: skip
    assert found.split() == []


def test_size(image, run):
    size = int(call(IMAGE, "size", image))
    print(f"\n{image}: {size / 1e6:.0f} MB")
    with_cuda = "nvidia" in run("ls", "/opt/gcnet/lib/python3.11/site-packages")
    if LIMITS[image] and not with_cuda:
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
    # Typed tests are numbered /0 and /1 on the CPU, float and double, and /2 and /3 on the GPU.
    # Im2colKernelTest computes on the GPU without saying so in its name, and TestBrewMode leaves
    # the tests after it in GPU mode.
    on_gpu = "*/2.*:*/3.*:*GPU*:Im2colKernelTest*:CommonTest.TestBrewMode"
    said = run("caffe-gtest", f"--gtest_filter=-{on_gpu}")
    passed = re.search(r"\[  PASSED  \] (\d+) tests", said)
    assert passed and int(passed[1]) > 1100, said[-3000:]
    assert "FAILED TEST" not in said


def test_gpu_check(image, run):
    """Its way on the CPU, and what it says where there is no GPU."""
    only(image, "bvlc-cuda")
    said = run("docker/gpu_check.sh", "cpu")
    assert "largest relative difference of a loss: 0.0e+00" in said
    assert re.search(r"S1R1 CPU against cpu: 0.0e\+00; [0-9.]+ iterations/s of 64\n", said)
    done = subprocess.run(  # without --gpus
        [IMAGE, "run", image, "docker/gpu_check.sh"], capture_output=True, text=True
    )
    assert "error: no GPU 0 here" in done.stderr and done.returncode == 1


def test_bench_gpu(image, run):
    """Its rehearsal; what it finds on a GPU, nobody knows yet."""
    only(image, "torch")
    said = run("python", "bench/gpu.py")
    assert said.startswith("PyTorch finds no GPU here: this is a rehearsal on the CPU.\n")
    assert "\nNo failures.\n" in said
