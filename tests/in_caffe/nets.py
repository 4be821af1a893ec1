"""The nets and solvers of prototxt/ as BVLC Caffe builds them, just as they stand.

Runs in a folder that has prototxt/ and LMDBs at data/lmdb/{train,test} and data/webface/.
"""

import glob
import os
import sys

import caffe
import numpy as np
from google.protobuf import text_format

SEED = int(os.environ["TEST_SEED"])
print("seed", SEED, file=sys.stderr)

STAGES = {
    "s0r0": [],
    "s1r0": ["contrastive"],
    "s0r1": ["reconstruction"],
    "s1r1": ["contrastive", "reconstruction"],
}
ENCODER = {
    "conv1": (32, 64),
    "pool1": (32, 32),
    "conv2": (64, 32),
    "pool2": (64, 16),
    "conv3": (96, 16),
    "pool3": (96, 8),
}
DECODER = {
    "unpool3": (96, 16),
    "deconv3": (64, 16),
    "unpool2": (64, 32),
    "deconv2": (32, 32),
    "unpool1": (32, 64),
}
# Table I counted by hand: convolutions without bias, two values a channel for Scale.
ENCODER_PARAMETERS = 5 * 5 * 32 + 3 * 3 * 32 * 64 + 3 * 3 * 64 * 96 + 2 * (32 + 64 + 96)
DECODER_PARAMETERS = 3 * 3 * 96 * 64 + 3 * 3 * 64 * 32 + 5 * 5 * 32 + 2 * (64 + 32 + 1)
CLASSIFIER_PARAMETERS = 6144 * 384 + 384 + 384 * 7 + 7
LAMBDAS = {
    "loss_classification": 1,
    "loss_contrastive": 1,
    "loss_generation": 1 / 64,
    "loss_reconstruction_image": 0.25 / 64,
    "loss_reconstruction_reference": 0.25 / 64,
}


def message(path, kind):
    parsed = getattr(caffe.proto.caffe_pb2, kind)()
    with open(path) as file:
        text_format.Merge(file.read(), parsed)
    return parsed


def train_net(name):
    return caffe.Net(
        message("prototxt/solver_%s.prototxt" % name, "SolverParameter").net,
        caffe.TRAIN,
        stages=STAGES.get(name, []),
    )


def parameters(net):
    """Learned values, BatchNorm's statistics excepted."""
    return sum(
        blob.data.size
        for layer, blobs in net.params.items()
        if "/bn" not in layer
        for blob in blobs
    )


def assert_shapes(net, prefix, table, count):
    for blob, (channels, size) in table.items():
        assert net.blobs[prefix + blob].data.shape == (count, channels, size, size), blob


def test_every_solver_file_makes_a_solver_with_the_papers_values():
    files = sorted(glob.glob("prototxt/solver_*.prototxt"))
    assert len(files) == 8
    for file in files:
        solver = message(file, "SolverParameter")
        assert (solver.type, solver.lr_policy, solver.max_iter) == ("Nesterov", "inv", 300000)
        for value, expected in (
            (solver.base_lr, 0.001),
            (solver.momentum, 0.9),
            (solver.weight_decay, 0.0001),
            (solver.gamma, 0.0001),
            (solver.power, 0.75),
        ):
            assert abs(value - expected) < 1e-7, file
        name = os.path.basename(file)[len("solver_") : -len(".prototxt")]
        assert list(solver.train_state.stage) == STAGES.get(name, []), file
        built = caffe.get_solver(file)
        assert len(built.test_nets) == 1, file
        assert next(iter(built.net.blobs.values())).data.shape[0] == 64, file


def test_every_deploy_net_gives_probabilities():
    for model in ("cnn", "mlcnn", "gcnet"):
        net = caffe.Net("prototxt/deploy_%s.prototxt" % model, caffe.TEST)
        for blob in net.inputs:
            net.blobs[blob].reshape(3, 1, 64, 64)
            net.blobs[blob].data[...] = np.random.RandomState(SEED).rand(3, 1, 64, 64)
        net.forward()
        assert "probabilities" in net.outputs
        probabilities = net.blobs["probabilities"].data
        assert probabilities.shape == (3, 7)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert net.blobs["generated"].data.shape == (3, 1, 64, 64)
    assert not [layer for layer in net._layer_names if layer.startswith("decoder2")]


def test_deploy_nets_take_all_their_weights_from_the_training_nets():
    for model, trained in (("cnn", "cnn"), ("mlcnn", "mlcnn"), ("gcnet", "s1r1")):
        net = train_net(trained)
        deploy = caffe.Net(
            "prototxt/deploy_%s.prototxt" % model,
            caffe.TEST,
            stages=["reconstruction"] if model == "gcnet" else [],
        )
        assert set(deploy.params) == set(net.params)
        for layer, blobs in deploy.params.items():
            shapes = [blob.data.shape for blob in blobs]
            assert shapes == [blob.data.shape for blob in net.params[layer]], layer


def test_table_1_shapes():
    net = train_net("s1r1")
    assert_shapes(net, "encoder1/", ENCODER, 64)
    assert_shapes(net, "encoder2/", ENCODER, 128)
    for decoder, top in (
        ("decoder1/", "generated"),
        ("decoder2_image/", "reconstructed_image"),
        ("decoder2_reference/", "reconstructed_reference"),
    ):
        assert_shapes(net, decoder, DECODER, 64)
        assert net.blobs[top].data.shape == (64, 1, 64, 64)
    for blob in ("features", "reference_features", "delta"):
        assert net.blobs[blob].data.shape == (64, 6144), blob
    assert net.blobs["classifier/fc1"].data.shape == (64, 384)


def test_layer_order_of_table_1():
    layers = [layer for layer in train_net("s1r1")._layer_names if not layer.endswith("_split")]
    for encoder in ("encoder1", "encoder2"):
        order = [layer for layer in layers if layer.startswith(encoder + "/")]
        assert order == [
            "%s/%s%d" % (encoder, kind, i)
            for i in (1, 2, 3)
            for kind in ("conv", "bn", "scale", "relu", "pool")
        ]
    for decoder in ("decoder1", "decoder2_image", "decoder2_reference"):
        order = [layer for layer in layers if layer.startswith(decoder + "/")]
        assert order == [
            "%s/%s%d" % (decoder, kind, i)
            for i in (3, 2, 1)
            for kind in ("unpool", "deconv", "bn", "scale", "relu")
        ]


def test_parameter_counts():
    encoder, decoder, classifier = ENCODER_PARAMETERS, DECODER_PARAMETERS, CLASSIFIER_PARAMETERS
    for name, expected in (
        ("cnn", encoder + classifier),
        ("mlcnn", encoder + classifier),
        ("s0r0", 2 * encoder + decoder + classifier),
        ("s1r0", 2 * encoder + decoder + classifier),
        ("s0r1", 2 * encoder + 3 * decoder + classifier),
        ("s1r1", 2 * encoder + 3 * decoder + classifier),
        ("pretrain_autoencoder", encoder + decoder),
        ("pretrain_identity", encoder + 6144 * 384 + 384 + 384 * 10575 + 10575),
    ):
        assert parameters(train_net(name)) == expected, name
    assert round(parameters(train_net("s1r1")) / 1e6, 1) == 2.7


def test_each_model_has_its_losses_and_lambdas():
    for name, losses in (
        ("cnn", ["classification"]),
        ("mlcnn", ["classification", "contrastive"]),
        ("s0r0", ["classification", "generation"]),
        ("s1r0", ["classification", "contrastive", "generation"]),
        (
            "s0r1",
            ["classification", "generation", "reconstruction_image", "reconstruction_reference"],
        ),
        (
            "s1r1",
            [
                "classification",
                "contrastive",
                "generation",
                "reconstruction_image",
                "reconstruction_reference",
            ],
        ),
    ):
        net = train_net(name)
        assert sorted(net.outputs) == sorted("loss_" + loss for loss in losses), name
        for loss in net.outputs:
            assert abs(net.blob_loss_weights[loss] - LAMBDAS[loss]) < 1e-12, (name, loss)


def test_decoders_learn_at_ten_times_the_rate():
    for name, rate in (("gcnet", 10), ("pretrain_autoencoder", 1)):
        seen = 0
        for layer in message("prototxt/%s.prototxt" % name, "NetParameter").layer:
            weights = {"Deconvolution": 1, "Convolution": 1, "Scale": 2, "InnerProduct": 2}
            if layer.type not in weights:
                continue
            expected = rate if layer.name.startswith("decoder") else 1
            rates = [
                layer.param[i].lr_mult if i < len(layer.param) else 1
                for i in range(weights[layer.type])
            ]
            assert rates == [expected] * weights[layer.type], layer.name
            seen += expected == 10
        assert seen == (18 if name == "gcnet" else 0)


def test_encoder_2_is_shared_with_its_statistics():
    net = train_net("s1r1")
    assert [layer for layer in net.params if layer.startswith("encoder2")] == [
        "encoder2/%s%d" % (kind, i) for i in (1, 2, 3) for kind in ("conv", "bn", "scale")
    ]
    # One face as input and as reference gives one feature vector twice, in training too, where
    # BatchNorm normalises by the batch.
    net = train_net("mlcnn")
    net.forward(end="slice_pair")
    net.blobs["reference"].data[...] = net.blobs["image"].data
    net.forward(start="faces", end="delta")
    np.testing.assert_array_equal(net.blobs["features"].data, net.blobs["reference_features"].data)
    assert not net.blobs["delta"].data.any()


def test_decoder_2_is_in_training_only():
    solver = caffe.get_solver("prototxt/solver_s1r1.prototxt")
    test_layers = list(solver.test_nets[0]._layer_names)
    assert not [layer for layer in test_layers if layer.startswith("decoder2")]
    assert [layer for layer in test_layers if layer.startswith("decoder1")]
    # Nothing but losses and the accuracy may be left over: Caffe would print each of its values.
    assert sorted(solver.test_nets[0].outputs) == [
        "accuracy",
        "loss_classification",
        "loss_contrastive",
        "loss_generation",
    ]


def eight_class_net(stages):
    """The net with neutral as an eighth class: the test's LMDB has labels 0 to 7."""
    definition = message("prototxt/gcnet.prototxt", "NetParameter")
    for layer in definition.layer:
        if layer.name == "classifier/fc2":
            layer.inner_product_param.num_output = 8
    with open("eight_classes.prototxt", "w") as file:
        file.write(text_format.MessageToString(definition))
    return caffe.Net("eight_classes.prototxt", caffe.TRAIN, stages=stages)


def test_losses_are_the_papers_equations():
    net = eight_class_net(STAGES["s1r1"])
    total = net.forward()
    get = {name: blob.data.astype(np.float64) for name, blob in net.blobs.items()}
    x, reference, label = get["image"], get["reference"], get["label"].astype(int)
    assert x.shape == reference.shape == (64, 1, 64, 64)
    assert x.min() >= 0 and x.max() < 1
    f, r = get["features"], get["reference_features"]
    delta = np.abs(f / np.linalg.norm(f, axis=1)[:, None] - r / np.linalg.norm(r, axis=1)[:, None])
    np.testing.assert_allclose(get["delta"], delta, atol=1e-6)
    np.testing.assert_allclose(get["scaled_delta"], delta * np.sqrt(6144), atol=1e-4)
    scores = get["classifier/fc2"]
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=1))[:, None]
    distance = np.linalg.norm(delta, axis=1)
    alpha = label != 7
    assert 0 < alpha.sum() < 64
    expected = {
        "loss_classification": -log_probabilities[np.arange(64), label],
        "loss_generation": 0.5 * ((reference - get["generated"]) ** 2).sum(axis=(1, 2, 3)),
        "loss_reconstruction_image": 0.5
        * ((x - get["reconstructed_image"]) ** 2).sum(axis=(1, 2, 3)),
        "loss_reconstruction_reference": 0.5
        * ((reference - get["reconstructed_reference"]) ** 2).sum(axis=(1, 2, 3)),
        "loss_contrastive": np.where(
            alpha, 0.5 * np.maximum(0, 1 - distance) ** 2, 0.5 * distance**2
        ),
    }
    assert sorted(total) == sorted(expected)
    for loss, of_each in expected.items():
        np.testing.assert_allclose(total[loss], of_each.mean(), rtol=1e-4, err_msg=loss)


def test_gradients_reach_the_generator_from_every_loss():
    net = eight_class_net(STAGES["s1r1"])
    net.forward()
    for loss in LAMBDAS:
        for blobs in net.params.values():
            for blob in blobs:
                blob.diff[...] = 0
        for other in LAMBDAS:
            net.blobs[other].diff[...] = LAMBDAS[other] if other == loss else 0
        net.backward()
        reached = {
            name.partition("/")[0]
            for name, blobs in net.params.items()
            if np.abs(blobs[0].diff).max() > 0 and "/bn" not in name
        }
        expected = {"encoder1", "decoder1"}
        if loss != "loss_generation":
            expected |= {"encoder2"}
        expected |= {
            "loss_classification": {"classifier"},
            "loss_reconstruction_image": {"decoder2_image"},
            "loss_reconstruction_reference": {"decoder2_reference"},
        }.get(loss, set())
        if loss == "loss_reconstruction_image":
            # Encoder_2 normalises both faces in one batch, so that even this loss, which is of X
            # alone, reaches the generator through the statistics.
            assert {"encoder2", "decoder2_image"} <= reached, loss
            continue
        assert reached == expected, (loss, reached)
