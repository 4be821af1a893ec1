"""The paper's Tables II to VI as experiments: each a list of commands, then tables and a report.

A scale (SCALES) says on which data, how long and where to. The paper's own takes the real databases
from data/, as `make data` leaves them, and the solvers' iterations. The two synthetic ones make
their databases.

The commands are those that a person would type, and are printed. Each leaves what is done as it is
and goes on where it was stopped, so that the whole does.
"""

import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gcnet import runs
from gcnet.evaluate.evaluated import finished_folds
from gcnet.methods.gcnet import figures
from gcnet.methods.gcnet.models import CNN, METRIC_LEARNING_CNN, MODELS, S1R1
from gcnet.report import of_runs, page, plots, table_forms, tables
from gcnet.train import caffe_log, supervision
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, database_name, portable

PRETRAINING = "casia_webface"
"""The database of pre-training."""


@dataclass(frozen=True)
class Experiment:
    """A table of the paper.

    `training`: the sets of databases that nets are trained on, one table row or several for each;
    `tests`: the databases that all nets are tested on, none if each is tested on its own folds.
    `folds` are those of train_folds.py, None the scale's; `times` multiplies its iterations.
    """

    title: str
    training: tuple
    classes: str
    models: tuple
    tests: tuple = ()
    folds: str | None = None
    times: int = 1


#: Choice: the nets of Table VI are those of fold 0, trained on nine tenths of the subjects; on the
#: last tenth they are tested at home. The paper does not say whether its nets for other databases
#: saw all subjects.
CROSS_DATABASE_FOLDS = "0"

EXPERIMENTS = {
    "table2": Experiment("Table II: CK+, 7 expressions", (("ckplus",),), "7", MODELS),
    "table3": Experiment("Table III: CK+, 8 expressions", (("ckplus",),), "8", MODELS),
    "table4": Experiment("Table IV: MMI", (("mmi",),), "6", MODELS),
    "table5": Experiment("Table V: Oulu-CASIA", (("oulu_casia",),), "6", MODELS),
    "table6": Experiment(
        "Table VI: other databases",
        (("ckplus",), ("ckplus", "oulu_casia"), ("ckplus", "mmi", "oulu_casia")),
        "6+neutral",
        (S1R1,),
        ("fer2013", "sfew", "raf_db"),
        folds=CROSS_DATABASE_FOLDS,
    ),
    #: No table of the paper: how the CNN and GCNet go on when training is not as short as SCALES'.
    "longer": Experiment(
        "CK+, 7 expressions, six times the iterations",
        (("ckplus",),),
        "7",
        (CNN, METRIC_LEARNING_CNN, S1R1),
        times=6,
    ),
}


# So that a net that trains for minutes learns something.
_LABORATORY = ("--conditions", "laboratory")


@dataclass(frozen=True)
class Scale:
    """On which data, how long and where to; `about` tells people.

    `max_iter` and `batch` None mean what solver and net say. `pretraining` are options of
    pretrain.py. `synthesize`: {database: options of `data_prep synthesize`}; None means that the
    real databases are to be there.
    """

    about: str
    data: Path
    runs: Path
    weights: Path
    folds: str
    max_iter: int | None
    batch: int | None
    pretraining: dict
    synthesize: dict | None


#: The synthetic databases have a seed each, as the same seed draws the same people, and nobody in a
#: test may be known from pre-training or from another database.
SCALES = {
    "paper": Scale(
        "the real databases, and the paper's iterations",
        ROOT / "data", runs.RUNS, ROOT / "weights", "0-9", None, None,
        {"identity": (), "autoencoder": ()}, None,
    ),
    "synthetic": Scale(
        "synthetic databases, CK+, MMI and Oulu-CASIA of the real ones' sizes; short trainings",
        ROOT / "data" / "synthetic", runs.RUNS / "synthetic", ROOT / "weights" / "synthetic", "0-9",
        300, 8,
        {
            "identity": ("--max-iter", "600", "--batch", "32"),
            "autoencoder": ("--max-iter", "300", "--batch", "32"),
        },
        {
            "casia_webface": ("--identities", "300", "--images", "6000", "--seed", "1"),
            "ckplus": ("--full", "--landmarks"),
            "mmi": ("--full", "--seed", "5"),
            "oulu_casia": ("--full", "--frames", "8", "--seed", "6"),
            "raf_db": ("--seed", "2"), "fer2013": ("--seed", "3"), "sfew": ("--seed", "4"),
        },
    ),
    "quick": Scale(
        "small synthetic databases, two folds, few iterations: shows the way, and no result",
        ROOT / "data" / "quick", runs.RUNS / "quick", ROOT / "weights" / "quick", "0,1", 60, 8,
        {
            "identity": ("--max-iter", "40", "--batch", "16"),
            "autoencoder": ("--max-iter", "40", "--batch", "16"),
        },
        {
            "casia_webface": (
                *_LABORATORY, "--identities", "20", "--images", "200", "--seed", "1",
            ),
            "ckplus": (
                "--landmarks", "--subjects", "20", "--sequences", "7", "--frames", "5",
            ),
            "mmi": (
                "--subjects", "12", "--sequences", "6", "--frames", "9", "--seed", "5",
            ),
            "oulu_casia": ("--subjects", "12", "--frames", "5", "--seed", "6"),
            "raf_db": (*_LABORATORY, "--seed", "2"),
            "fer2013": (*_LABORATORY, "--seed", "3"),
            "sfew": (*_LABORATORY, "--seed", "4"),
        },
    ),
}  # fmt: skip


def run(name, scale_name, nets=(), device="cpu"):
    """Do the experiment EXPERIMENTS[name] at SCALES[scale_name].

    `nets`: train only these of its nets; the results are of all that are trained. `device` is as
    cross_validation.train takes it. Raises InputError: a database that is not there, or a command
    that fails, after its own message.
    """
    experiment, scale = EXPERIMENTS[name], SCALES[scale_name]
    length = _length(experiment, scale)
    databases = {database for several in experiment.training for database in several}
    prepare(scale, [PRETRAINING, *sorted(databases | {*experiment.tests})])
    make_weights(scale, device)
    folders = []
    for several in experiment.training:
        index = _merged(scale, several)
        for model in experiment.models:
            folder = scale.runs / name / _run_name(experiment, several, model.name)
            folders.append(folder)
            if nets and model.name not in nets:
                continue
            _do(
                "python/train_folds.py", "--index", _text(index), "--net", model.name,
                "--classes", experiment.classes, "--folds", experiment.folds or scale.folds,
                *length, "--run", _text(folder),
                "--weights", _weights(scale, model),
                *_device_option(device), made=folder,
            )  # fmt: skip
    trained = [runs.load(folder) for folder in folders if (folder / "run.json").is_file()]
    write_results(name, experiment, scale, [one for one in trained if finished_folds(one)])


def _length(experiment, scale):
    """Options of train_folds.py for iterations and batch."""
    if scale.max_iter is None:
        if experiment.times != 1:
            raise InputError("the paper's iterations are long enough: give --synthetic or --quick")
        return ()
    return "--max-iter", str(scale.max_iter * experiment.times), "--batch", str(scale.batch)


def _weights(scale, model):
    return ",".join(_text(scale.weights / f"{part}.caffemodel") for part in model.starts_from)


def _run_name(experiment, databases, net):
    return net if len(experiment.training) == 1 else f"{net}-{'+'.join(databases)}"


def prepare(scale, databases):
    """Make the aligned faces of `databases` where they are not there yet.

    Raises InputError naming all that are missing, if they cannot be synthesized, or those that were
    synthesized with other options.
    """
    missing = [name for name in databases if not _index(scale, name).is_file()]
    if missing and scale.synthesize is None:
        commands = " and ".join(f"make data DATABASE={name} ROOT=/path" for name in missing)
        raise InputError(
            f"{_text(scale.data)}: has no faces of {', '.join(missing)}; run {commands}, "
            "or take SYNTHETIC=1"
        )
    for name in databases if scale.synthesize else ():
        folder = scale.data / name
        tree, faces, options = folder / "database", folder / "faces", scale.synthesize[name]
        _check_options(folder, options)
        if name not in missing:
            continue
        if not tree.exists():
            _do("-m", "data_prep", "synthesize", name, _text(tree), *options)
        _do("-m", "data_prep", "index", name, _text(tree), "-o", _text(folder))
        _do("-m", "data_prep", "align", _text(folder / "index.csv"), "-o", _text(faces))


def _check_options(folder, options):
    """Remember a synthetic database's options; raises InputError if it was made with others."""
    recorded = folder / "synthesize.txt"
    if not folder.exists():
        folder.mkdir(parents=True)
        with replacing(recorded, encoding="utf-8") as file:
            file.write(shlex.join(options) + "\n")
        return
    made_with = recorded.read_text(encoding="utf-8").strip() if recorded.is_file() else "(unknown)"
    if made_with != shlex.join(options):
        raise InputError(
            f"{_text(folder)}: was not synthesized with {shlex.join(options)}; delete it"
        )


def make_weights(scale, device="cpu"):
    """Pre-train both encoders where their weights are not there yet."""
    prepare(scale, [PRETRAINING])
    for part, options in scale.pretraining.items():
        _do(
            "python/pretrain.py", part, "--index", _text(_index(scale, PRETRAINING)),
            *options, "-o", _text(scale.weights), "--runs", _text(scale.runs / "pretrain"),
            *_device_option(device), made=scale.weights,
        )  # fmt: skip


def _device_option(device):
    return () if device == "cpu" else ("--device", device)


def _index(scale, database):
    return scale.data / database / "faces" / "index.csv"


def _merged(scale, databases):
    """The index of one database, or of several put together."""
    if len(databases) == 1:
        return _index(scale, databases[0])
    index = _index(scale, "+".join(databases))
    parts = [_text(_index(scale, name)) for name in databases]
    _do("-m", "data_prep", "merge", *parts, "-o", _text(index.parent))
    return index


def write_results(name, experiment, scale, trained):
    """Evaluate Runs, draw the figures, write tables and reports into the experiment's folder."""
    folder = scale.runs / name
    tests = [None, *(_index(scale, database) for database in experiment.tests)]
    found = {test: [of_runs.up_to_date(one, test) for one in trained] for test in tests}
    made = tables.of([one for those in found.values() for one in those])
    for form, suffix in (("text", "txt"), ("markdown", "md"), ("latex", "tex"), ("json", "json")):
        with replacing(folder / f"table.{suffix}", encoding="utf-8") as file:
            file.write(table_forms.FORMS[form](made))
    print(table_forms.as_text(made))
    print(f"written to {_text(folder)}: table.txt, .md, .tex, .json")
    for test, those in found.items():
        title, path, pictures = experiment.title, folder / "report.html", []
        if test is not None:
            database = database_name(test)
            title, path = f"{title}, {database}", folder / f"report-{database}.html"
        elif experiment.tests:
            continue  # the nets are of several databases: each run has its own report
        else:
            pictures = _pictures(folder, those)
        page.write(path, title, those, pictures)
        print(f"written: {_text(path)}")


def _pictures(folder, found):
    """Draw how the nets came along, and the paper's Figures 4 to 6 of S1R1 beside the CNN; returns
    the report's pictures."""
    by_model = {one.run.model.name: one for one in found}
    gcnet, cnn = by_model.get(S1R1.name), by_model.get(CNN.name)
    drawings = {"courses": lambda: _courses(found)}
    if gcnet is not None:
        drawings["fig4"] = lambda: figures.figure4(gcnet)
    if gcnet is not None and cnn is not None:
        drawings["fig5"] = lambda: figures.figure5(gcnet, cnn)
        drawings["fig6"] = lambda: figures.figure6(gcnet, cnn)
    pictures = []
    for name, draw in drawings.items():
        try:
            figure, caption = draw()
        except InputError as error:  # an index without the frames of Figure 6, say
            print(f"{name} left out: {error}")
            continue
        png, pdf = plots.save(figure, folder / "figures" / name, caption)
        print(f"written: {_text(png)}, {_text(pdf)}")
        pictures.append((caption, png.read_bytes()))
    return pictures


def _courses(found):
    logs = {one.run.model.title: caffe_log.of_run(one.run) for one in found}
    caption = "Test accuracy and losses during training, mean over the folds (Caffe's log)"
    return plots.courses(logs), caption


def _do(*arguments, made=None):
    """Print and run a Python command in the repository.

    Ctrl-C and SIGTERM let it end in its way, a second one ends it as a second one of its own would.
    Raises InputError if it fails; `made` is what to delete if its settings are not wanted any more.
    """
    print(f"$ python {shlex.join(arguments)}", flush=True)
    with supervision.terminate_as_interrupt():
        # A shell's background job ignores SIGINT and would pass that on to the command, which in
        # its session of its own gets SIGINT from here alone.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, start_new_session=True)
        signal.signal(signal.SIGINT, before)
        stopped = False
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                stopped = True
                process.send_signal(signal.SIGINT)
    if stopped:
        raise KeyboardInterrupt
    if process.returncode:
        anew = f"; to start anew with other settings, delete {_text(made)}" if made else ""
        raise InputError(f"the experiment stops here: python {shlex.join(arguments)} failed{anew}")


def _text(path):
    return portable(path)
