"""The package as pip installs it: with every folder that its modules need."""

import os
import shutil
import subprocess
import sys

from conftest import REPOSITORY

MODULES = (
    "torchcaffe.solver", "torchcaffe.pycaffe.proto", "torchcaffe.schema.read",
    "torchcaffe.command.__main__", "torchcaffe.data", "torchcaffe.layers", "gcnet.engine",
    "gcnet.methods.all", "gcnet.report.of_runs", "data_prep.commands.prepare",
)  # fmt: skip


def test_all_packages_are_installed(tmp_path):
    # Of a copy, as setuptools writes into the folder that it builds.
    source = tmp_path / "source"
    source.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in ("python", "data_prep"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--target", target, source]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code = f"import {', '.join(MODULES)}; print(torchcaffe.__file__, gcnet.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(target)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(target)) for path in done.stdout.split())
    for folder in (*(source / "python").iterdir(), source / "data_prep"):
        for path in folder.rglob("*.*"):
            assert (target / path.relative_to(folder.parent)).exists(), path
