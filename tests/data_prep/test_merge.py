"""Several databases as one index."""

import shutil

import pytest
import tiny

from data_prep import index
from data_prep.__main__ import main
from data_prep.lmdbs import build


@pytest.fixture
def databases(tmp_path):
    return [tiny.write_database(tmp_path / name, n) for n, name in enumerate(("mmi", "ckplus"))]


def test_people_of_two_databases_stay_apart_and_train_together(databases, tmp_path, capsys):
    out = tmp_path / "both" / "faces"
    assert main(["merge", *map(str, databases), "-o", str(out)]) == 0
    assert f"{out / 'index.csv'}: written, 176 faces of 2 databases" in capsys.readouterr().out
    table = index.read(out / "index.csv")
    subjects = {row.subject for row in table.rows}
    assert subjects == {f"{name}/S{n:02d}" for name in ("mmi", "ckplus") for n in range(11)}
    assert {row.sequence.split("/")[0] for row in table.rows} == {"mmi", "ckplus"}
    description, _ = build.build(out / "index.csv", tmp_path / "lmdb", 0, "7", copies=0)
    trained, tested = (description[part]["subjects"] for part in ("train", "test"))
    assert len(trained) + len(tested) == 22 and len(tested) == 3


def test_two_databases_of_one_name_are_refused(databases, tmp_path, capsys):
    shutil.copytree(databases[0].parent, tmp_path / "other" / "mmi")
    again = tmp_path / "other" / "mmi" / "index.csv"
    assert main(["merge", str(databases[0]), str(again), "-o", str(tmp_path / "out")]) == 1
    assert f"{again}: its database is called mmi" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_index_is_not_replaced_by_itself(databases, capsys):
    before = databases[0].read_bytes()
    assert main(["merge", *map(str, databases), "-o", str(databases[0].parent)]) == 1
    assert "choose another -o" in capsys.readouterr().err
    assert databases[0].read_bytes() == before
