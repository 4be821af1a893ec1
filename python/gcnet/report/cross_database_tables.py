"""Accuracies on databases that the nets do not know, as in the paper's Table VI."""

from collections import namedtuple

from gcnet import models, published
from gcnet.report.table import (
    NONE,
    Table,
    folds_text,
    interval_text,
    mean_text,
    number_text,
    settings_of_training,
    source,
    starts,
    title_of,
)
from gcnet_base.paths import database_name

#: The database of a test on another one: its name and its index.
TestedOn = namedtuple("TestedOn", "database index sha256")


def accuracy(group):
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
                cells.append(number_text(number))
            if here:
                by_database[column.database] = {
                    "index": column.index,
                    "index_sha256": column.sha256,
                    "results": here.name,
                    "frame": here.results["frame"],
                    "sequence": here.results["sequence"],
                    "paper": {title: number} if title else {},
                }
        rows.append((title_of(one), one.run.settings.index, folds_text(one), *cells, one.run.name))
        content.append(
            {
                **source(one),
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
        settings_of_training(group[0]),
        ("model", "trained on", "nets of", *heads, "run folder"),
        rows,
        notes + starts(_one_of_each_run(group)),
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


def of_papers(evaluations):
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
                (models.title(row.method), row.training, row.test, number_text(row.accuracy))
                for row in rows
            ],
            [],
            [row._asdict() for row in rows],
        )
        for table, rows in published.cross_database_tables(tested)
    ]
