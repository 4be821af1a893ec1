"""A generator and a discriminator of a few weights, as prototxt and in numpy."""

import os

import numpy as np
import toy_order

from torchcaffe.schema.caffe_pb2 import NetParameter

BATCH = toy_order.BATCH
MAX_ITER = 30

NETS = {
    "discriminator": """
        layer { name: "real" type: "Input" top: "real" input_param { shape { dim: 8 dim: 3 } } }
        layer { name: "fake" type: "Input" top: "fake" input_param { shape { dim: 8 dim: 3 } } }
        layer { name: "labels" type: "DummyData" top: "one" top: "zero" dummy_data_param {
            shape { dim: 8 dim: 1 } data_filler { value: 1 } data_filler { value: 0 } } }
        layer { name: "dis/fc1" type: "InnerProduct" bottom: "real" top: "real1"
            param { name: "w1" } param { name: "b1" } inner_product_param { num_output: 4 } }
        layer { name: "dis/tanh" type: "TanH" bottom: "real1" top: "real1" }
        layer { name: "dis/fc2" type: "InnerProduct" bottom: "real1" top: "real2"
            param { name: "w2" } param { name: "b2" } inner_product_param { num_output: 1 } }
        layer { name: "dis_fake/fc1" type: "InnerProduct" bottom: "fake" top: "fake1"
            param { name: "w1" } param { name: "b1" } inner_product_param { num_output: 4 } }
        layer { name: "dis_fake/tanh" type: "TanH" bottom: "fake1" top: "fake1" }
        layer { name: "dis_fake/fc2" type: "InnerProduct" bottom: "fake1" top: "fake2"
            param { name: "w2" } param { name: "b2" } inner_product_param { num_output: 1 } }
        layer { name: "loss_real" type: "SigmoidCrossEntropyLoss" bottom: "real2" bottom: "one"
            top: "loss_real" }
        layer { name: "loss_fake" type: "SigmoidCrossEntropyLoss" bottom: "fake2" bottom: "zero"
            top: "loss_fake" }""",
    "generator": """
        layer { name: "z" type: "Input" top: "z" include { phase: TRAIN }
            input_param { shape { dim: 8 dim: 2 } } }
        layer { name: "z" type: "DummyData" top: "z" include { phase: TEST }
            dummy_data_param { shape { dim: 8 dim: 2 } data_filler { value: 1 } } }
        layer { name: "target" type: "Input" top: "target" include { phase: TRAIN }
            input_param { shape { dim: 8 dim: 3 } } }
        layer { name: "target" type: "DummyData" top: "target" include { phase: TEST }
            dummy_data_param { shape { dim: 8 dim: 3 } } }
        layer { name: "gen/fc" type: "InnerProduct" bottom: "z" top: "fake"
            inner_product_param { num_output: 3 } }
        layer { name: "loss_target" type: "EuclideanLoss" bottom: "fake" bottom: "target"
            top: "loss_target" loss_weight: 0.5 }
        layer { name: "dis/fc1" type: "InnerProduct" bottom: "fake" top: "fake1"
            include { phase: TRAIN } param { lr_mult: 0 decay_mult: 0 }
            param { lr_mult: 0 decay_mult: 0 } inner_product_param { num_output: 4 } }
        layer { name: "dis/tanh" type: "TanH" bottom: "fake1" top: "fake1"
            include { phase: TRAIN } }
        layer { name: "dis/fc2" type: "InnerProduct" bottom: "fake1" top: "fake2"
            include { phase: TRAIN } param { lr_mult: 0 decay_mult: 0 }
            param { lr_mult: 0 decay_mult: 0 } inner_product_param { num_output: 1 } }
        layer { name: "one" type: "DummyData" top: "one" include { phase: TRAIN }
            dummy_data_param { shape { dim: 8 dim: 1 } data_filler { value: 1 } } }
        layer { name: "loss_adversarial" type: "SigmoidCrossEntropyLoss" bottom: "fake2"
            bottom: "one" top: "loss_adversarial" include { phase: TRAIN } }""",
}

SOLVERS = {
    "discriminator": """
        type: "Adam"  base_lr: 0.05  momentum: 0.5  momentum2: 0.999  delta: 1e-8
        lr_policy: "fixed" """,
    "generator": """
        type: "SGD"  base_lr: 0.1  momentum: 0.9  weight_decay: 0.01
        lr_policy: "step"  gamma: 0.5  stepsize: 20
        test_iter: 3  test_interval: 10""",
}


def write(folder, edit=lambda name, text: text, snapshot=10):
    """Write nets, solvers and start.caffemodel into a new folder; returns {solver: its file}."""
    folder.mkdir(parents=True)
    files = {}
    for name, net in NETS.items():
        path = folder / f"net_{name}.prototxt"
        path.write_text(edit(path.name, net))
        solver = (
            f'net: "{path}"  {SOLVERS[name]}  max_iter: {MAX_ITER}  display: 5\n'
            f'snapshot: {snapshot}  snapshot_prefix: "{folder}/snapshot"'
        )
        files[name] = folder / f"solver_{name}.prototxt"
        files[name].write_text(edit(files[name].name, solver))
    start = NetParameter()
    for layer, blobs in first_weights().items():
        stored = start.layer.add(name=layer, type="InnerProduct")
        for values in blobs:
            stored.blobs.add(data=values.ravel()).shape.dim.extend(values.shape)
    (folder / "start.caffemodel").write_bytes(start.SerializeToString())
    return files


def first_weights():
    """{layer: [weights, bias]} that a training starts from."""
    random = np.random.default_rng(int(os.environ["TEST_SEED"]))
    shapes = {"gen/fc": (3, 2), "dis/fc1": (4, 3), "dis/fc2": (1, 4)}
    return {
        layer: [random.normal(0, 0.5, shape), random.normal(0, 0.5, shape[0])]
        for layer, shape in shapes.items()
    }


def read_weights(path):
    """{layer: [weights, bias]} of a .caffemodel."""
    net = NetParameter.FromString(path.read_bytes())
    return {
        layer.name: [np.array(blob.data).reshape(tuple(blob.shape.dim)) for blob in layer.blobs]
        for layer in net.layer
        if layer.blobs
    }


class InNumpy:
    """The pair trained in float64, with the steps of the generator given.

    weights   as of first_weights
    losses    for each iteration {output: value}
    """

    def __init__(self, steps):
        self.weights = first_weights()
        self.losses = []
        self._adam = {layer: [[0.0, 0.0], [0.0, 0.0]] for layer in ("dis/fc1", "dis/fc2")}
        self._momentum = [0.0, 0.0]
        self._updates = {"discriminator": 0, "generator": 0}
        self.distances = {}
        for iteration, count in enumerate(steps):
            self._iterate(toy_order.draws(iteration), iteration, count)
        self._test(len(steps))

    def _iterate(self, drawn, iteration, count):
        self._test(iteration)
        fake = self._generated(drawn["z"])
        loss_real, real, _ = self._discriminated(drawn["real"], 1)
        loss_fake, of_fake, _ = self._discriminated(fake, 0)
        for layer, gradients in real.items():
            for place, gradient in enumerate(of_fake[layer]):
                gradients[place] = gradients[place] + gradient
        self._update_discriminator(real)
        for _ in range(count):
            fake = self._generated(drawn["z"])
            loss_adversarial, _, gradient = self._discriminated(fake, 1)
            difference = fake - drawn["target"]
            gradient = gradient + 0.5 * difference / BATCH
            self._update_generator([gradient.T @ drawn["z"], gradient.sum(0)])
        self.losses.append(
            {
                "loss_real": loss_real,
                "loss_fake": loss_fake,
                "loss_target": 0.5 * (difference**2).sum() / (2 * BATCH),
                "loss_adversarial": loss_adversarial,
            }
        )

    def _test(self, iteration):
        self.distances[iteration] = (self._generated(np.ones((1, 2))) ** 2).sum() / 2

    def _generated(self, z):
        weights, bias = self.weights["gen/fc"]
        return z @ weights.T + bias

    def _discriminated(self, x, label):
        """(loss, its gradients by the weights {layer: [weights, bias]}, that by x)."""
        (w1, b1), (w2, b2) = self.weights["dis/fc1"], self.weights["dis/fc2"]
        hidden = np.tanh(x @ w1.T + b1)
        score = hidden @ w2.T + b2
        loss = np.mean(np.log1p(np.exp(score)) - label * score)
        by_score = (1 / (1 + np.exp(-score)) - label) / BATCH
        by_hidden = by_score @ w2 * (1 - hidden**2)
        gradients = {
            "dis/fc1": [by_hidden.T @ x, by_hidden.sum(0)],
            "dis/fc2": [by_score.T @ hidden, by_score.sum(0)],
        }
        return loss, gradients, by_hidden @ w1

    def _update_discriminator(self, gradients):
        self._updates["discriminator"] += 1
        t = self._updates["discriminator"]
        correction = np.sqrt(1 - 0.999**t) / (1 - 0.5**t)
        for layer, (first, second) in self._adam.items():
            for place, gradient in enumerate(gradients[layer]):
                first[place] = 0.5 * first[place] + 0.5 * gradient
                second[place] = 0.999 * second[place] + 0.001 * gradient**2
                step = 0.05 * correction * first[place] / (np.sqrt(second[place]) + 1e-8)
                self.weights[layer][place] = self.weights[layer][place] - step

    def _update_generator(self, gradients):
        rate = rate_of_generator(self._updates["generator"])
        self._updates["generator"] += 1
        for place, gradient in enumerate(gradients):
            values = self.weights["gen/fc"][place]
            self._momentum[place] = 0.9 * self._momentum[place] + rate * (gradient + 0.01 * values)
            self.weights["gen/fc"][place] = values - self._momentum[place]


def rate_of_generator(step):
    return 0.1 * 0.5 ** (step // 20)
