"""What the hand-written files of prototxt/ repeat is the same everywhere."""

import pytest
from conftest import REPOSITORY

from torchcaffe.schema import caffe_pb2, read

FOLDER = REPOSITORY / "prototxt"
ENCODER = [f"{kind}{i}" for i in (1, 2, 3) for kind in ("conv", "bn", "scale", "relu", "pool")]
DECODER = [f"{kind}{i}" for i in (3, 2, 1) for kind in ("unpool", "deconv", "bn", "scale", "relu")]


def layers(name):
    """{(layer's name, its phase or None): LayerParameter} of a net of prototxt/."""
    found = {}
    for layer in read.net(FOLDER / f"{name}.prototxt").layer:
        (phase,) = {rule.phase for rule in layer.include if rule.HasField("phase")} or {None}
        assert (layer.name, phase) not in found
        found[layer.name, phase] = layer
    return found


def without(layer, *fields):
    """A copy without the fields at these dotted paths."""
    copy = caffe_pb2.LayerParameter()
    copy.CopyFrom(layer)
    for path in fields:
        *outer, last = path.split(".")
        message = copy
        for name in outer:
            message = getattr(message, name)
        message.ClearField(last)
    # A message that nothing is left in was not asked for by reading it above.
    for field, value in copy.ListFields():
        if field.message_type and not field.is_repeated and not value.ListFields():
            copy.ClearField(field.name)
    return copy


def for_use(layer):
    """Without what acts in training only: fillers, rates, BatchNorm's averaging."""
    return without(
        layer, "param", "batch_norm_param.moving_average_fraction",
        "convolution_param.weight_filler", "inner_product_param.weight_filler",
        "scale_param.filler", "scale_param.bias_filler",
    )  # fmt: skip


def block(net, prefix, own_names, *left_out):
    """{short name: text} of a block's layers, in which `own_names` give way to common ones."""
    texts = {}
    for (name, _), layer in layers(net).items():
        if name.startswith(f"{prefix}/"):
            layer = without(layer, "include", *left_out)
            # Some nets leave the pooling masks out.
            layer.top[:] = [top for top in layer.top if "/mask" not in top]
            text = str(layer)
            for own, common in own_names.items():
                text = text.replace(f'"{own}"', f'"{common}"')
            texts[name.partition("/")[2]] = text.replace(f'"{prefix}/', '"').replace(
                f'\\"{prefix}/', '\\"'
            )
    return texts


@pytest.mark.parametrize("net", ["cnn", "mlcnn", "gcnet"])
def test_a_deploy_net_has_the_layers_of_its_training_net_and_no_others(net):
    trained, deploy = layers(net), layers(f"deploy_{net}")
    own = {name for name, _ in deploy} - {name for name, _ in trained}
    assert own <= {"image", "reference", "probabilities"}
    for key in deploy.keys() & trained.keys():
        assert for_use(deploy[key]) == for_use(trained[key]), key
    of_training = {
        "data", "slice_pair", "silence_reference", "zeros", "is_neutral", "is_neutral_or_not",
        "accuracy",
    }  # fmt: skip
    for name, _ in trained.keys() - deploy.keys():
        assert name in of_training or name.startswith("loss_")


@pytest.mark.parametrize("one, other, least", [("cnn", "mlcnn", 10), ("mlcnn", "gcnet", 19)])
def test_nets_share_data_classifier_and_contrastive_loss(one, other, least):
    """All but what is classified, and the stage that a layer is of."""
    one, other = layers(one), layers(other)
    shared = [key for key in one if key in other and not key[0].startswith("encoder2/")]
    assert len(shared) >= least
    for name, phase in shared:
        own = ["bottom"] if name in ("faces", "features", "classifier/dropout") else []
        own += ["include"] if phase is None else []
        assert without(one[name, phase], *own) == without(other[name, phase], *own), name


@pytest.mark.parametrize(
    "net, encoder",
    [("gcnet", "encoder2"), ("cnn", "encoder2"), ("mlcnn", "encoder2"),
     ("pretrain_autoencoder", "encoder1"), ("pretrain_identity", "encoder2")],
)  # fmt: skip
def test_all_encoders_are_one_encoder(net, encoder):
    expected = block("gcnet", "encoder1", {})
    assert list(expected) == ENCODER
    assert block(net, encoder, {"faces": "image"}) == expected


DECODED = {
    ("gcnet", "decoder1"): ("encoder1/pool3", "encoder1/mask", "generated"),
    ("gcnet", "decoder2_image"): ("encoder2/image", "encoder2/image_mask", "reconstructed_image"),
    ("gcnet", "decoder2_reference"): (
        "encoder2/reference", "encoder2/reference_mask", "reconstructed_reference"
    ),
    ("pretrain_autoencoder", "decoder"): ("encoder1/pool3", "encoder1/mask", "reconstructed"),
}  # fmt: skip
"""(net, decoder) -> the features and masks that it reads, and the face that it makes."""


def decoder(net, name, *left_out):
    features, mask, face = DECODED[net, name]
    masks = {f"{mask}{i}": f"mask{i}" for i in (1, 2, 3)}
    return block(net, name, {features: "features", face: "face", **masks}, *left_out)


@pytest.mark.parametrize("net, name", DECODED)
def test_all_decoders_are_one_decoder(net, name):
    # The paper raises the decoders' rate "during fine-tuning" only.
    own = ["param"] if net == "pretrain_autoencoder" else []
    found = decoder(net, name, *own)
    assert list(found) == DECODER
    assert found == decoder("gcnet", "decoder1", *own)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.prototxt")), ids=lambda path: path.stem)
def test_lines_are_no_longer_than_100(path):
    long = [i for i, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 100]
    assert not long
