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
`results.json`, `report.html`, ...      what gcnet.evaluate and gcnet.report make of it
======================================  =======================================================

The folds' LMDBs are shared by the runs and stand outside of their folders (data_prep.lmdbs.places).
"""

import contextlib
import json
import subprocess
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from data_prep.lmdbs import places
from data_prep.lmdbs.build import COPIES, SEED, build
from gcnet import engine as engines
from gcnet import models, prototxt
from gcnet.train.programs import Alternating, CaffeTrain
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, portable, sha256
from gcnet_base.protocol import CLASSES, NEUTRAL

RUNS = ROOT / "runs"


def check_index(path):
    """Raise InputError if there is no such file."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; give the index.csv of aligned faces")


def git_revision():
    """The commit that the repository is at, with "+" if files differ from it; "" without git."""

    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)

    try:
        revision, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno")
    except FileNotFoundError:
        return ""
    return revision.stdout.strip() + ("+" if changes.stdout.strip() else "")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the outcome of a run. Two runs of equal Settings are the same experiment.

    A script makes one of what it was asked; what is None then is filled in by `complete`. `weights`
    maps each file that the training starts from to its SHA-256. `prototxt` is the folder of the
    solvers, nets and deploy nets, `prototxt_sha256` the digest of the three that are used, without
    their comments.
    """

    net: str
    classes: str
    max_iter: int | None = None
    batch: int | None = None
    index: str
    index_sha256: str | None = None
    copies: int = COPIES
    seed: int = SEED
    engine: str | None = None
    weights: dict = field(default_factory=dict)
    prototxt: str | None = None
    prototxt_sha256: str | None = None


def complete(settings):
    """Settings with everything filled in: paths as they are written down, sizes, digests.

    `max_iter` None means the solver's, `batch` the net's, `prototxt` the model's own folder,
    `engine` what engine.find takes. Raises InputError for an index or weights file that is not
    there, an unknown model, a size that is too small.
    """
    folder = settings.prototxt or models.get(settings.net).folder
    paths, messages = source_paths(settings.net, folder), source_messages(settings.net, folder)
    settings = checked_size(settings, paths, messages)
    check_index(settings.index)
    for path in settings.weights:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file; give a .caffemodel")
    return replace(
        settings,
        index=portable(settings.index),
        index_sha256=sha256(settings.index),
        engine=settings.engine or engines.find().name,
        weights={portable(path): sha256(path) for path in settings.weights},
        prototxt=portable(folder),
        prototxt_sha256=prototxt.digest(messages.values()),
    )


def checked_size(settings, paths, messages):
    """`settings` with `max_iter`, `batch`; None means what `messages` say, those at `paths`.

    `settings` is a dataclass with these fields, `copies` and `seed`. Raises InputError if a number
    is too small.
    """
    max_iter, batch = settings.max_iter, settings.batch
    if max_iter is None:
        with naming(paths["solver"]):
            max_iter = prototxt.value(messages["solver"], "max_iter")
    if batch is None:
        with naming(paths["net"]):
            batch = prototxt.value(messages["net"], "data_param.batch_size", "data", "TRAIN")
    settings = replace(settings, max_iter=max_iter, batch=batch)
    for name, least in (("max_iter", 1), ("batch", 1), ("copies", 0), ("seed", 0)):
        value = getattr(settings, name)
        if value < least:
            raise InputError(f"--{name.replace('_', '-')} {value}: give {least} or more")
    return settings


@contextlib.contextmanager
def naming(path):
    """Put `path` before what is wrong with a message in it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def source_paths(net, folder):
    """{"solver", "net", "deploy": Path} of a net, in a folder laid out as prototxt/.

    The solver's `net:` says which net file it is, and `deploy_<that>` stands beside it.
    Raises InputError if a file is not there or the solver is not readable.
    """
    solver = _existing(Path(folder) / f"solver_{net}.prototxt")
    message = prototxt.solver(solver)
    with naming(solver):
        net_file = Path(prototxt.value(message, "net")).name
    return {
        "solver": solver,
        "net": _existing(Path(folder) / net_file),
        "deploy": _existing(Path(folder) / f"deploy_{net_file}"),
    }


def _existing(path):
    if not path.is_file():
        raise InputError(f"{path}: no such file; give as --prototxt a changed copy of prototxt/")
    return path


def source_messages(net, folder):
    """{"solver", "net", "deploy": message}; raises InputError naming a file that is wrong."""
    return read_messages(source_paths(net, folder))


def read_messages(paths):
    """{name: message} of prototxt files, {name: Path}; raises InputError naming one that is wrong.

    That of "solver" is a SolverParameter, the others are NetParameters.
    """
    return {
        name: prototxt.solver(path) if name == "solver" else prototxt.net(path)
        for name, path in paths.items()
    }


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
    def model(self):
        """The Model; raises InputError if nobody has registered it."""
        return models.get(self.settings.net)

    @property
    def class_names(self):
        return CLASSES[self.settings.classes]

    def fold_folder(self, fold):
        return self.folder / f"fold{fold}"

    def lmdb_folder(self, fold):
        """The LMDBs of a fold. Runs on the same samples share them: nets differ, data do not."""
        made_from = self.settings
        return places.of_fold(
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
        return TrainedFolder(self.fold_folder(fold), self.settings.max_iter, self.model.program)

    def is_finished(self, fold):
        return self.trained(fold).is_finished()

    def snapshots(self, fold):
        """Iteration -> .solverstate of a fold, the newest first."""
        return self.trained(fold).snapshots()

    def final_caffemodel(self, fold):
        return self.trained(fold).final_caffemodel

    def stages(self, fold):
        """The stages that a fold was trained with."""
        return list(prototxt.solver(self.fold_folder(fold) / "solver.prototxt").train_state.stage)


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
        "the content of prototxt has changed, or its digest was made otherwise at revision "
        f"{run.revision[:8] or 'unknown'}"
        if name == "prototxt_sha256"
        else f"the content of {name.removesuffix('_sha256')} has changed"
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


def build_lmdbs(run, fold):
    """Build a fold's LMDBs where they are not there yet; returns their fold.json as a dict.

    Raises InputError if the index is not the run's any more, and as data_prep.lmdbs.build does.
    """
    settings = run.settings
    index = ROOT / settings.index
    if not index.is_file() or sha256(index) != settings.index_sha256:
        raise InputError(f"{index}: is gone or changed since {run.name} was started; restore it")
    with places.building():
        description, _ = build(
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
      batch from the start again, so the accuracy in the log is not exact; gcnet.evaluate's is.
    - `snapshot`, `test_interval`: ten in a run, and never rarer than the solver file says, so that
      a stop loses a tenth at most.
    - `display`: a hundred in a run and never rarer than the solver file says, for the curves.
    """
    folder = ROOT / run.settings.prototxt
    paths = source_paths(run.settings.net, folder)
    messages = source_messages(run.settings.net, folder)
    with naming(paths["net"]):
        _fit_net(run, fold, messages["net"])
        batch = prototxt.value(messages["net"], "data_param.batch_size", "data", "TEST")
    with naming(paths["solver"]):
        settings = run.settings
        fit_solver(
            messages["solver"], run.fold_folder(fold), settings.max_iter,
            -(-test_samples // batch), settings.seed, device,
        )  # fmt: skip
    with naming(paths["deploy"]):
        _fit_classes(run, messages["deploy"])
    return {name: prototxt.text(message, paths[name]) for name, message in messages.items()}


def _fit_classes(run, net):
    path = "inner_product_param.num_output"
    prototxt.set_value(net, path, len(run.class_names), "classifier/fc2")


def _fit_net(run, fold, net):
    lmdb = run.lmdb_folder(fold)
    for phase, part in (("TRAIN", "train"), ("TEST", "test")):
        prototxt.set_value(net, "data_param.source", portable(lmdb / part), "data", phase)
    prototxt.set_value(net, "data_param.batch_size", run.settings.batch, "data", "TRAIN")
    _fit_classes(run, net)
    if any(layer.name == "is_neutral" for layer in net.layer):
        expressions = sum(name != NEUTRAL for name in run.class_names)
        prototxt.set_value(net, "power_param.shift", 1 - expressions, "is_neutral")


def fit_solver(solver, folder, max_iter, test_iter, seed, device):
    """Change a SolverParameter for a training of `folder`/net.prototxt, as `render` says."""

    def capped(name, parts):
        return max(1, min(prototxt.value(solver, name), max_iter // parts))

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
        prototxt.set_value(solver, name, value)
    for name in ("solver_mode", "device_id"):
        if prototxt.values(solver, name):
            raise InputError(f"has a field {name}; leave it out, and give --device instead")
    # The solvers of prototxt/ leave this to the command line.
    gpu = engines.gpu_of(device)
    solver.solver_mode = solver.CPU if gpu is None else solver.GPU
    if gpu is not None:
        solver.device_id = gpu
