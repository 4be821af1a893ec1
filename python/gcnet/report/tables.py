"""Tables of runs that can be compared, with the paper's numbers beside them.

Every number says where it is from: a row names the run folder and the table the index.csv it was
measured on; a column "paper, real ..." holds the paper's, on the real database.

Runs share a table if they differ in nothing but the net and the weights that they start from, and
those are told. A table of tests on other databases is laid out as Table VI, where the database that
a net was trained on differs from row to row, too.
"""

import itertools
import json
from collections import Counter, namedtuple
from dataclasses import dataclass

from gcnet import models, published
from gcnet.engine import TITLES
from gcnet.evaluate import statistics
from gcnet_base.paths import database_name
from gcnet_base.protocol import FOLDS

SYMBOLS = (
    "Mean over folds ± their standard deviation; [ ] 95 % interval of the pooled accuracy, "
    "bootstrap over subjects"
)
NONE = "-"
"""In a cell for which there is no number."""


@dataclass(frozen=True)
class Table:
    """Cells as text for people, and `content`, the same in full precision for JSON.

    `settings` are those that all rows share, {name: value}; `columns` may have line breaks.
    """

    heading: str
    settings: dict
    columns: tuple
    rows: list
    notes: list
    content: list

    @property
    def alignment(self):
        """A letter for each column: l of words, r of numbers."""
        return "".join("l" if column in _WORDS else "r" for column in self.columns)


_WORDS = ("model", "method", "trained on", "tested on", "run folder")


#: The database of a test on another one: its name and its index.
TestedOn = namedtuple("TestedOn", "database index sha256")


def of(evaluations):
    """The Tables of a list of Evaluated, in the order in which their settings first appear."""
    home = [one for one in evaluations if not one.results["each_net_tests_all"]]
    away = [one for one in evaluations if one.results["each_net_tests_all"]]
    tables = []
    for group in _groups(home, _settings):
        tables += [_accuracy(group), _recall(group)]
    tables += [_cross_database(group) for group in _groups(away, _settings_of_training)]
    return tables + _published(away)


def _groups(evaluations, key):
    """Lists of the Evaluated with equal settings, each in the order of models."""
    groups = {}
    for one in evaluations:
        groups.setdefault(json.dumps(key(one)), []).append(one)
    return [models.in_order(group, lambda one: one.run.model) for group in groups.values()]


def _settings_of_training(one):
    settings = one.run.settings
    return {
        "classes": settings.classes,
        "iterations": settings.max_iter,
        "batch": settings.batch,
        "copies": settings.copies,
        "seed": settings.seed,
        "engine": TITLES[settings.engine],
        "prototxt": settings.prototxt,
    }


def _settings(one):
    settings = one.run.settings
    index = {"index": settings.index, "index_sha256": settings.index_sha256}
    return {**index, **_settings_of_training(one)}


def _model(one):
    return one.run.model.title


def _source(one):
    """What all rows of JSON say of where their numbers are from."""
    return {
        "model": _model(one),
        "net": one.run.settings.net,
        "run": one.name,
        "folds": sorted(map(int, one.results["folds"])),
        "trained_on": {"index": one.run.settings.index, "sha256": one.run.settings.index_sha256},
        "weights": one.run.settings.weights,
        "revision": one.run.revision,
    }


def _accuracy(group):
    first = group[0]
    database = database_name(first.run.settings.index)
    baseline, problem = _only_baseline(group)
    of_papers = [
        table.title for table in published.tables_for(first.run.settings.classes, database)
    ]
    rows, content, notes = [], [], [SYMBOLS]
    if problem:
        notes.append(problem)
    for one in group:
        difference = None
        if baseline is not None and one is not baseline:
            why_not = statistics.why_not(one.predictions, baseline.predictions)
            if why_not:
                notes.append(
                    f"{_model(one)} is not compared with the {_model(baseline)}: it has {why_not}"
                )
            else:
                difference = statistics.compare(one.predictions, baseline.predictions)
        accuracies = published.accuracies(
            one.run.model.published, first.run.settings.classes, database
        )
        frame, sequence = one.results["frame"], one.results["sequence"]
        rows.append(
            (
                _model(one),
                _folds(one),
                mean_text(frame),
                _pooled(frame),
                mean_text(sequence),
                _pooled(sequence),
                *_difference(difference),
                *(_number(accuracies[title]) for title in of_papers),
                one.name,
            )  # fmt: skip
        )
        content.append(
            {
                **_source(one),
                "frame": frame,
                "sequence": sequence,
                "difference_to_cnn": difference,
                "generation": one.results["generation"],
                "paper": accuracies,
            }
        )
    if any(row["difference_to_cnn"] for row in content):
        notes.append(
            f"Difference to the {_model(baseline)}: percentage points by sequence, on the same "
            "test images; p of no difference, two-sided, paired bootstrap over subjects "
            f"({1 / statistics.DRAWS} is the least)"
        )
    if any(len(row["folds"]) < FOLDS for row in content):
        notes.append(f"Rows of fewer than {FOLDS} folds are of those alone")
    notes += _remarks(group, "accuracy")
    notes += [
        f"Generated reference, {_model(one)}: {generation_text(one.results['generation'])}"
        for one in group
        if one.results["generation"]
    ]
    columns = (
        "model", "folds",
        "by frame,\nmean ± sd", "by frame,\npooled [95 %]",
        "by sequence,\nmean ± sd", "by sequence,\npooled [95 %]",
        f"difference to\nthe {_baseline_title(baseline)} [95 %]", "p",
        *(f"paper,\nreal {title}" for title in of_papers),
        "run folder",
    )  # fmt: skip
    return Table(
        f"Accuracy in per cent: {database}, {first.run.settings.classes} classes",
        _settings(first),
        columns,
        rows,
        notes + _starts(group) + _other_prototxt(group),
        content,
    )


def _only_baseline(group):
    """(the Evaluated to compare with or None, a note on why there is none or "")."""
    baselines = [one for one in group if one.run.model.is_baseline]
    if len(baselines) > 1:
        names = ", ".join(one.name for one in baselines)
        return None, (
            f"No differences to the {_model(baselines[0])}, of which there are several runs here "
            f"({names}): give eval_folds.py the runs to compare"
        )
    return (baselines[0] if baselines else None), ""


def _baseline_title(baseline):
    """What the differences are to; without a run of one in the table, the first that there is."""
    if baseline is not None:
        return _model(baseline)
    return next((model.title for model in models.those(lambda one: one.is_baseline)), "baseline")


def _remarks(group, of):
    """The remarks of the models in `group` on "accuracy" or a class, each once."""
    found = {
        one.run.model.title: one.run.model.remarks[of]
        for one in group
        if of in one.run.model.remarks
    }
    return [f"{title}: {remark}" for title, remark in found.items()]


def mean_text(count):
    """ "61.20 ± 3.10", or without the deviation for a single fold."""
    deviation = "" if count["deviation"] is None else f" ± {count['deviation']:.2f}"
    return f"{count['mean']:.2f}{deviation}"


def interval_text(interval):
    """ " [58.1, 64.3]", or nothing where there is no interval."""
    return "" if interval is None else f" [{interval[0]:.1f}, {interval[1]:.1f}]"


def generation_text(generation):
    return (
        f"half squared error {generation['generated']:.1f} a face from the real neutral one; the "
        f"image itself has {generation['unchanged']:.1f}"
    )


def _pooled(count):
    return f"{count['pooled']:.2f}{interval_text(count['interval'])}"


def _number(value):
    return NONE if value is None else f"{value:.2f}"


def _difference(difference):
    """The cells "difference" and "p"."""
    if difference is None:
        return NONE, NONE
    sequence = difference["sequence"]
    p = sequence["p"]
    return (
        f"{sequence['difference']:+.2f}{interval_text(sequence['interval'])}",
        NONE if p is None else f"{p:.4f}",
    )


def _folds(one):
    folds = sorted(map(int, one.results["folds"]))
    if len(folds) == FOLDS:
        return f"all {FOLDS}"
    return f"fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))} of {FOLDS}"


def _starts(group):
    """A note on the weights that the nets start from; none if all start from random ones."""
    starts = {}
    for one in group:
        starts.setdefault(_start(one, group), []).append(_model(one))
    if list(starts) == ["random"]:
        return []
    told = "; ".join(
        f"{start} ({', '.join(dict.fromkeys(models))})" for start, models in starts.items()
    )
    alike = "Nets start from" if _start_alike(group) else "The rows do not start alike: from"
    return [f"{alike} {told}"]


def _other_prototxt(group):
    """Notes on rows of the same net whose prototxt files had different contents."""
    notes = []
    for title in dict.fromkeys(map(_model, group)):
        rows = [one for one in group if _model(one) == title]
        if len({one.run.settings.prototxt_sha256 for one in rows}) > 1:
            names = ", ".join(
                f"{one.name} (SHA-256 {one.run.settings.prototxt_sha256[:12]})" for one in rows
            )
            notes.append(f"The rows of {title} are of different prototxt files: {names}")
    return notes


def _start(one, group):
    """The weights of a run for people, told apart by digest where a path has had two contents."""
    contents = Counter(path for path, _ in {item for o in group for item in _weights(o)})
    return ", ".join(
        path + (f" (SHA-256 {digest[:12]})" if contents[path] > 1 else "")
        for path, digest in one.run.settings.weights.items()
    ) or "random"  # fmt: skip


def _weights(one):
    return frozenset(one.run.settings.weights.items())


def _start_alike(group):
    """Whether all start from the same weights; a net of fewer parts may lack one file."""
    by_parts = {}
    for one in group:
        by_parts.setdefault(frozenset(one.run.model.starts_from), set()).add(_weights(one))
    if any(len(starts) > 1 for starts in by_parts.values()):
        return False
    by_size = sorted(
        ((parts, *starts) for parts, starts in by_parts.items()), key=lambda p: len(p[0])
    )
    return all(
        fewer <= more and len(more - fewer) <= len(more_parts - fewer_parts)
        for (fewer_parts, fewer), (more_parts, more) in itertools.pairwise(by_size)
    )


def _recall(group):
    names = group[0].run.class_names
    notes = [remark for name in names for remark in _remarks(group, name)]
    return Table(
        f"Recall by class in per cent, by frame: {database_name(group[0].run.settings.index)}",
        _settings(group[0]),
        ("model", "folds", *names, "run folder"),
        [
            (
                _model(one),
                _folds(one),
                *(_number(one.results["recall"][name]) for name in names),
                one.name,
            )  # fmt: skip
            for one in group
        ],
        notes,
        [{**_source(one), "recall": one.results["recall"]} for one in group],
    )


def _cross_database(group):
    """One row for each run, one column for each database that some of them were tested on."""
    columns = list(dict.fromkeys(map(_tested_on, group)))
    found = {}
    for one in group:
        found.setdefault(one.run.folder, {})[_tested_on(one)] = one
    rows, content = [], []
    classes = group[0].run.settings.classes
    of_papers = [published.cross_database_title(column.database, classes) for column in columns]
    for tests in found.values():
        one = next(iter(tests.values()))
        trained_on = database_name(one.run.settings.index)
        cells, by_database = [], {}
        for column, title in zip(columns, of_papers, strict=True):
            here = tests.get(column)
            number = published.cross_database(one.run.settings.net, title, trained_on)
            cells.append(_away_cell(here))
            if title:
                cells.append(_number(number))
            if here:
                by_database[column.database] = {
                    "index": column.index,
                    "index_sha256": column.sha256,
                    "results": here.name,
                    "frame": here.results["frame"],
                    "sequence": here.results["sequence"],
                    "paper": {title: number} if title else {},
                }
        rows.append((_model(one), one.run.settings.index, _folds(one), *cells, one.run.name))
        content.append(
            {
                **_source(one),
                "run": one.run.name,
                "trained_on": one.run.settings.index,
                "tested_on": by_database,
            }
        )
    heads = []
    for column, title in zip(columns, of_papers, strict=True):
        heads.append(f"on {column.database}\n[95 %]")
        if title:
            heads.append(f"paper,\nreal {title}")
    notes = [
        "Accuracy by frame; the net of every fold named is tested on all images, ± standard "
        "deviation over these nets; [ ] 95 % interval, bootstrap over subjects",
        *(f"{test.database}: {test.index} (SHA-256 {test.sha256[:12]})" for test in columns),
    ]
    return Table(
        "Accuracy in per cent on databases that the nets do not know",
        _settings_of_training(group[0]),
        ("model", "trained on", "nets of", *heads, "run folder"),
        rows,
        notes + _starts(_one_of_each_run(group)),
        content,
    )


def _one_of_each_run(group):
    return list({one.run.folder: one for one in group}.values())


def _tested_on(one):
    results = one.results
    return TestedOn(database_name(results["index"]), results["index"], results["index_sha256"])


def _away_cell(one):
    if one is None:
        return NONE
    frame = one.results["frame"]
    return mean_text(frame) + interval_text(frame["interval"])


def _published(evaluations):
    """The tables of papers on the databases that some nets here were tested on."""
    tested = {
        published.cross_database_title(_tested_on(one).database, one.run.settings.classes)
        for one in evaluations
    }
    return [
        Table(
            table.heading,
            {},
            ("method", "trained on", "tested on", "paper"),
            [
                (models.title(row.method), row.training, row.test, _number(row.accuracy))
                for row in rows
            ],
            [],
            [row._asdict() for row in rows],
        )
        for table, rows in published.cross_database_tables(tested)
    ]
