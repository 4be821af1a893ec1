"""Tables of runs that can be compared, with the paper's numbers beside them.

Every number says where it is from: a row names the run folder and the table the index.csv it was
measured on; a column "paper, real ..." holds the paper's, on the real database.

Runs share a table if they differ in nothing but the net and the weights that they start from, and
those are told. A table of tests on other databases is laid out as Table VI, where the database that
a net was trained on differs from row to row, too.
"""

import json

from gcnet import models
from gcnet.report import accuracy_tables, cross_database_tables
from gcnet.report.table import settings_of, settings_of_training


def of(evaluations):
    """The Tables of a list of Evaluated, in the order in which their settings first appear."""
    home = [one for one in evaluations if not one.results["each_net_tests_all"]]
    away = [one for one in evaluations if one.results["each_net_tests_all"]]
    tables = []
    for group in _groups(home, settings_of):
        tables += [accuracy_tables.accuracy(group), accuracy_tables.recall(group)]
    tables += [
        cross_database_tables.accuracy(group) for group in _groups(away, settings_of_training)
    ]
    return tables + cross_database_tables.of_papers(away)


def _groups(evaluations, key):
    """Lists of the Evaluated with equal settings, each in the order of models."""
    groups = {}
    for one in evaluations:
        groups.setdefault(json.dumps(key(one)), []).append(one)
    return [models.in_order(group, lambda one: one.run.model) for group in groups.values()]
