"""Accuracies and recalls of runs on their own test subjects, the baseline's beside them."""

from gcnet import models, published
from gcnet.evaluate import statistics
from gcnet.report.table import (
    NONE,
    Table,
    folds_text,
    generation_text,
    interval_text,
    mean_text,
    number_text,
    settings_of,
    source,
    starts,
    title_of,
)
from gcnet_base.paths import database_name
from gcnet_base.protocol import FOLDS

SYMBOLS = (
    "Mean over folds ± their standard deviation; [ ] 95 % interval of the pooled accuracy, "
    "bootstrap over subjects"
)


def accuracy(group):
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
                    f"{title_of(one)} is not compared with the {title_of(baseline)}: it has "
                    f"{why_not}"
                )
            else:
                difference = statistics.compare(one.predictions, baseline.predictions)
        accuracies = published.accuracies(
            one.run.model.published, first.run.settings.classes, database
        )
        frame, sequence = one.results["frame"], one.results["sequence"]
        rows.append(
            (
                title_of(one),
                folds_text(one),
                mean_text(frame),
                _pooled(frame),
                mean_text(sequence),
                _pooled(sequence),
                *_difference(difference),
                *(number_text(accuracies[title]) for title in of_papers),
                one.name,
            )  # fmt: skip
        )
        content.append(
            {
                **source(one),
                "frame": frame,
                "sequence": sequence,
                "difference_to_cnn": difference,
                "generation": one.results["generation"],
                "paper": accuracies,
            }
        )
    if any(row["difference_to_cnn"] for row in content):
        notes.append(
            f"Difference to the {title_of(baseline)}: percentage points by sequence, on the same "
            "test images; p of no difference, two-sided, paired bootstrap over subjects "
            f"({1 / statistics.DRAWS} is the least)"
        )
    if any(len(row["folds"]) < FOLDS for row in content):
        notes.append(f"Rows of fewer than {FOLDS} folds are of those alone")
    notes += _remarks(group, "accuracy")
    notes += [
        f"Generated reference, {title_of(one)}: {generation_text(one.results['generation'])}"
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
        settings_of(first),
        columns,
        rows,
        notes + starts(group) + _other_prototxt(group),
        content,
    )


def _only_baseline(group):
    """(the Evaluated to compare with or None, a note on why there is none or "")."""
    baselines = [one for one in group if one.run.model.is_baseline]
    if len(baselines) > 1:
        names = ", ".join(one.name for one in baselines)
        return None, (
            f"No differences to the {title_of(baselines[0])}, of which there are several runs here "
            f"({names}): give eval_folds.py the runs to compare"
        )
    return (baselines[0] if baselines else None), ""


def _baseline_title(baseline):
    """What the differences are to; without a run of one in the table, the first that there is."""
    if baseline is not None:
        return title_of(baseline)
    return next((model.title for model in models.those(lambda one: one.is_baseline)), "baseline")


def _remarks(group, of):
    """The remarks of the models in `group` on "accuracy" or a class, each once."""
    found = {
        one.run.model.title: one.run.model.remarks[of]
        for one in group
        if of in one.run.model.remarks
    }
    return [f"{title}: {remark}" for title, remark in found.items()]


def _pooled(count):
    return f"{count['pooled']:.2f}{interval_text(count['interval'])}"


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


def _other_prototxt(group):
    """Notes on rows of the same net whose prototxt files had different contents."""
    notes = []
    for title in dict.fromkeys(map(title_of, group)):
        rows = [one for one in group if title_of(one) == title]
        if len({one.run.settings.prototxt_sha256 for one in rows}) > 1:
            names = ", ".join(
                f"{one.name} (SHA-256 {one.run.settings.prototxt_sha256[:12]})" for one in rows
            )
            notes.append(f"The rows of {title} are of different prototxt files: {names}")
    return notes


def recall(group):
    names = group[0].run.class_names
    notes = [remark for name in names for remark in _remarks(group, name)]
    return Table(
        f"Recall by class in per cent, by frame: {database_name(group[0].run.settings.index)}",
        settings_of(group[0]),
        ("model", "folds", *names, "run folder"),
        [
            (
                title_of(one),
                folds_text(one),
                *(number_text(one.results["recall"][name]) for name in names),
                one.name,
            )  # fmt: skip
            for one in group
        ],
        notes,
        [{**source(one), "recall": one.results["recall"]} for one in group],
    )
