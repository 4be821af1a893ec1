"""The paper's figures from evaluated runs: what is shown, of whom, and the same bytes each time."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
import tiny

from data_prep.index import COLUMNS, Index, Row, read
from data_prep.lmdbs import places
from gcnet import prototxt, runs, sources
from gcnet.evaluate import shown_faces
from gcnet.methods.gcnet import contrastive_weight, figures, sequence_frames
from gcnet.report import of_runs, pictures, plots, tsne
from gcnet.train import cross_validation, fold_lmdbs
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT
from gcnet_base.protocol import CLASSES, EXPRESSIONS
from torchcaffe.pycaffe import TEST, Net

FRAMES = 5
"""Of a sequence: neutral, two in between, two at the apex."""
TEST_SUBJECTS = ["S00", "S10"]
"""Of fold 0."""


def write_sequences(folder):
    """Noise "faces" of 11 subjects, a sequence of FRAMES for each expression; returns index.csv."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    patterns = {name: generator.normal(0, 40, (66, 66)) for name in EXPRESSIONS}
    lines = [",".join(COLUMNS)]
    for number in range(11):
        subject, own = f"S{number:02d}", generator.normal(128, 30, (66, 66))
        for name, pattern in patterns.items():
            for frame in range(1, FRAMES + 1):
                pixels = own + pattern * (frame - 1) / 4
                image = f"{subject}_{name}_{frame}.png"
                cv2.imwrite(str(folder / image), np.clip(pixels, 0, 255).astype(np.uint8))
                label = "neutral" if frame == 1 else name if frame >= 4 else ""
                reference = f"{subject}_{name}_1.png"
                lines.append(f"{image},{subject},{subject}_{name},{frame},{label},{reference}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder / "index.csv"


def write_run(folder, net, index, nets, folds):
    """A Run whose folds count as finished, with random weights."""
    generator = np.random.default_rng(0)
    settings = runs.complete(
        runs.Settings(
            net=net, classes="7", max_iter=2, index=index, copies=0, engine="torch", prototxt=nets
        )
    )
    run = runs.Run(folder, settings, "figures", "", "today")
    runs.save(run)
    for fold in folds:
        cross_validation._prepare(run, fold, fold_lmdbs.build_missing(run, fold), "cpu")
        deploy = str(run.fold_folder(fold) / "deploy.prototxt")
        untrained = Net(deploy, TEST, stages=run.stages(fold))
        for name, blobs in untrained.params.items():
            for blob in blobs:
                drawn = generator.normal(0.02, 0.1, blob.data.shape)
                blob.data[...] = 1 if "/bn" in name else drawn
        untrained.save(str(run.final_caffemodel(fold)))
        run.trained(fold).mark_finished()
    return run


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(Evaluated of S1R1, folds 0 and 1; Evaluated of a CNN, fold 0)."""
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "LMDBS", folder / "lmdbs")
        patch.setenv("GCNET_FOLDS", str(folder / "lmdbs"))  # of the commands
        index = write_sequences(folder / "tiny" / "faces")
        nets = tiny.write_prototxt(folder / "prototxt", "gcnet", "cnn", batch=4)
        yield tuple(
            of_runs.evaluate(write_run(folder / net, net, index, nets, folds))
            for net, folds in (("s1r1", [0, 1]), ("cnn", [0]))
        )


def table_of(*sequences):
    """An Index of (subject, sequence, {frame: label})."""
    rows = [
        Row(f"{sequence}_{frame}.png", subject, sequence, str(frame), label, line=2)
        for subject, sequence, frames in sequences
        for frame, label in frames.items()
    ]
    return Index(ROOT / "index.csv", tuple(rows))


def others():
    """A photograph of each of nine more subjects: folds need ten."""
    return [(str(number), f"photo{number}", {1: "anger"}) for number in range(2, 11)]


def test_frames_rise_from_neutral_to_apex():
    rise = {1: "neutral", 2: "", 3: "", 4: "fear", 5: "fear", 6: "fear"}
    table = table_of(("1", "a", rise), *others())
    frames = sequence_frames.of_fold(table, 0, EXPRESSIONS)
    assert [frame.expressiveness for frame in frames] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1, 1])
    assert {frame.expression for frame in frames} == {"fear"}


def test_frames_of_a_video_that_returns_to_neutral_fall_to_its_end():
    video = dict.fromkeys(range(1, 12), "") | {1: "neutral", 5: "happiness", 6: "happiness"}
    # Rows in any order: time is what the frame numbers say.
    table = table_of(("1", "a", dict(reversed(video.items()))), *others())
    frames = sequence_frames.of_fold(table, 0, CLASSES["6"])
    assert [frame.row.frame for frame in frames] == [str(number) for number in range(1, 12)]
    rising, falling = [0, 0.25, 0.5, 0.75], [0.8, 0.6, 0.4, 0.2, 0]
    assert [frame.expressiveness for frame in frames] == pytest.approx([*rising, 1, 1, *falling])


def test_sequences_of_other_subjects_and_expressions_and_photographs_are_left_out():
    rise = {1: "neutral", 2: "", 3: "fear"}
    contempt = {1: "neutral", 2: "", 3: "contempt"}
    table = table_of(
        ("11", "c", rise), ("1", "b", rise), ("1", "a", rise), ("2", "d", rise),
        ("1", "e", contempt), ("1", "f", {1: "", 2: "fear"}), ("1", "photo", {1: "fear"}),
        *others(),
    )  # fmt: skip
    frames = sequence_frames.of_fold(table, 0, CLASSES["6"])
    assert [(frame.row.subject, frame.row.sequence) for frame in frames] == [
        ("1", "a"), ("1", "a"), ("1", "a"), ("1", "b"), ("1", "b"), ("1", "b"),
        ("11", "c"), ("11", "c"), ("11", "c"),
    ]  # fmt: skip


def test_an_index_without_frames_in_between_is_told(tmp_path):
    table = read(tiny.write_database(tmp_path / "faces"))
    with pytest.raises(InputError, match="no frames between neutral and apex; .*--every 1"):
        sequence_frames.of_fold(table, 0, EXPRESSIONS)
    table = table_of(("1", "a", {1: "neutral", 2: "fear"}), *others())
    with pytest.raises(InputError, match="index.csv: the sequences of fold 0's test subjects have"):
        sequence_frames.of_fold(table, 0, EXPRESSIONS)


def test_a_lost_face_is_told(tmp_path):
    (tmp_path / "faces").mkdir()
    table = table_of(("1", "a", {1: "neutral", 2: "", 3: "fear"}), *others())
    frames = sequence_frames.of_fold(table, 0, EXPRESSIONS)
    with pytest.raises(InputError, match=r"index.csv, line 2: .*a_1.png is gone or no gray 66x66"):
        sequence_frames.read_faces(table, frames)


def test_figure4_shows_varied_test_faces_and_what_the_net_makes_of_them(pair):
    one = pair[0]
    faces = pictures.made_faces(one, fold=1)
    assert list(faces["rows"]) == [
        "image", "generated reference", "reconstructed neutral", "reconstructed image"
    ]  # fmt: skip
    assert {column["subject"] for column in faces["columns"]} == {"S01"}
    assert sorted({column["label"] for column in faces["columns"]}) == sorted(EXPRESSIONS)
    assert len(faces["columns"]) == shown_faces.FACES
    seen = np.rint(256 * faces["rows"]["image"]).astype(np.uint8)
    generated = np.clip(np.rint(256 * faces["rows"]["generated reference"]), 0, 255)
    for shown, made in zip(seen, generated, strict=True):
        (i,) = np.flatnonzero((one.inputs == shown).all(axis=(1, 2)))
        assert one.predictions.folds[i] == 1
        # Evaluated in larger batches, whose sums may round otherwise.
        assert np.abs(one.generated[i] - made).max() <= 1
    assert (faces["rows"]["reconstructed image"] != faces["rows"]["reconstructed neutral"]).any()


def test_figure4_of_a_run_whose_nets_call_the_image_input(pair, tmp_path):
    one = pair[0]
    folder = tmp_path / "run"
    shutil.copytree(one.run.folder, folder)
    deploy = folder / "fold0" / "deploy.prototxt"
    text = deploy.read_text()
    assert "reconstructed_image" in text
    deploy.write_text(text.replace("reconstructed_image", "reconstructed_input"))
    older = replace(one, run=replace(one.run, folder=folder))
    rows, expected = (pictures.made_faces(of, fold=0)["rows"] for of in (older, one))
    assert list(rows) == list(expected)
    assert all((rows[caption] == expected[caption]).all() for caption in rows)


def test_figure5_shows_every_test_image_of_the_fold_in_three_panels(pair):
    one, cnn = pair
    fold, panels = figures.figure5_panels(one, cnn)
    assert fold == 0
    assert [panel.caption for panel in panels] == ["(a) pixels", "(b) CNN", "(c) GCNet S1R1"]
    records = [one.predictions.records[i] for i in np.flatnonzero(one.predictions.folds == 0)]
    for panel in panels:
        assert panel.points.shape == (2 * 7 * 2, 2)  # subjects, expressions, apex frames
        assert panel.points.min() >= 0 and panel.points.max() <= 1
        assert list(panel.expressions) == [record["label"] for record in records]
        assert panel.faces is None
    assert not np.allclose(panels[1].points, panels[2].points)


def test_figure6_shows_every_frame_of_the_test_sequences(pair):
    fold, panels = figures.figure6_panels(*pair, 0)
    assert len(panels) == 4
    for panel in panels:
        assert len(panel.points) == len(TEST_SUBJECTS) * 7 * FRAMES
        assert panel.expressions.count("fear") == len(TEST_SUBJECTS) * FRAMES
        assert panel.expressiveness[:FRAMES] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    assert [panel.faces is None for panel in panels] == [True, True, False, False]
    assert panels[2].faces.shape == (len(TEST_SUBJECTS) * 7 * FRAMES, 64, 64)
    for above, below in ((0, 2), (1, 3)):
        np.testing.assert_array_equal(panels[above].points, panels[below].points)


def test_the_less_expressive_the_lighter():
    for name in EXPRESSIONS:
        tints = [sum(tsne.tint(name, value)) for value in (0, 0.5, 1)]
        assert tints[0] > tints[1] > tints[2]
        assert tints[0] < 3, "the palest is not the white of the paper"
    assert tsne.tint("sadness", 1) == pytest.approx((0, 0x72 / 255, 0xB2 / 255))
    assert len(set(plots.CLASS_COLOURS.values())) == len(set(plots.CLASS_MARKERS.values())) == 8


def test_faces_stand_at_their_points_without_covering_each_other():
    points = np.random.default_rng(int(os.environ["TEST_SEED"])).random((300, 2))
    chosen = tsne.apart(points)
    assert chosen == tsne.apart(points)
    distances = np.abs(points[chosen][:, None] - points[chosen]).max(axis=2)
    assert (distances + np.eye(len(chosen)) > tsne.THUMBNAIL).all()
    nearest = np.abs(points[:, None] - points[chosen]).max(axis=2).min(axis=1)
    assert (nearest < 2 * tsne.THUMBNAIL).all(), "none is missing where there is room"


def test_figures_are_the_same_bytes_whatever_the_process(pair):
    gcnet, cnn = pair
    commands = {
        "fig4": ["--run", gcnet.run.folder],
        "fig5": ["--run", gcnet.run.folder, "--cnn", cnn.run.folder],
    }

    def draw(name):
        return subprocess.run(
            [sys.executable, ROOT / "python" / "figures.py", name, *commands[name]],
            env=os.environ | {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True,
        )  # fmt: skip

    def found():
        files = sorted(gcnet.run.folder.glob("figures/fig[45].*"))
        return {path.name: path.read_bytes() for path in files}

    with ThreadPoolExecutor() as pool:
        for done in pool.map(draw, commands):
            assert done.returncode == 0, done.stderr
            assert f"Measured: fold 0 of GCNet S1R1 {gcnet.run.folder}" in done.stdout
    by_commands = found()
    plots.save(*by_name(figures.figure4(gcnet), gcnet, "fig4"))
    plots.save(*by_name(figures.figure5(gcnet, cnn), gcnet, "fig5"))
    assert by_commands == found()
    assert list(by_commands) == ["fig4.pdf", "fig4.png", "fig5.pdf", "fig5.png"]
    for name in ("fig4.pdf", "fig5.pdf"):
        assert b"/FontFile2" in by_commands[name], "fonts are embedded"
        assert b"CreationDate" not in by_commands[name]
    shape = cv2.imdecode(np.frombuffer(by_commands["fig5.png"], np.uint8), 0).shape
    assert shape[1] == int(300 * plots.PAPER_WIDTH)


def by_name(drawn, one, name):
    figure, caption = drawn
    return figure, figures.stem(one.run, name), caption


def test_runs_that_do_not_fit_are_told(pair):
    gcnet, cnn = pair
    with pytest.raises(InputError, match="cnn: CNN generates no image; give a run of s0r0, s1r0"):
        figures.figure4(cnn)
    with pytest.raises(InputError, match="s1r1: fold 7 is not finished; train it"):
        figures.figure4(gcnet, 7)
    with pytest.raises(InputError, match="cnn: fold 1 is not finished"):
        figures.figure5(gcnet, cnn, 1)
    with pytest.raises(InputError, match="is of cnn; give --run a run of s0r0"):
        figures.figure6(cnn, gcnet)
    with pytest.raises(InputError, match="is of s1r1; give --cnn a run of cnn"):
        figures.figure5(gcnet, gcnet)
    later = replace(cnn, predictions=replace(cnn.predictions, folds=cnn.predictions.folds + 2))
    with pytest.raises(InputError, match="s1r1 and .*cnn: have no finished fold in common"):
        figures.figure5(gcnet, later)
    for key, what in (("index_sha256", "index"), ("classes", "classes")):
        other = replace(cnn, results={**cnn.results, "index": "x/index.csv", key: "another"})
        with pytest.raises(InputError, match=f"s1r1 of .* and .*cnn of .*: not the same {what};"):
            figures.figure5(gcnet, other)


def test_a_changed_index_is_told_before_its_frames_are_shown(pair, monkeypatch):
    monkeypatch.setattr(figures, "sha256", lambda path: "other")
    with pytest.raises(InputError, match="index.csv: is gone or changed since"):
        figures.figure6(*pair)


def test_features_that_are_all_the_same_are_told(pair):
    dead = replace(pair[1], features=np.zeros_like(pair[1].features))
    with pytest.raises(InputError, match="cnn: all images have the same features"):
        figures.figure5(pair[0], dead)


def test_a_weight_is_trained_with_nothing_else_changed(pair, monkeypatch, capsys):
    run = pair[0].run
    monkeypatch.setattr(contrastive_weight, "FOLDS", (0,))
    variant = contrastive_weight.trained(run, 0.3, "cpu", 1, "figures.py")
    assert variant.folder == run.folder / "figures" / "fig11" / "0.3"
    assert variant.is_finished(0)
    different = {
        name
        for name, value in asdict(variant.settings).items()
        if value != getattr(run.settings, name)
    }
    assert different == {"prototxt", "prototxt_sha256"}
    nets = [sources.source_messages("s1r1", ROOT / one.settings.prototxt) for one in (run, variant)]
    prototxt.set_value(nets[0]["net"], "loss_weight", 0.3, "loss_contrastive")
    assert nets[1] == nets[0]
    monkeypatch.setattr(runs, "RUNS", run.folder.parent)
    assert run.folder in of_runs.run_folders()
    assert variant.folder not in of_runs.run_folders(), "its net is no row of a table"
    capsys.readouterr()
    assert contrastive_weight.trained(run, 0.3, "cpu", 1, "figures.py") == variant
    assert capsys.readouterr().out == "fold 0: finished before\n"


def test_figure11_shows_the_mean_of_both_folds_and_takes_the_run_for_its_own_weight(
    pair, monkeypatch
):
    gcnet = pair[0]
    assert contrastive_weight.trained(gcnet.run, 1.0, "cpu", 1, "") is gcnet.run
    folds, labels = gcnet.predictions.folds, gcnet.predictions.labels
    # All right in fold 0; in fold 1 the second of the two apex frames of each sequence is wrong.
    probabilities = np.eye(7)[labels]
    second = [record["frame"] == "5" for record in gcnet.predictions.records]
    wrong = (folds == 1) & second
    probabilities[wrong] = 0.9 * np.eye(7)[(labels[wrong] + 1) % 7]
    told = replace(gcnet, predictions=replace(gcnet.predictions, probabilities=probabilities))
    monkeypatch.setattr(contrastive_weight, "trained", lambda run, weight, *rest: weight)
    monkeypatch.setattr(of_runs, "up_to_date", lambda weight: told)
    figure, caption = contrastive_weight.figure11(gcnet.run, [0.0, 1.0], "cpu", 1, "")
    assert caption.splitlines()[1:] == [
        f"weight {weight}: by frame 75.00 % (folds 0, 1: 100.00 and 50.00), by sequence 100.00 % "
        f"(folds 0, 1: 100.00 and 100.00), {gcnet.name}"
        for weight in (0, 1)
    ]
    again = contrastive_weight.figure11(gcnet.run, [0.0, 1.0], "cpu", 1, "")
    assert plots.png(*again) == plots.png(figure, caption)


def test_figure11_needs_a_gcnet_with_the_contrastive_loss_and_its_own_files(pair, monkeypatch):
    with pytest.raises(InputError, match="cnn: is a run of cnn; give one of s1r0 or s1r1"):
        contrastive_weight.figure11(pair[1].run, [1.0], "cpu", 1, "")
    run = pair[0].run
    changed = sources.source_messages("s1r1", ROOT / run.settings.prototxt)
    prototxt.set_value(changed["net"], "contrastive_loss_param.margin", 2, "loss_contrastive")
    monkeypatch.setattr(sources, "source_messages", lambda net, folder: changed)
    with pytest.raises(InputError, match="prototxt files have changed since it was started"):
        contrastive_weight.figure11(run, [1.0], "cpu", 1, "")


def test_weights_are_numbers():
    assert contrastive_weight.parse("1,0,0.30,1.0") == [0, 0.3, 1]
    for text in ("", "a", "-1", "nan", "1,,2"):
        with pytest.raises(InputError, match="give numbers of 0 or more as 0,0.1,1"):
            contrastive_weight.parse(text)
