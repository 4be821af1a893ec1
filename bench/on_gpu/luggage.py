"""What bench/gpu_luggage.py packs, unpacked: wheels that the machine lacks, LMDBs of two folds."""

import sys
import tarfile
import zipfile

from gcnet_base.paths import ROOT

LUGGAGE = ROOT / "bench" / "luggage"
FOLDS = "folds.tar.xz"


def unpack(folder, source=LUGGAGE):
    """Unpack into the folder. Returns (folder for sys.path or None, folder of the folds or None).

    Wheels of another Python than this one are left alone. Without luggage there is neither.
    """
    packages = None
    for wheel in sorted(source.glob("*.whl")):
        if fits(wheel.name):
            packages = folder / "packages"
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(packages)
    folds = None
    if (source / FOLDS).exists():
        folds = folder / "folds"
        with tarfile.open(source / FOLDS) as archive:
            archive.extractall(folds, filter="data")
    return packages, folds


def fits(wheel):
    """Whether a wheel of this name is for this Python (the platform is not looked at)."""
    _, _, python, abi, _ = wheel.removesuffix(".whl").rsplit("-", 4)
    major, minor = sys.version_info[:2]
    if abi == "abi3":
        return minor >= int(python.removeprefix(f"cp{major}"))
    return python in (f"cp{major}{minor}", f"py{major}", f"py2.py{major}")
