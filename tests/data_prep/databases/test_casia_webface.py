"""CASIA-WebFace's layout into index.csv."""

import functools

import indexing

from data_prep.__main__ import main
from data_prep.synthetic import casia_webface as synthetic
from data_prep.synthetic.writing import Camera

SMALL = Camera(size=(48, 48), colour=True, people=2)


table = functools.partial(indexing.rows, "casia_webface")


def test_a_synthetic_tree_is_read_to_its_counts(tmp_path, capsys):
    root = tmp_path / "CASIA-WebFace"
    synthetic.write(root, SMALL, identities=300, images=2000, workers=1)
    rows = table(root, "--strict")
    assert len(rows) == 2000
    assert len({row.subject for row in rows}) == 300
    assert not any(row.label or row.reference for row in rows)
    text = capsys.readouterr().out
    assert "note: CASIA-WebFace has 300 identities; expected 10575" in text
    assert "note: CASIA-WebFace has 2000 images; expected 494414" in text


def test_untidy_copies_give_the_same_rows(tmp_path):
    tables = []
    for untidy in (False, True):
        root = tmp_path / str(untidy) / "CASIA-WebFace"
        synthetic.write(root, SMALL, untidy=untidy, identities=20, images=100, workers=1)
        rows = table(root, "--strict")
        tables.append([(row.subject, row.image.removeprefix(str(root)).lower()) for row in rows])
    copies = [(subject, image) for subject, image in tables[1] if " " in subject]
    assert copies and all(subject in image for subject, image in copies)
    assert tables[0] == [tuple(text.replace(" copy", "") for text in row) for row in tables[1]]


def test_rare_identities_can_be_left_out(tmp_path, capsys):
    root = tmp_path / "CASIA-WebFace"
    synthetic.write(root, SMALL, identities=20, images=100, workers=1)
    images = {folder.name: len(list(folder.iterdir())) for folder in root.iterdir()}
    kept = {name for name, number in images.items() if number >= 5}
    assert 0 < len(kept) < 20
    rows = table(root, "--least", "5")
    assert {row.subject for row in rows} == kept
    assert f"{20 - len(kept)} identities have fewer than 5 images" in capsys.readouterr().out


def test_a_folder_without_identities_is_one_line(tmp_path, capsys):
    root = tmp_path / "WebFace"
    (root / "0000045").mkdir(parents=True)
    (root / "list.txt").write_text("")
    assert main(["index", "casia_webface", str(root), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(root) in error and "0000045/001.jpg" in error
    assert not (tmp_path / "out").exists()
