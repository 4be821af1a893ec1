"""Tables: which runs share one, what cells and notes say, the forms they are printed in."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from gcnet import published, runs
from gcnet.evaluate import scores
from gcnet.evaluate.evaluated import Evaluated, Predictions
from gcnet.report import table_forms, tables
from gcnet_base.paths import database_name

CKPLUS = "data/ckplus/faces/index.csv"
NAMES = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
DIGEST = "ab" * 32


def an_evaluated(folder, net="s1r1", wrong=(0,), folds=range(10), index=None, **settings):
    """An Evaluated of 7 images a fold, each fold of a subject of its own; `wrong` of them are wrong.

    `index` is the one of a test on another database, where every fold's net sees the same images.
    """
    settings = runs.Settings(**{
        "net": net, "classes": "7", "max_iter": 40, "batch": 8, "index": CKPLUS,
        "index_sha256": DIGEST, "copies": 2, "seed": 1, "engine": "torch", "weights": {},
        "prototxt": "prototxt", "prototxt_sha256": net, **settings,
    })  # fmt: skip
    run = runs.Run(runs.ROOT / folder, settings, "train_folds.py", "c0ffee", "today")
    names = run.class_names
    subjects = [(fold, fold if index is None else "x") for fold in folds]
    labels = np.tile(np.arange(len(names)), len(subjects))
    said = labels.copy()
    said[list(wrong)] += 1
    predictions = Predictions(
        names,
        [
            {"image": f"{subject}/{name}.png", "subject": f"S{subject}", "sequence": name}
            for _, subject in subjects
            for name in names
        ],
        np.repeat([fold for fold, _ in subjects], len(names)),
        labels,
        np.eye(len(names))[said % len(names)],
    )
    results = {
        "index": index or settings.index,
        "index_sha256": settings.index_sha256 if index is None else index,
        "each_net_tests_all": index is not None,
        **json.loads(json.dumps(scores.scores(predictions))),
        "generation": {"generated": 33.04, "unchanged": 18.96} if net == "s1r1" else None,
    }
    place = run.folder / f"on-{database_name(index)}" if index else run.folder
    return Evaluated(run, place, results, predictions, None, None, None)


def cells(table, row):
    """{column: cell} of a row."""
    return dict(zip((c.replace("\n", " ") for c in table.columns), table.rows[row], strict=True))


def test_a_row_has_our_numbers_with_their_run_and_the_papers_with_its_database():
    pair = an_evaluated("runs/a", "s1r1", (0, 7)), an_evaluated("runs/b", "cnn", ())
    accuracy, recall = tables.of(pair)
    assert [row[0] for row in accuracy.rows] == ["CNN", "GCNet S1R1"], "the order of Figure 2"
    row = cells(accuracy, 1)
    assert row["by frame, mean ± sd"] == "97.14 ± 6.02"
    assert re.fullmatch(r"97\.14 \[9\d\.\d, 100\.0\]", row["by frame, pooled [95 %]"])
    assert row["paper, real CK+ 7"] == "97.93"
    assert row["run folder"] == "runs/a"
    assert re.fullmatch(r"-2\.86 \[-7\.1, 0\.0\]", row["difference to the CNN [95 %]"])
    assert 0 < float(row["p"]) <= 1
    assert cells(accuracy, 0)["difference to the CNN [95 %]"] == "-"
    assert CKPLUS in table_forms.settings_text(accuracy.settings)
    told = [note for note in accuracy.notes if note.startswith("Generated reference, GCNet S1R1")]
    assert len(told) == 1 and "33.0 a face" in told[0] and told[0].endswith("has 19.0")
    assert cells(recall, 1)["anger"] == "80.00" and cells(recall, 1)["fear"] == "100.00"


@pytest.mark.parametrize("change", [
    {"max_iter": 41}, {"batch": 9}, {"copies": 3}, {"seed": 2}, {"engine": "bvlc"},
    {"index_sha256": "cd" * 32}, {"prototxt": "changed"},
])  # fmt: skip
def test_runs_of_different_settings_never_share_a_table(change):
    made = tables.of([an_evaluated("runs/a", "cnn"), an_evaluated("runs/b", **change)])
    assert [len(table.rows) for table in made] == [1] * 4
    assert len({json.dumps(table.settings) for table in made}) == 2
    assert len(tables.of([an_evaluated("runs/a", "cnn"), an_evaluated("runs/b")])) == 2


def test_a_run_of_some_folds_says_so_and_is_not_compared():
    made = tables.of([an_evaluated("runs/a", "cnn"), an_evaluated("runs/b", folds=(0, 1))])
    assert [row[1] for row in made[0].rows] == ["all 10", "folds 0, 1 of 10"]
    assert made[0].content[1]["difference_to_cnn"] is None
    assert "GCNet S1R1 is not compared with the CNN: it has other folds" in made[0].notes
    assert "Rows of fewer than 10 folds are of those alone" in made[0].notes


def test_with_two_cnns_nobody_guesses_which_is_meant():
    nets = {"runs/a": "cnn", "runs/b": "cnn", "runs/c": "s1r1"}
    table = tables.of([an_evaluated(*run) for run in nets.items()])[0]
    assert all(row["difference_to_cnn"] is None for row in table.content)
    assert any("several runs here (runs/a, runs/b)" in note for note in table.notes)


def test_what_the_nets_start_from_is_told():
    both = {"w/encoder1.caffemodel": "1", "w/encoder2.caffemodel": "2"}
    only2 = {"w/encoder2.caffemodel": "2"}

    def told(*starts):
        group = [an_evaluated(f"runs/{net}", net, weights=weights) for net, weights in starts]
        return [note for note in tables.of(group)[0].notes if "start" in note]

    assert told(("cnn", {}), ("s1r1", {})) == []
    assert told(("cnn", only2), ("s0r0", both), ("s1r1", both)) == [
        "Nets start from w/encoder2.caffemodel (CNN); "
        "w/encoder1.caffemodel, w/encoder2.caffemodel (GCNet S0R0, GCNet S1R1)"
    ]
    assert told(("s1r1", both), ("s1r1", both)) == [
        "Nets start from w/encoder1.caffemodel, w/encoder2.caffemodel (GCNet S1R1)"
    ]
    assert told(("cnn", {}), ("s1r1", both))[0].startswith(
        "The rows do not start alike: from random (CNN); w/encoder1"
    )
    assert told(("s0r0", {}), ("s1r1", both))[0].startswith("The rows do not start alike")
    assert told(("s0r0", only2), ("s1r1", {"w/encoder2.caffemodel": "3"}))[0] == (
        "The rows do not start alike: from w/encoder2.caffemodel (SHA-256 2) (GCNet S0R0); "
        "w/encoder2.caffemodel (SHA-256 3) (GCNet S1R1)"
    )


def test_what_the_metric_learning_cnn_has_before_the_others_is_told():
    group = [an_evaluated("runs/a", "mlcnn", classes="8"), an_evaluated("runs/b", classes="8")]
    accuracy, recall = tables.of(group)
    assert any("real neutral image in the test" in note for note in accuracy.notes)
    assert any("a neutral face is its own reference" in note for note in recall.notes)
    accuracy, recall = tables.of(group[1:])
    assert not any("Metric-learning" in note for note in accuracy.notes + recall.notes)


def test_rows_of_one_net_with_other_prototxt_files_are_told():
    table = tables.of([an_evaluated("runs/a"), an_evaluated("runs/b", prototxt_sha256="other")])[0]
    assert any("different prototxt files: runs/a" in note for note in table.notes)


def test_the_papers_row_is_that_of_the_database():
    mmi = an_evaluated("runs/a", classes="6", index="data/mmi/faces/index.csv")
    mmi = replace(mmi, results={**mmi.results, "each_net_tests_all": False})
    for name, columns in (("mmi", ["MMI"]), ("demo", ["MMI", "Oulu-CASIA"]), ("ckplus", [])):
        settings = replace(mmi.run.settings, index=f"data/{name}/faces/index.csv")
        one = replace(mmi, run=replace(mmi.run, settings=settings))
        table = tables.of([one])[0]
        assert [c for c in table.columns if "paper" in c] == [f"paper,\nreal {c}" for c in columns]


def away(folder, database, trained_on="ckplus", **changes):
    return an_evaluated(
        folder, index=f"data/{database}/faces/index.csv", wrong=range(4), folds=(0, 1),
        classes="6+neutral", **{"index_sha256": trained_on, **changes},
    )  # fmt: skip


def test_other_databases_are_the_columns_beside_the_papers_table_6():
    first = [away("runs/a", name) for name in ("fer2013", "photos")]
    second = away("runs/b", "fer2013")
    settings = replace(second.run.settings, index="data/ckplus+oulu_casia/faces/index.csv")
    second = replace(second, run=replace(second.run, settings=settings))
    home = an_evaluated("runs/a", folds=(0, 1), classes="6+neutral", index_sha256="ckplus")
    made = tables.of([home, *first, second])
    assert [table.heading[:8] for table in made] == ["Accuracy", "Recall b", "Accuracy", "The pape"]
    ours, published = made[2:]
    assert len(ours.rows) == 2
    row, other = cells(ours, 0), cells(ours, 1)
    assert row["on fer2013 [95 %]"].startswith("71.43 ± 40.41")
    assert row["paper, real FER2013"] == "40.19" and other["paper, real FER2013"] == "41.71"
    assert "paper, real photos" not in row
    assert other["on photos [95 %]"] == "-"
    assert row["trained on"] == CKPLUS and row["run folder"] == "runs/a"
    assert {row[2] for row in published.rows} == {"FER2013"}
    assert ("Inception-CNN", "CK+ + MMI + 5 others", "FER2013", "34.00") in published.rows


def test_table_6_of_the_paper():
    assert published.cross_database("s1r1", "RAF-DB", "ckplus+mmi+oulu_casia") == 49.74
    assert published.cross_database("s1r1", "SFEW", "ckplus+oulu_casia+mmi") == 35.57
    assert published.cross_database("s1r1", "SFEW", "ckplus") is None
    assert published.cross_database("cnn", "RAF-DB", "ckplus") is None
    assert published.cross_database("s1r1", "RAF-DB", "ckplus+photos") is None


@pytest.fixture(scope="module")
def made():
    odd = "runs/100%_{a}&b#c~d^e\\f|$"
    home = an_evaluated(odd, "cnn", ()), an_evaluated("runs/b")
    return tables.of([*home, away("runs/b", "fer2013")])


def test_json_has_everything_in_full_precision(made):
    everything = json.loads(table_forms.as_json(made))
    row = everything[0]["rows"][1]
    assert row["run"] == "runs/b" and row["paper"] == {"CK+ 7": 97.93}
    assert row["frame"]["pooled"] == pytest.approx(100 * 69 / 70, abs=1e-12)
    assert set(row["difference_to_cnn"]) == {"frame", "sequence"}
    assert everything[0]["settings"]["index_sha256"] == DIGEST
    assert everything[2]["rows"][0]["tested_on"]["fer2013"]["paper"] == {"FER2013": 40.19}


def test_text_is_aligned(made):
    block = table_forms.as_text(made).split("\n\n")[1].splitlines()
    rule = next(line for line in block if line.startswith("---"))
    edges = [m.end() for m in re.finditer(r"-+", rule)][:-1]
    for line in block:
        assert all(line[edge : edge + 2].strip() == "" for edge in edges), line


def test_markdown_has_as_many_cells_in_each_row(made):
    for block in re.findall(r"(?:^\|.*\n)+", table_forms.as_markdown(made), re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1
    assert r"a}&b#c~d^e\f\|$" in table_forms.as_markdown(made)


def test_latex_is_well_formed(made):
    text = table_forms.as_latex(made)
    open_environments = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            open_environments.append(name)
        else:
            assert open_environments.pop() == name
    assert not open_environments
    tabulars = re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(tabulars) == len(made)
    for alignment, body in tabulars:
        rows = [line for line in body.splitlines() if line != r"\hline"]
        assert rows and all(line.endswith(r" \\") for line in rows)
        assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {len(alignment) - 1}
    depth = 0
    for character in re.sub(r"\\[\\{}]", "", text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    # What TeX reads as a command: all of it is ours or an escape.
    commands = set(re.findall(r"\\([a-zA-Z]+|.)", text.replace("\\\\", "")))
    known = "begin end caption footnotesize shortstack hline pm textbackslash textasciitilde textasciicircum % $ & # _ { }"
    assert commands <= set(known.split())
    assert re.search(r"runs/100\\%\\_\\\{a\\\}\\&b\\#c", text)


def test_no_runs_make_no_tables():
    assert tables.of([]) == []
    assert table_forms.as_json([]) == "[]\n"
