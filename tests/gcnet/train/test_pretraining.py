"""Pre-training of the encoders, and folds that start from them."""

import json
import subprocess
import sys
import time

import pytest
import tiny

from data_prep.lmdbs import places
from gcnet.train import encoders
from gcnet.train.trained_folder import TrainedFolder
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, sha256
from torchcaffe.schema.caffe_pb2 import NetParameter

BLOBS = 18  # of an encoder: 3 times a convolution's weights, 3 of BatchNorm, 2 of Scale


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return tiny.write_database(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    return tiny.write_prototxt(
        tmp_path_factory.mktemp("nets") / "prototxt",
        "pretrain_autoencoder", "pretrain_identity", "gcnet", "cnn",
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("surroundings")
        patch.setattr(places, "LMDBS", folder / "lmdbs")
        patch.setenv("GCNET_FOLDS", str(folder / "lmdbs"))  # of the command
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


def blobs(path):
    """{layer: [values of each blob]} of a .caffemodel."""
    net = NetParameter.FromString(path.read_bytes())
    return {layer.name: [list(blob.data) for blob in layer.blobs] for layer in net.layer}


def pretrain(part, index, output, nets, **changes):
    command, work = changes.pop("command", "typed"), nets.parent / "runs"
    settings = {"max_iter": 3, "prototxt": nets, **changes}
    settings = encoders.Settings(part=part, index=index, **settings)
    return encoders.pretrain(settings, command, output, work)


@pytest.fixture(scope="module")
def weights(index, nets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return [pretrain(part, index, folder, nets) for part in encoders.PARTS]


def test_weights_are_the_encoder_of_the_trained_net_and_say_where_they_come_from(weights):
    for path, part, encoder, loss in zip(
        weights, ("autoencoder", "identity"), ("encoder1", "encoder2"),
        ("loss_reconstruction", "loss_identification"), strict=True,
    ):  # fmt: skip
        assert path.name == f"{encoder}.caffemodel"
        description = json.loads(path.with_suffix(".json").read_text())
        assert description["sha256"] == sha256(path)
        assert description["data"] == {
            "train": 77, "test": 11, "identities": 11, "left_out": 0
        }  # fmt: skip
        assert description["command"] == "typed" and description["settings"]["seed"] == 1
        assert description["settings"]["part"] == part
        assert description["result"]["train"][loss] > 0 and description["result"]["test"][loss] > 0
        trained = TrainedFolder(ROOT / description["run"], 3).final_caffemodel
        kept, whole = blobs(path), blobs(trained)
        own = {name for name in whole if name.startswith(f"{encoder}/") and whole[name]}
        assert set(kept) == own
        assert all(kept[name] == whole[name] for name in kept)
        assert sum(map(len, kept.values())) == BLOBS


def test_folds_start_from_both_and_say_how_many_blobs_they_took(
    weights, index, nets, tmp_path, capsys
):
    run = tiny.train(tmp_path / "run", index, "s1r1", nets, weights=weights, max_iter=1)
    said = capsys.readouterr().out
    for path in weights:
        assert f"fold 0: {BLOBS} blobs taken from {path}" in said
    assert run.is_finished(0) and len(run.settings.weights) == 2
    with pytest.raises(InputError, match="encoder1.caffemodel: has no layer of this net"):
        tiny.train(tmp_path / "cnn", index, "cnn", nets, weights=weights)


def test_a_second_call_leaves_them_and_other_settings_are_refused(weights, index, nets, capsys):
    folder = weights[1].parent
    before = weights[1].with_suffix(".json").read_bytes()
    assert pretrain("identity", index, folder, nets) == weights[1]
    assert "made before" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"other settings \(max_iter 3, now 4\)"):
        pretrain("identity", index, folder, nets, max_iter=4)
    assert weights[1].with_suffix(".json").read_bytes() == before


def test_weights_that_are_not_those_of_the_description_are_told(weights, index, nets, tmp_path):
    for path in weights[0], weights[0].with_suffix(".json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with open(tmp_path / weights[0].name, "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="encoder1.json: is of another file"):
        pretrain("autoencoder", index, tmp_path, nets)


def test_a_stopped_pre_training_goes_on_and_keeps_its_first_command(index, nets, tmp_path):
    command = [
        sys.executable, ROOT / "python" / "pretrain.py", "identity", "--index", index,
        "-o", tmp_path / "weights", "--runs", tmp_path / "runs", "--prototxt", nets,
        "--max-iter", "40",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("runs/*/snapshot_iter_*.solverstate")):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.terminate()
    assert process.wait() != 0 and not (tmp_path / "weights").exists()
    done = subprocess.run([*command, "--seed", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "identity: resumes at iteration" in done.stdout
    description = json.loads((tmp_path / "weights" / "encoder2.json").read_text())
    assert description["command"].endswith("--max-iter 40"), "of the call that started it"


def test_a_truncated_training_and_weights_of_unknown_origin_are_told(
    weights, index, nets, tmp_path
):
    description = json.loads(weights[1].with_suffix(".json").read_text())
    model = TrainedFolder(ROOT / description["run"], 3).final_caffemodel
    content = model.read_bytes()
    model.write_bytes(content[:-9])
    try:
        with pytest.raises(InputError, match=f"{model.name}: is not what the training ended with"):
            pretrain("identity", index, tmp_path, nets)
    finally:
        model.write_bytes(content)
    (tmp_path / "encoder2.caffemodel").write_bytes(b"somebody's own")
    with pytest.raises(InputError, match="is there without encoder2.json"):
        pretrain("identity", index, tmp_path, nets)
    assert (tmp_path / "encoder2.caffemodel").read_bytes() == b"somebody's own"


def test_people_with_one_image_each_are_told(index, nets, tmp_path):
    lines = index.read_text().splitlines()
    neutral = [line for line in lines[1:] if ",neutral," in line]
    alone = index.parent / "alone.csv"
    alone.write_text("\n".join([lines[0], *neutral]) + "\n")
    with pytest.raises(InputError, match="none of its 11 subjects has 2 images"):
        pretrain("identity", alone, tmp_path, nets)
    assert not list(tmp_path.iterdir())
