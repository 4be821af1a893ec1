"""bench/gpu.py as far as a machine without a GPU shows it."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pretended_device
import pytest
import torch
from conftest import REPOSITORY

from torchcaffe import as_caffe
from torchcaffe.pycaffe import engine

as_caffe.install()
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("bench", "bench/workers", "tests/parity")]

from on_gpu import layers, report, trainings, workers  # noqa: E402
from on_gpu.results import Results  # noqa: E402

PARTS = {"layers": 61, "trainings": 18, "speed": 7, "folds": 2}
"""{part: its items in a rehearsal}"""


def run(output, *arguments):
    return subprocess.run(
        [sys.executable, REPOSITORY / "bench" / "gpu.py", "--output", output, *arguments],
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_a_rehearsal_does_everything_once(tmp_path):
    done = run(tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    first = done.stdout.splitlines()[0]
    assert first == "PyTorch finds no GPU here: this is a rehearsal on the CPU."
    assert len(os.listdir(tmp_path / "out")) <= 8
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert report.failures(content) == []
    for name, count in PARTS.items():
        part = content["parts"][name]
        assert len(part["items"]) == count
        assert {number for number, _ in part["results"]} == set(range(count))
    speed = content["parts"]["speed"]["results"]
    measured = [found for _, result in speed for found in result.get("engines", {}).values()]
    assert len(measured) == 6 * 5 + 3 and all(found["ms"] > 0 for found in measured)
    folds = dict(content["parts"]["folds"]["results"])
    assert {"accuracy", "error, generated", "error, unchanged"} <= folds[0].keys()


def test_a_part_that_there_is_not_is_one_line(tmp_path):
    done = run(tmp_path / "out", "--parts", "layers,speeed")
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert done.stderr == (
        "error: --parts: no part 'speeed'; choose from layers, trainings, speed, folds\n"
    )


MISFORTUNES = """
import os, time, torch
def work(item, place):
    if item == "ends":
        os._exit(9)
    if item == "hangs":
        time.sleep(60)
    if item == "raises":
        raise ValueError("wrong\\nand more")
    yield {"done": item}
    if item == "breaks the device":
        place.device, place.wait = torch.device("cuda", 0), lambda: 1 / 0
"""


def test_what_fails_is_written_down_and_the_rest_goes_on(tmp_path):
    (tmp_path / "on_gpu").mkdir()
    for path in (REPOSITORY / "bench" / "on_gpu").glob("*.py"):
        (tmp_path / "on_gpu" / path.name).symlink_to(path)
    (tmp_path / "on_gpu" / "misfortunes.py").write_text(MISFORTUNES)
    items = ["first", "ends", "raises", "breaks the device", "hangs", "last"]
    paths = [tmp_path, REPOSITORY / "python", REPOSITORY / "tests"]
    job = {"device": "cpu", "folder": str(tmp_path), "folds": None, "rehearsal": True, "threads": 1}
    with open(tmp_path / "log", "w") as log:
        made = workers.Workers(
            "misfortunes", items, job, workers.environment(paths), log, silence=2
        )
        results = dict(made.results(time.time() + 100))
    for number in (0, 3, 5):
        assert results.pop(number) == {"done": items[number]}
    assert results.pop(1) == {"failure": "its process ended with status 9"}
    assert results.pop(2)["failure"].startswith("ValueError: wrong and more (misfortunes.py:9)")
    assert results.pop(4) == {"failure": "it was ended: 2 s without a sign"}
    assert not results


def test_a_failing_case_can_be_repeated_from_what_is_written(tmp_path):
    results = Results(tmp_path)
    items = layers.items(True, types=["ReLU", "TanH"])
    results.begin("layers", items)
    net = 'layer { name: "layer"  type: "TanH" }'
    results.add("layers", 0, {"name": "pass 0: data of x", "share": 0.0})
    wrong = {"failure": "off", "net": net, "seed": 7, "passes": 2, "phase": "TRAIN", "share": 0.5}
    results.add("layers", 1, wrong)
    results.write()
    text = (tmp_path / "reproductions.md").read_text()
    assert "gpu.py --parts layers --types TanH --seed 1\n" in text and net in text
    assert "ReLU" not in text
    assert "| TanH | 1 | 5.0e-01 |" in (tmp_path / "report.md").read_text()


class OnThePretendedDevice:
    """A Place whose device is not the CPU, nor a GPU."""

    device, is_gpu, rehearsal = pretended_device.DEVICE, True, True

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch

    def compute_on_cpu(self):
        self.monkeypatch.setattr(engine, "device", lambda: torch.device("cpu"))

    def compute_here(self):
        self.monkeypatch.setattr(engine, "device", lambda: pretended_device.DEVICE)


def failures_on_another_device(module, items, tmp_path, monkeypatch):
    found = []
    with pretended_device.pretended(monkeypatch):
        for number, item in enumerate(items):
            folder = pathlib.Path(tmp_path / str(number))
            folder.mkdir()
            monkeypatch.chdir(folder)
            place = OnThePretendedDevice(folder, monkeypatch)
            for result in module.work(item, place):
                if "failure" in result:
                    found.append((item, result["failure"]))
    return found


def test_layers_compute_on_another_device_than_the_cpu(tmp_path, monkeypatch):
    assert failures_on_another_device(layers, layers.items(False), tmp_path, monkeypatch) == []


def test_trainings_run_on_another_device_than_the_cpu(tmp_path, monkeypatch):
    """All solvers, and the two models that have all of the six models' layers."""
    items = [item for item in trainings.items(True) if item["kind"] == "solver" or item in CLEAR]
    assert len(items) == 8
    assert failures_on_another_device(trainings, items, tmp_path, monkeypatch) == []


CLEAR = ({"kind": "clear", "name": "mlcnn"}, {"kind": "clear", "name": "s1r1"})
