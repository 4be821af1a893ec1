"""The programs that train, and what they leave in a folder.

A program has

prototxt                     names of the files that it trains with, in the folder
solvers(folder)              how gcnet.in_caffe.starting_point is told its solvers, [str]
command(caffe, folder, ...)  the command line, [str], in an Engine; from a snapshot, or else from
                             weights (paths of .caffemodel files); `gpu` is a number or None
snapshots(folder)            {iteration: Path} of those that are there, the newest first
remove(snapshot)             delete one
caffemodel(folder, n)        Path of the weights that a training of n iterations ends with

`folder` is a Path in the last three, text as solver files have it in the others. Both programs log
in Caffe's format, take a snapshot when they are interrupted, and end with status 0 then.
"""

import shutil
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class CaffeTrain:
    """`caffe train`. A snapshot is a .solverstate with its .caffemodel."""

    prototxt: ClassVar = ("solver.prototxt", "net.prototxt")

    def solvers(self, folder):
        return [f"{folder}/solver.prototxt"]

    def command(self, caffe, folder, snapshot, weights, gpu):
        arguments = [*caffe.caffe, "train", "-solver", *self.solvers(folder)]
        if snapshot:
            arguments += ["-snapshot", snapshot]
        elif weights:
            arguments += ["-weights", ",".join(weights)]
        if gpu is not None:
            arguments += ["-gpu", str(gpu)]
        return arguments

    def snapshots(self, folder):
        return _by_iteration(folder.glob("snapshot_iter_*.solverstate"))

    def remove(self, snapshot):
        snapshot.unlink()
        snapshot.with_suffix(".caffemodel").unlink(missing_ok=True)

    def caffemodel(self, folder, iterations):
        return folder / f"snapshot_iter_{iterations}.caffemodel"


@dataclass(frozen=True)
class Alternating:
    """gcnet.in_caffe.alternating. A snapshot is a folder with the files of all solvers.

    `order` is the method's Python module that says what an iteration is, `names` those of its
    solvers, which are in solver_<name>.prototxt and train net_<name>.prototxt. What remains of the
    training are the weights of the solver `result`.
    """

    order: str
    names: tuple
    result: str

    @property
    def prototxt(self):
        return tuple(f"{kind}_{name}.prototxt" for name in self.names for kind in ("solver", "net"))

    def solvers(self, folder):
        return [f"{name}={folder}/solver_{name}.prototxt" for name in self.names]

    def command(self, caffe, folder, snapshot, weights, gpu):
        arguments = [*caffe.python, "-m", "gcnet.in_caffe.alternating", self.order]
        arguments += self.solvers(folder)
        if snapshot:
            arguments += ["--snapshot", snapshot]
        elif weights:
            arguments += ["--weights", ",".join(weights)]
        if gpu is not None:
            arguments += ["--gpu", str(gpu)]
        return arguments

    def snapshots(self, folder):
        return _by_iteration(path.parent for path in folder.glob("snapshot_iter_*/set.json"))

    def remove(self, snapshot):
        (snapshot / "set.json").unlink()  # without it the rest is no snapshot any more
        shutil.rmtree(snapshot)

    def caffemodel(self, folder, iterations):
        return folder / f"snapshot_iter_{iterations}" / f"{self.result}.caffemodel"


def _by_iteration(paths):
    found = {int(path.stem.removeprefix("snapshot_iter_")): path for path in paths}
    return dict(sorted(found.items(), reverse=True))
