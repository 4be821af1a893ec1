"""A fold trained and tested through gcnet in both engines."""

import csv
import json
import shutil

import numpy as np
import pytest
import tiny

from data_prep.lmdbs import places
from gcnet import prototxt, runs
from gcnet.report import of_runs
from gcnet.train.caffe_log import CaffeLog
from gcnet_base.errors import InputError
from torchcaffe.schema.caffe_pb2 import TEST

pytestmark = pytest.mark.usefixtures("bvlc")

BATCH, MAX_ITER = 21, 6


def without_chance(name, message):
    """The CNN with its dropout and its crops in the test phase; every iteration is displayed."""
    if name.startswith("solver_"):
        prototxt.set_value(message, "display", 1)
    if name in ("cnn.prototxt", "deploy_cnn.prototxt"):
        prototxt.set_value(message, "inner_product_param.num_output", 16, "classifier/fc1")
    if name == "cnn.prototxt":
        for layer in ("data", "classifier/dropout"):
            for one in prototxt.layers(message, layer):
                one.phase = TEST


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """{engine: its Run of fold 0}, both from one caffemodel, and what `tiny.train` needs."""
    folder = tmp_path_factory.mktemp("two_engines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "LMDBS", folder / "lmdbs")
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        index = tiny.write_database(folder / "tiny")
        nets = tiny.write_prototxt(folder / "prototxt", "cnn", batch=BATCH, edit=without_chance)
        first = tiny.train(folder / "first", index, "cnn", nets, engine="bvlc", max_iter=1)
        start = {"weights": [first.final_caffemodel(0)], "max_iter": MAX_ITER}
        made = {
            engine: tiny.train(folder / engine, index, "cnn", nets, engine=engine, **start)
            for engine in ("bvlc", "torch")
        }
        yield made, (index, nets, start)


def test_the_displayed_losses_agree(trained):
    curves = {}
    for engine, run in trained[0].items():
        with open(run.fold_folder(0) / "caffe.log") as lines:
            log = CaffeLog(lines)
        curves[engine] = log.train["loss_classification"]
        assert list(curves[engine]) == list(range(MAX_ITER))
    assert curves["torch"] == pytest.approx(curves["bvlc"], rel=1e-4)
    assert abs(curves["bvlc"][MAX_ITER - 1] - curves["bvlc"][0]) > 0.05, "nothing was learnt"


def test_the_same_weights_give_the_same_predictions(trained, tmp_path):
    """eval_folds on a run of BVLC Caffe, and on a copy whose settings say torch."""
    probabilities = {}
    for engine in ("bvlc", "torch"):
        folder = tmp_path / engine
        shutil.copytree(trained[0]["bvlc"].folder, folder)
        described = json.loads((folder / "run.json").read_text())
        described["settings"]["engine"] = engine
        (folder / "run.json").write_text(json.dumps(described))
        results = of_runs.evaluate(runs.load(folder)).results
        assert results["engine"] == engine
        with open(folder / "predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 14
        probabilities[engine] = np.array(
            [[float(row[name]) for name in row if name.startswith("p_")] for row in rows]
        )
    assert np.abs(probabilities["torch"] - probabilities["bvlc"]).max() <= 1e-4
    assert np.ptp(probabilities["bvlc"], axis=0).max() > 0.01, "all images look alike to it"


def test_a_run_folder_keeps_to_its_engine(trained):
    made, (index, nets, start) = trained
    with pytest.raises(InputError, match="engine bvlc, now torch"):
        tiny.train(made["bvlc"].folder, index, "cnn", nets, engine="torch", **start)
