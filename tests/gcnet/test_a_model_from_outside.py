"""A model that is no part of gcnet, from training to the report, without a change of gcnet."""

import pytest
import tiny

from gcnet import models, runs
from gcnet.models import Model
from gcnet.report import of_runs, table_forms, tables
from gcnet.train import cross_validation
from gcnet_base.errors import InputError

SOLVER = """
net: "toy.prototxt"  type: "SGD"  base_lr: 0.001  lr_policy: "fixed"  max_iter: 4  test_iter: 1
test_interval: 4  display: 1  snapshot: 4  snapshot_prefix: "toy"  random_seed: 1
"""

DATA = """
layer { name: "data"  type: "Data"  top: "pair"  top: "label"  include { phase: %s }
  transform_param { scale: 0.00390625  crop_size: 64 }
  data_param { source: "nowhere"  backend: LMDB  batch_size: 7 } }
"""

CLASSIFIER = """
layer { name: "squares"  type: "Pooling"  bottom: "image"  top: "squares"
  pooling_param { pool: AVE  kernel_size: 8  stride: 8 } }
layer { name: "toy/fc"  type: "InnerProduct"  bottom: "squares"  top: "toy/fc"
  inner_product_param { num_output: 5  weight_filler { type: "xavier" } } }
layer { name: "classifier/fc2"  type: "InnerProduct"  bottom: "toy/fc"  top: "classifier/fc2"
  inner_product_param { num_output: 7  weight_filler { type: "xavier" } } }
"""

NET = (
    DATA % "TRAIN" + DATA % "TEST"
    + """
layer { name: "slice"  type: "Slice"  bottom: "pair"  top: "image"  top: "reference"
  slice_param { axis: 1 } }
layer { name: "unused"  type: "Silence"  bottom: "reference" }
"""
    + CLASSIFIER
    + """
layer { name: "loss"  type: "SoftmaxWithLoss"  bottom: "classifier/fc2"  bottom: "label"  top: "loss" }
"""
)  # fmt: skip

DEPLOY = (
    """
layer { name: "image"  type: "Input"  top: "image"
  input_param { shape { dim: 1  dim: 1  dim: 64  dim: 64 } } }
"""
    + CLASSIFIER
    + """
layer { name: "probabilities"  type: "Softmax"  bottom: "classifier/fc2"  top: "probabilities" }
"""
)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The registered Model."""
    folder = tmp_path / "prototxt"
    folder.mkdir()
    files = {"solver_toy": SOLVER, "toy": NET, "deploy_toy": DEPLOY}
    for name, text in files.items():
        (folder / f"{name}.prototxt").write_text(text)
    monkeypatch.setattr(models, "_registered", list(models._registered))
    model = Model(
        "toy", "Toy of averages", folder=folder, features="toy/fc",
        remarks={"accuracy": "sees 8x8 squares"},
    )  # fmt: skip
    models.register(model)
    return model


def test_from_training_to_the_report(toy, tmp_path):
    index = tiny.write_database(tmp_path / "faces")
    settings = runs.Settings(net="toy", classes="7", max_iter=4, index=index, copies=0)
    run = cross_validation.train(settings, [0], "typed", tmp_path / "run")
    tested = of_runs.evaluate(run)
    assert tested.features.shape == (len(tested.predictions.labels), 5)
    assert tested.generated is None and tested.pictures is None
    text = table_forms.as_text(tables.of([tested]))
    assert "Toy of averages" in text and "Toy of averages: sees 8x8 squares" in text
    assert "Toy of averages" in (run.folder / "report.html").read_text()


def test_a_name_is_one_models(toy):
    with pytest.raises(ValueError, match="toy is registered already"):
        models.register(toy)


def test_a_model_that_nobody_registered_is_told(tmp_path):
    settings = runs.Settings(net="s9r9", classes="7", index=tmp_path / "index.csv")
    with pytest.raises(InputError, match="no model 's9r9'; there are cnn, mlcnn, s0r0"):
        runs.complete(settings)
