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

import json
import subprocess
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from data_prep.lmdbs import places
from data_prep.lmdbs.build import COPIES, SEED
from gcnet import engine as engines
from gcnet import models, prototxt, sources
from gcnet.train.trained_folder import TrainedFolder
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, portable, sha256
from gcnet_base.protocol import CLASSES

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
    paths, messages = (
        sources.source_paths(settings.net, folder),
        sources.source_messages(settings.net, folder),
    )
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
        with sources.naming(paths["solver"]):
            max_iter = prototxt.value(messages["solver"], "max_iter")
    if batch is None:
        with sources.naming(paths["net"]):
            batch = prototxt.value(messages["net"], "data_param.batch_size", "data", "TRAIN")
    settings = replace(settings, max_iter=max_iter, batch=batch)
    for name, least in (("max_iter", 1), ("batch", 1), ("copies", 0), ("seed", 0)):
        value = getattr(settings, name)
        if value < least:
            raise InputError(f"--{name.replace('_', '-')} {value}: give {least} or more")
    return settings


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
        """{iteration: Path} of a fold's snapshots, the newest first."""
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
