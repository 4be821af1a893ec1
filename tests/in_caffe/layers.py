"""MaxUnpool and NormalizedDistance in both engines: values, gradients, messages."""

import os
import subprocess
import sys
import tempfile

import caffe
import numpy as np

SEED = int(os.environ["TEST_SEED"])
print("seed", SEED, file=sys.stderr)

UNPOOL_NET = """
force_backward: true
layer {{ name: "values"  type: "Input"  top: "values"  input_param {{ shape {{ {shape} }} }} }}
layer {{ name: "mask"  type: "Input"  top: "mask"  input_param {{ shape {{ {mask_shape} }} }} }}
layer {{
  name: "some/unpool"  type: "Python"  bottom: "values"  bottom: "mask"  top: "unpooled"
  python_param {{ module: "gcnet_layers"  layer: "MaxUnpool"  param_str: '{param_str}' }}
}}
"""

DISTANCE_NET = """
force_backward: true
layer {{ name: "f"  type: "Input"  top: "f"  input_param {{ shape {{ {shape} }} }} }}
layer {{ name: "r"  type: "Input"  top: "r"  input_param {{ shape {{ {reference_shape} }} }} }}
layer {{
  name: "some/delta"  type: "Python"  bottom: "f"  bottom: "r"  top: "delta"
  python_param {{ module: "gcnet_layers"  layer: "NormalizedDistance"  param_str: '{param_str}' }}
}}
"""


def dims(*sizes):
    return " ".join("dim: %d" % size for size in sizes)


def net_of(text):
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        return caffe.Net(file.name, caffe.TRAIN)


def unpool_net(shape, param_str='{"name": "some/unpool"}', mask_shape=None):
    return net_of(
        UNPOOL_NET.format(
            shape=dims(*shape), mask_shape=dims(*(mask_shape or shape)), param_str=param_str
        )
    )


def distance_net(shape, reference_shape=None, param_str='{"name": "some/delta"}'):
    return net_of(
        DISTANCE_NET.format(
            shape=dims(*shape),
            reference_shape=dims(*(reference_shape or shape)),
            param_str=param_str,
        )
    )


def numeric_gradient(net, bottom, top, weights, step):
    """d(sum(weights * top)) / d(bottom) by central differences through the net's forward."""
    values = net.blobs[bottom].data
    gradient = np.zeros(values.shape)
    for place in np.ndindex(*values.shape):
        kept = values[place]
        sums = []
        for sign in (1, -1):
            values[place] = kept + sign * step
            net.forward()
            sums.append((weights * net.blobs[top].data.astype(np.float64)).sum())
        values[place] = kept
        gradient[place] = (sums[0] - sums[1]) / (2 * step)
    net.forward()
    return gradient


def net_gradient(net, bottoms, top, weights):
    net.forward()
    net.blobs[top].diff[...] = weights
    net.backward()
    return [net.blobs[bottom].diff.copy() for bottom in bottoms]


def test_unpool_undoes_caffes_own_pooling():
    rng = np.random.RandomState(SEED)
    net = net_of(
        """
        layer { name: "x"  type: "Input"  top: "x"  input_param { shape { %s } } }
        layer { name: "pool"  type: "Pooling"  bottom: "x"  top: "pool"  top: "mask"
                pooling_param { pool: MAX  kernel_size: 2  stride: 2 } }
        layer { name: "unpool"  type: "Python"  bottom: "pool"  bottom: "mask"  top: "unpool"
                python_param { module: "gcnet_layers"  layer: "MaxUnpool" } }
        """
        % dims(2, 3, 8, 6)
    )
    x = net.blobs["x"].data
    x[...] = rng.standard_normal(x.shape)
    net.forward()
    expected = np.zeros_like(x)
    for n, c, i, j in np.ndindex(2, 3, 4, 3):
        window = x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        a, b = np.unravel_index(window.argmax(), (2, 2))
        expected[n, c, 2 * i + a, 2 * j + b] = window.max()
    np.testing.assert_array_equal(net.blobs["unpool"].data, expected)


def test_unpool_gradient():
    rng = np.random.RandomState(SEED)
    net = unpool_net((2, 3, 3, 4))
    net.blobs["values"].data[...] = rng.standard_normal((2, 3, 3, 4))
    # Any places, some of them hit twice: overlapping pooling windows do that.
    net.blobs["mask"].data[...] = rng.randint(0, 48, (2, 3, 3, 4))
    weights = rng.standard_normal((2, 3, 6, 8))
    ours = net_gradient(net, ["values"], "unpooled", weights)[0]
    numeric = numeric_gradient(net, "values", "unpooled", weights, 0.5)
    np.testing.assert_allclose(ours, numeric, atol=1e-4)


def test_unpool_to_another_size():
    net = unpool_net((1, 1, 2, 2), '{"height": 3, "width": 5}')
    net.blobs["values"].data[...] = [[[[1, 2], [3, 4]]]]
    net.blobs["mask"].data[...] = [[[[0, 4], [10, 14]]]]
    net.forward()
    assert net.blobs["unpooled"].data.tolist() == [
        [[[1, 0, 0, 0, 2], [0, 0, 0, 0, 0], [3, 0, 0, 0, 4]]]
    ]


def test_unpool_follows_a_new_batch_size():
    net = unpool_net((4, 2, 2, 2))
    for name in ("values", "mask"):
        net.blobs[name].reshape(1, 2, 2, 2)
    net.blobs["values"].data[...] = 1
    net.blobs["mask"].data[...] = [[[[0, 2], [8, 10]]] * 2]
    net.forward()
    assert net.blobs["unpooled"].data.shape == (1, 2, 4, 4)
    assert net.blobs["unpooled"].data.sum() == 8


def test_delta_is_the_papers_equation():
    rng = np.random.RandomState(SEED)
    f, r = np.maximum(rng.standard_normal((2, 5, 40)), 0)
    net = distance_net((5, 40))
    net.blobs["f"].data[...], net.blobs["r"].data[...] = f, r
    net.forward()
    for n in range(5):
        for j in range(40):
            expected = abs(
                f[n, j] / np.sqrt((f[n] ** 2).sum()) - r[n, j] / np.sqrt((r[n] ** 2).sum())
            )
            assert abs(net.blobs["delta"].data[n, j] - expected) < 1e-6


def test_delta_gradient():
    rng = np.random.RandomState(SEED)
    net = distance_net((3, 12))
    while True:
        f, r = rng.uniform(0.5, 2, (2, 3, 12))
        unit_f, unit_r = (x / np.linalg.norm(x, axis=1)[:, None] for x in (f, r))
        # Away from the kink of the absolute value, where central differences mean nothing.
        if np.abs(unit_f - unit_r).min() > 0.01:
            break
    net.blobs["f"].data[...], net.blobs["r"].data[...] = f, r
    weights = rng.standard_normal((3, 12))
    ours = net_gradient(net, ["f", "r"], "delta", weights)
    for bottom, gradient in zip(("f", "r"), ours):
        numeric = numeric_gradient(net, bottom, "delta", weights, 1e-3)
        np.testing.assert_allclose(gradient, numeric, atol=2e-3)
        assert np.abs(numeric).max() > 0.05


def test_delta_of_a_dead_vector():
    net = distance_net((2, 4))
    net.blobs["f"].data[...] = [[0, 0, 0, 0], [0, 0, 0, 0]]
    net.blobs["r"].data[...] = [[0, 0, 0, 0], [3, 0, 4, 0]]
    gradients = net_gradient(net, ["f", "r"], "delta", 1)
    np.testing.assert_allclose(net.blobs["delta"].data, [[0, 0, 0, 0], [0.6, 0, 0.8, 0]], atol=1e-7)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert not gradients[0].any()


BREAK = """
import layers, numpy as np
net = {net}
{fill}
net.forward()
"""


def messages_of(net, fill=""):
    """What a process prints that builds and runs this net; it must die of it."""
    engine = ["-m", "torchcaffe"] if caffe.__name__.startswith("torchcaffe") else []
    ended = subprocess.run(
        [sys.executable] + engine + ["-c", BREAK.format(net=net, fill=fill)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(
            os.environ,
            PYTHONPATH=os.pathsep.join([os.path.dirname(__file__), os.environ["PYTHONPATH"]]),
        ),
    )
    assert ended.returncode != 0, ended.stdout
    return ended.stdout


def assert_told(messages, *parts):
    line = [line for line in messages.splitlines() if line.startswith("error: Python layer")]
    assert len(line) == 1, messages
    assert "Traceback (most recent call last)" in messages
    for part in parts:
        assert part in line[0], (part, line[0])


def test_a_wrong_shape_is_told():
    assert_told(
        messages_of("layers.unpool_net((2, 3, 4, 4), mask_shape=(2, 3, 4, 2))"),
        "some/unpool (MaxUnpool)",
        "2x3x4x4",
        "2x3x4x2",
        "N x C x h x w",
    )
    assert_told(
        messages_of("layers.distance_net((2, 8), (2, 9))"),
        "some/delta (NormalizedDistance)",
        "2x8",
        "2x9",
        "N x C",
    )


def test_a_mask_out_of_range_is_told():
    for wrong in ("16", "-1", "np.nan"):
        assert_told(
            messages_of(
                "layers.unpool_net((1, 1, 2, 2))",
                "net.blobs['mask'].data[0, 0, 1, 1] = " + wrong,
            ),
            "some/unpool",
            "expected 0 to 15",
        )
    assert_told(
        messages_of("layers.unpool_net((1, 1, 2, 2))", "net.blobs['mask'].data[0, 0, 1, 1] = 0.5"),
        "some/unpool",
        "fractional",
    )


def test_a_bad_param_str_is_told():
    for param_str, part in (
        ("{height: 3}", "not JSON"),
        ("[3]", "expected a JSON object"),
        ('{"name": "some/unpool", "heigth": 3}', "heigth"),
        ('{"name": "some/unpool", "height": "3"}', "positive whole number"),
        ('{"name": "some/unpool", "width": 0}', "positive whole number"),
    ):
        net = "layers.unpool_net((1, 1, 2, 2), {!r})".format(param_str)
        assert_told(messages_of(net), part)
