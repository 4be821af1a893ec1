"""What papers report on the real databases, in percent, for the tables and reports to show.

None of it is a result of this project, so beside one it is always labelled as the paper's. Methods
register their papers' tables.
"""

from collections import namedtuple
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTable:
    """Accuracies of ten folds of a real database.

    `title` names database and classes for people, `database` is data_prep's name, `classes` one of
    protocol.CLASSES. `rows`: {model's name or another method: accuracy}, in the order of the paper.
    """

    title: str
    database: str
    classes: str
    rows: dict


CrossDatabaseRow = namedtuple("CrossDatabaseRow", "method training test accuracy")


@dataclass(frozen=True)
class CrossDatabaseTable:
    """Accuracies on databases that the nets do not know.

    `tests` and `trainings`: {data_prep's name: the paper's}; a training on several databases has
    their names with " + " between them, in the order of `trainings`. `rows`: CrossDatabaseRows.
    """

    heading: str
    classes: str
    tests: dict
    trainings: dict
    rows: tuple


_tables = []
_cross_database = []


def register(*tables):
    """Add PublishedTables and CrossDatabaseTables."""
    for table in tables:
        (_cross_database if isinstance(table, CrossDatabaseTable) else _tables).append(table)


def tables_for(classes, database):
    """The PublishedTables to put beside a result with these classes on `database`.

    For a database that papers test on, those of it alone; for any other, all of these classes.
    """
    same = [table for table in _tables if table.classes == classes and table.database == database]
    if same or any(table.database == database for table in _tables):
        return same
    return [table for table in _tables if table.classes == classes]


def accuracies(published, classes, database):
    """{title of a table: accuracy in percent, or None}, of what a Model has `published`."""
    return {table.title: published.get(table.title) for table in tables_for(classes, database)}


def rows_of(title):
    """{model's name or another method: accuracy} of the tables of this title."""
    return {name: value for table in _tables if table.title == title
            for name, value in table.rows.items()}  # fmt: skip


def cross_database_title(database, classes):
    """What papers call a database that they test other databases' nets on; None: they do not."""
    for table in _cross_database:
        if table.classes == classes and database in table.tests:
            return table.tests[database]
    return None


def cross_database(name, test, trained_on):
    """The accuracy of a model on `test` (its title in the paper), or None.

    `trained_on` names the database of the training, or several as "ckplus+oulu_casia".
    """
    for table in _cross_database:
        databases = trained_on.split("+")
        if set(databases) <= table.trainings.keys():
            training = " + ".join(
                title for database, title in table.trainings.items() if database in databases
            )
            for row in table.rows:
                if row[:3] == (name, training, test):
                    return row.accuracy
    return None


def cross_database_tables(tests):
    """[(CrossDatabaseTable, its rows on `tests`, titles)] of those that have any."""
    found = [(table, [row for row in table.rows if row.test in tests]) for table in _cross_database]
    return [(table, rows) for table, rows in found if rows]
