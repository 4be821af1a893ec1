"""Packs what bench/gpu.py needs on a machine without network into bench/luggage (git ignores it).

That are wheels for Python 3.11 and 3.12 on Linux and x86-64 (PyTorch and numpy have to be there),
and the LMDBs of folds 0 and 1 of a synthetic CK+, made by this project's own commands. With the
repository's files it is all that gpu.py needs. 50 MB are the most.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "python"), str(ROOT)]

from gcnet_base.atomic import replacing_folder  # noqa: E402
from gcnet_base.errors import InputError, one_line_errors  # noqa: E402
from on_gpu.luggage import FOLDS, LUGGAGE  # noqa: E402

PACKAGES = ("h5py", "lmdb", "protobuf")
PYTHONS = ("3.11", "3.12")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
SUBJECTS, COPIES = 118, 1
MOST_BYTES = 50_000_000


def run(*command, **more):
    """Raises InputError with the last line that the command wrote if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, cwd=ROOT, **more
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
        raise InputError(f"python -m {' '.join(words)} failed: {said[-1]}")


def pinned():
    """The requirements of PACKAGES, as in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["torchcaffe"]]
    return [one for one in requirements if one.split("==")[0] in PACKAGES]


def fetch_wheels(folder):
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    for python in PYTHONS:
        run("pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
            "--python-version", python, *platforms, "--dest", folder, *pinned())  # fmt: skip


def pack_folds(path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "python"), str(ROOT)))}

    def prepare(*command):
        run("data_prep", *command, env=environment)

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        prepare("synthesize", "ckplus", scratch / "CK+", "--subjects", SUBJECTS, "--landmarks")
        prepare("index", "ckplus", scratch / "CK+", "-o", scratch)
        prepare("align", scratch / "index.csv", "-o", scratch / "faces")
        with tarfile.open(path, "w:xz") as archive:
            for fold in (0, 1):
                out = scratch / f"fold{fold}"
                prepare("lmdb", scratch / "faces" / "index.csv", "-o", out, "--fold", fold,
                        "--classes", 7, "--copies", COPIES)  # fmt: skip
                for part in ("train", "test"):
                    name = f"fold{fold}/{part}/data.mdb"
                    archive.add(scratch / name, name)


@one_line_errors
def main():
    argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python bench/gpu_luggage.py",
    ).parse_args()
    with replacing_folder(LUGGAGE) as folder:
        print("wheels")
        fetch_wheels(folder)
        print("folds 0 and 1 of a synthetic CK+, a minute or two")
        pack_folds(folder / FOLDS)
        size = sum(path.stat().st_size for path in folder.iterdir())
        if size > MOST_BYTES:
            raise InputError(f"the luggage has {size / 1e6:.1f} MB, {MOST_BYTES / 1e6:.0f} at most")
    print(f"{LUGGAGE}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
