"""A run folder: everything that is needed to repeat a training of some folds.

======================================  =======================================================
`run.json`                              its settings (Settings), command, git revision and date
`fold<k>/net.prototxt`, `solver...`,    the rendered files: `caffe train -solver <it>` from the
`deploy.prototxt`                       repository's root trains this fold
`fold<k>/caffe.log`                     Caffe's own log, of all its starts one after the other
`fold<k>/fold.json`                     what the fold's LMDBs were made from
`fold<k>/snapshot_iter_N.*`             snapshots; once finished, only that of the last iteration
`fold<k>/finished.json`                 once it is trained to its last iteration: which solver, net
                                        and caffemodel belong together, by their SHA-256
`results.json`, `report.html`, ...      what gcnet.evaluation makes of it
======================================  =======================================================

The folds' LMDBs are shared by the runs and stand outside of their folders, in data/folds or in the
folder that the environment variable GCNET_FOLDS names.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from data_prep import build_lmdb
from data_prep.atomic import replacing
from gcnet import engine as engines
from gcnet import prototxt
from gcnet.engine import ROOT
from gcnet.errors import InputError
from gcnet.protocol import CLASSES, NEUTRAL
from gcnet.train.programs import Alternating, CaffeTrain

RUNS = ROOT / "runs"
PROTOTXT = ROOT / "prototxt"
LMDBS = Path(os.environ.get("GCNET_FOLDS") or ROOT / "data" / "folds").absolute()

NETS = {
    "cnn": "CNN",
    "mlcnn": "Metric-learning CNN",
    "s0r0": "GCNet S0R0",
    "s1r0": "GCNet S1R0",
    "s0r1": "GCNet S0R1",
    "s1r1": "GCNet S1R1",
}
"""The six models of Figure 2 by the names of their solvers, with the names that people read."""


def portable(path):
    """A path as text: relative to the repository where it lies inside it, else absolute."""
    path = Path(path).resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def database_name(index):
    """A name for the database behind an index: its folder's, or the one above a folder "faces"."""
    folder = Path(index).resolve().parent
    return folder.parent.name if folder.name == "faces" else folder.name


def check_index(path):
    """Raise InputError if there is no such file."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; give the index.csv of aligned faces")


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def digest_of(texts):
    """One digest of prototxt texts, without their comments."""
    joined = "\n".join(map(prototxt.without_layout, texts))
    return hashlib.sha256(joined.encode()).hexdigest()


def git_revision():
    """The commit that the repository is at, with "+" if files differ from it; "" without git."""

    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)

    try:
        revision, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno")
    except FileNotFoundError:
        return ""
    return revision.stdout.strip() + ("+" if changes.stdout.strip() else "")


@dataclass(frozen=True)
class Settings:
    """What decides the outcome of a run. Two runs of equal Settings are the same experiment.

    `weights` maps each file that the training starts from to its SHA-256. `prototxt` is the folder
    of the solvers, nets and deploy nets, `prototxt_sha256` the digest of the three that are used,
    without their comments.
    """

    net: str
    classes: str
    max_iter: int
    batch: int
    index: str
    index_sha256: str
    copies: int
    seed: int
    engine: str
    weights: dict
    prototxt: str
    prototxt_sha256: str


def settings(net, classes, max_iter, batch, index, copies, seed, engine, weights, folder):
    """Settings with the digests filled in. `max_iter` None means the solver's, `batch` the net's.

    Raises InputError for an index or weights file that is not there, or an unknown net.
    """
    paths, texts = source_paths(net, folder), source_texts(net, folder)
    max_iter, batch = checked_size(paths, texts, max_iter, batch, copies, seed)
    check_index(index)
    for path in weights:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file; give a .caffemodel")
    return Settings(
        net=net,
        classes=classes,
        max_iter=max_iter,
        batch=batch,
        index=portable(index),
        index_sha256=sha256(index),
        copies=copies,
        seed=seed,
        engine=engine,
        weights={portable(path): sha256(path) for path in weights},
        prototxt=portable(folder),
        prototxt_sha256=digest_of(texts.values()),
    )


def checked_size(paths, texts, max_iter, batch, copies, seed):
    """(iterations, batch); None means what `texts` say, those of the solver and net at `paths`.

    Raises InputError if a number is too small.
    """
    if max_iter is None:
        with naming(paths["solver"]):
            max_iter = int(prototxt.value(texts["solver"], "max_iter"))
    if batch is None:
        with naming(paths["net"]):
            batch = int(prototxt.value(texts["net"], "data_param.batch_size", "data", "TRAIN"))
    for name, value, least in (
        ("max-iter", max_iter, 1), ("batch", batch, 1), ("copies", copies, 0), ("seed", seed, 0)
    ):  # fmt: skip
        if value < least:
            raise InputError(f"--{name} {value}: give {least} or more")
    return max_iter, batch


@contextlib.contextmanager
def naming(path):
    """Put `path` before what is wrong with a text or a number in it."""
    try:
        yield
    except (InputError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None


def source_paths(net, folder):
    """{"solver", "net", "deploy": Path} of a net, in a folder laid out as prototxt/.

    The solver's `net:` says which net file it is, and `deploy_<that>` stands beside it.
    Raises InputError if a file is not there or the solver is not readable.
    """
    solver = _existing(Path(folder) / f"solver_{net}.prototxt")
    with naming(solver):
        net_file = Path(prototxt.value(solver.read_text(encoding="utf-8"), "net")).name
    return {
        "solver": solver,
        "net": _existing(Path(folder) / net_file),
        "deploy": _existing(Path(folder) / f"deploy_{net_file}"),
    }


def _existing(path):
    if not path.is_file():
        raise InputError(f"{path}: no such file; give as --prototxt a changed copy of prototxt/")
    return path


def source_texts(net, folder):
    """{"solver", "net", "deploy": text} of a net; raises InputError naming a file that is wrong."""
    return read_texts(source_paths(net, folder))


def read_texts(paths):
    """{name: text} of prototxt files, {name: Path}; raises InputError naming one that is wrong."""
    texts = {}
    for name, path in paths.items():
        with naming(path):
            texts[name] = path.read_text(encoding="utf-8")
            prototxt.parse(texts[name])
    return texts


@dataclass(frozen=True)
class TrainedFolder:
    """A folder in which a program trains: its solvers, log and snapshots, up to `max_iter`."""

    path: Path
    max_iter: int
    program: CaffeTrain | Alternating = CaffeTrain()

    @property
    def log(self):
        return self.path / "caffe.log"

    @property
    def final_caffemodel(self):
        return self.program.caffemodel(self.path, self.max_iter)

    def snapshots(self):
        """Iteration -> Path of the program's snapshot, the newest first."""
        return self.program.snapshots(self.path)

    def is_finished(self):
        return (self.path / "finished.json").is_file()

    def check_finished(self):
        """Raise InputError unless the final caffemodel is the one that finished.json tells of."""
        recorded = json.loads((self.path / "finished.json").read_text(encoding="utf-8"))
        model = self.final_caffemodel
        if not model.is_file() or sha256(model) != recorded["sha256"]:
            raise InputError(
                f"{portable(model)}: is not what the training ended with; delete "
                f"{portable(self.path)} and train again"
            )

    def mark_finished(self):
        """Write finished.json: which files the final caffemodel belongs to."""
        content = {
            "iteration": self.max_iter,
            "sha256": sha256(self.final_caffemodel),
            **{
                f"{name.removesuffix('.prototxt')}_sha256": sha256(self.path / name)
                for name in self.program.prototxt
            },
        }
        with replacing(self.path / "finished.json", encoding="utf-8") as file:
            file.write(json.dumps(content) + "\n")


@dataclass(frozen=True)
class Run:
    """A run folder and what its run.json says."""

    folder: Path
    settings: Settings
    command: str
    revision: str
    date: str

    @property
    def name(self):
        return portable(self.folder)

    @property
    def class_names(self):
        return CLASSES[self.settings.classes]

    def fold_folder(self, fold):
        return self.folder / f"fold{fold}"

    def lmdb_folder(self, fold):
        """The LMDBs of a fold. Runs on the same samples share them: nets differ, data do not."""
        made_from = self.settings
        return fold_lmdbs(
            ROOT / made_from.index,
            made_from.index_sha256,
            made_from.classes,
            made_from.copies,
            made_from.seed,
            fold,
        )

    def folds(self):
        """Folds that have been started, ascending."""
        return sorted(
            int(path.name.removeprefix("fold"))
            for path in self.folder.glob("fold*")
            if path.name.removeprefix("fold").isdigit()
        )

    def trained(self, fold):
        """The TrainedFolder of a fold."""
        return TrainedFolder(self.fold_folder(fold), self.settings.max_iter)

    def is_finished(self, fold):
        return self.trained(fold).is_finished()

    def snapshots(self, fold):
        """Iteration -> .solverstate of a fold, the newest first."""
        return self.trained(fold).snapshots()

    def final_caffemodel(self, fold):
        return self.trained(fold).final_caffemodel

    def stages(self, fold):
        """The stages that a fold was trained with."""
        solver = (self.fold_folder(fold) / "solver.prototxt").read_text(encoding="utf-8")
        return prototxt.values(solver, "train_state.stage")


def load(folder):
    """The Run of an existing run folder. Raises InputError if it has no readable run.json."""
    path = Path(folder) / "run.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(Settings)}
        if set(content["settings"]) != known:
            raise KeyError(*(set(content["settings"]) ^ known))
        if content["settings"]["classes"] not in CLASSES:
            raise ValueError(f"no set of classes is called {content['settings']['classes']!r}")
        return Run(
            Path(folder).resolve(),
            Settings(**content["settings"]),
            content["command"],
            content["revision"],
            content["date"],
        )
    except FileNotFoundError:
        raise InputError(f"{folder}: no run folder (run.json is missing)") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not readable as a run's settings ({error})") from None


def open_or_new(folder, wanted, command, date):
    """The Run in `folder` with the Settings `wanted`; a new one is written by `save` only.

    Raises InputError naming the settings that differ if the folder is another run's.
    """
    if not (Path(folder) / "run.json").exists():
        return Run(Path(folder).resolve(), wanted, command, git_revision(), date)
    run = load(folder)
    old, new = asdict(run.settings), asdict(wanted)
    # Another net has other files, whose contents do not differ because somebody changed them.
    skipped = {"prototxt_sha256"} if old["net"] != new["net"] else set()
    different = [
        f"the content of {name.removesuffix('_sha256')} has changed"
        if name.endswith("_sha256")
        else f"{name} {old[name]}, now {new[name]}"
        for name in old
        if old[name] != new[name] and name not in skipped
    ]
    if different:
        raise InputError(
            f"{run.name}: was started with other settings ({'; '.join(different)}); "
            "choose another --run"
        )
    return run


def save(run):
    """Write run.json where there is none yet."""
    path = run.folder / "run.json"
    if path.exists():
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    content = {
        "settings": asdict(run.settings),
        "command": run.command,
        "revision": run.revision,
        "date": run.date,
    }
    with replacing(path, encoding="utf-8") as file:
        file.write(json.dumps(content, indent=1) + "\n")


def fold_lmdbs(index, index_sha256, classes, copies, seed, fold):
    """The folder of a fold's LMDBs, which every run on these samples looks for."""
    made_from = (portable(index), index_sha256, classes, copies, seed)
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:12]
    return LMDBS / f"{database_name(index)}-{key}" / f"fold{fold}"


def identity_lmdbs(index, index_sha256, copies, seed):
    """The folder of an index's LMDBs of identities, for pre-training."""
    key = hashlib.sha256(json.dumps((portable(index), index_sha256, copies, seed)).encode())
    return LMDBS / f"{database_name(index)}-{key.hexdigest()[:12]}" / "identities"


def test_lmdbs(index, classes):
    """The folder of the LMDB of all images of an index, for nets that were trained on another."""
    return LMDBS / f"{database_name(index)}-{sha256(index)[:12]}" / f"test-{classes}"


@contextlib.contextmanager
def building_lmdbs():
    """Keep other processes from building LMDBs meanwhile: runs share them."""
    LMDBS.mkdir(parents=True, exist_ok=True)
    with open(LMDBS / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_lmdbs(run, fold):
    """Build a fold's LMDBs where they are not there yet; returns their fold.json as a dict.

    Raises InputError if the index is not the run's any more, and as data_prep.build_lmdb does.
    """
    settings = run.settings
    index = ROOT / settings.index
    if not index.is_file() or sha256(index) != settings.index_sha256:
        raise InputError(f"{index}: is gone or changed since {run.name} was started; restore it")
    with building_lmdbs():
        description, _ = build_lmdb.build(
            index, run.lmdb_folder(fold), fold, settings.classes, settings.copies, settings.seed
        )
    return description


def check_same_faces(run, fold, description):
    """Raise InputError if a fold was started with other LMDBs than `description` tells of."""
    recorded = run.fold_folder(fold) / "fold.json"
    if not recorded.exists():
        return
    try:
        inputs = json.loads(recorded.read_text(encoding="utf-8"))["inputs"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{recorded}: not readable ({error}); copy it from {run.lmdb_folder(fold)}"
        ) from None
    if inputs != description["inputs"]:
        raise InputError(
            f"{recorded}: the faces of {run.settings.index} have changed since this fold was "
            "started; restore them or train another run"
        )


def render(run, fold, test_samples, device):
    """The rendered {"net", "solver", "deploy": text} of one fold.

    Beside the paths, the device, the number of classes and of iterations, these follow from the
    run's size:

    - `test_iter`: as many batches as hold the test samples once. Caffe's Data layer fills the last
      batch from the start again, so the accuracy in the log is not exact; gcnet.evaluation's is.
    - `snapshot`, `test_interval`: ten in a run, and never rarer than the solver file says, so that
      a stop loses a tenth at most.
    - `display`: a hundred in a run and never rarer than the solver file says, for the curves.
    """
    folder = ROOT / run.settings.prototxt
    paths, texts = source_paths(run.settings.net, folder), source_texts(run.settings.net, folder)
    with naming(paths["net"]):
        net = _rendered_net(run, fold, texts["net"])
        batch = int(prototxt.value(net, "data_param.batch_size", "data", "TEST"))
    with naming(paths["solver"]):
        settings = run.settings
        solver = rendered_solver(
            texts["solver"], run.fold_folder(fold), settings.max_iter,
            -(-test_samples // batch), settings.seed, device,
        )  # fmt: skip
    with naming(paths["deploy"]):
        deploy = _with_classes(run, texts["deploy"])
    return {"net": net, "solver": solver, "deploy": deploy}


def _with_classes(run, text):
    path = "inner_product_param.num_output"
    return prototxt.set_value(text, path, len(run.class_names), "classifier/fc2")


def _rendered_net(run, fold, net):
    lmdb = run.lmdb_folder(fold)
    for phase, part in (("TRAIN", "train"), ("TEST", "test")):
        net = prototxt.set_value(net, "data_param.source", portable(lmdb / part), "data", phase)
    net = prototxt.set_value(net, "data_param.batch_size", run.settings.batch, "data", "TRAIN")
    net = _with_classes(run, net)
    if "is_neutral" in prototxt.layer_names(net):
        expressions = sum(name != NEUTRAL for name in run.class_names)
        net = prototxt.set_value(net, "power_param.shift", 1 - expressions, "is_neutral")
    return net


def rendered_solver(solver, folder, max_iter, test_iter, seed, device):
    """A solver's text for a training of net.prototxt in `folder`, with what `render` says."""

    def capped(name, parts):
        longest = int(prototxt.value(solver, name))
        return max(1, min(longest, max_iter // parts))

    for name, value in {
        "net": portable(folder / "net.prototxt"),
        "max_iter": max_iter,
        "test_iter": test_iter,
        "test_interval": capped("test_interval", 10),
        "display": capped("display", 100),
        "snapshot": capped("snapshot", 10),
        "snapshot_prefix": portable(folder / "snapshot"),
        "random_seed": seed,
    }.items():
        solver = prototxt.set_value(solver, name, value)
    # The solvers of prototxt/ leave this to the command line.
    gpu = engines.gpu_of(device)
    mode = "solver_mode: CPU" if gpu is None else f"solver_mode: GPU\ndevice_id: {gpu}"
    for name in ("solver_mode", "device_id"):
        if prototxt.values(solver, name):
            raise InputError(f"has a field {name}; leave it out, and give --device instead")
    return f"{solver.rstrip()}\n{mode}\n"
