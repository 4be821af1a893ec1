"""The solvers of prototxt/short/, for trainings of minutes, beside the paper's."""

import pytest
from conftest import REPOSITORY

from gcnet import sources
from gcnet.methods.gcnet.models import MODELS
from torchcaffe import graph
from torchcaffe.schema import caffe_pb2, read

PAPER, SHORT = REPOSITORY / "prototxt", REPOSITORY / "prototxt" / "short"


def generation_weights(net, state):
    """The loss weights of generation in the net's training with a solver's train_state."""
    net = caffe_pb2.NetParameter.FromString(net.SerializeToString())
    net.state.MergeFrom(state)
    net.state.phase = caffe_pb2.TRAIN
    kept, _ = graph.filtered(net)
    return [layer.loss_weight[0] for layer in kept.layer if list(layer.top) == ["loss_generation"]]


@pytest.mark.parametrize("name", [model.name for model in MODELS])
def test_a_short_training_is_of_the_papers_net_with_the_papers_losses(name):
    paths = [sources.source_paths(name, folder) for folder in (PAPER, SHORT)]
    assert {key: paths[0][key] for key in ("net", "deploy")} == {
        key: paths[1][key] for key in ("net", "deploy")
    }
    paper, short = (read.solver(each["solver"]) for each in paths)
    stages = [set(solver.train_state.stage) for solver in (paper, short)]
    assert stages[1] - stages[0] <= {"short"} and stages[0] <= stages[1]
    assert list(paper.test_state) == list(short.test_state)
    assert (short.type, short.lr_policy, short.power) == ("Adam", "poly", 1)
    assert "Not the paper's" in paths[1]["solver"].read_text().splitlines()[0]
    net = read.net(paths[0]["net"])
    weights = [generation_weights(net, solver.train_state) for solver in (paper, short)]
    assert weights in ([[], []], [[1 / 64], [16 / 64]])
