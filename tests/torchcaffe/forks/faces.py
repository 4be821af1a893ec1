"""Face recognition's layers: CenterLoss, MarginInnerProduct."""

import math

import numpy as np

from forks.definition import define

random = np.random.RandomState(3)


def center_loss(inputs, params):
    (x, labels), (centers,) = inputs, params
    x = x.reshape(len(x), -1)
    return [
        np.float64(sum(((a - centers[int(y)]) ** 2).sum() for a, y in zip(x, labels)) / 2 / len(x))
    ]


def centers_step(inputs, params):
    """The paper's change of each centre, which stands in the place of its gradient."""
    (x, labels), (centers,) = inputs, params
    x, step = x.reshape(len(x), -1), np.zeros_like(centers)
    for label, center in enumerate(centers):
        own = x[labels == label]
        step[label] = (center - own).sum(0) / (1 + len(own))
    return step


define(
    "CenterLoss",
    "CenterLoss",
    {"x": random.standard_normal((5, 3, 2)), "label": [0, 3, 1, 0, 0]},
    "center_loss_param { num_output: 4 }",
    center_loss,
    params=[random.standard_normal((4, 6))],
    constant=["label"],
    learned=(centers_step,),
)


def margin_scores(margin, weight_lambda):
    def tops(inputs, params):
        (x, labels), (weight,) = inputs, params
        scores = np.zeros((len(x), len(weight)))
        for i, sample in enumerate(x):
            length = np.sqrt((sample**2).sum())
            for j, row in enumerate(weight):
                cosine = (sample * row).sum() / length / np.sqrt((row**2).sum())
                scores[i, j] = length * cosine
                if j == labels[i] and margin > 1:
                    angle = math.acos(cosine)
                    k = math.floor(margin * angle / math.pi)
                    psi = (-1) ** k * math.cos(margin * angle) - 2 * k
                    scores[i, j] = length * (psi + weight_lambda * cosine) / (1 + weight_lambda)
        return [scores, np.array([weight_lambda])]

    return tops


weight = random.standard_normal((5, 3))
weight /= np.sqrt((weight**2).sum(1, keepdims=True))
# A sample in each part of the angle that a margin of 4 makes, from its label's row on.
away = random.standard_normal((8, 3))
labels = [0, 1, 2, 3, 4, 0, 1, 2]
samples = []
for number, (row, other) in enumerate(zip(weight[labels], away)):
    other = other - (other * row).sum() * row
    angle = (number + 0.5) * math.pi / 8
    samples.append(2 * (math.cos(angle) * row + math.sin(angle) * other / np.linalg.norm(other)))
for margin, margin_type in enumerate(("SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE"), 1):
    define(
        f"MarginInnerProduct {margin_type}",
        "MarginInnerProduct",
        {"x": samples, "label": labels},
        f"margin_inner_product_param {{ num_output: 5  type: {margin_type}  base: 10  gamma: 0.5"
        "  power: 2  iteration: 3 }",
        margin_scores(margin, 10 * 3.0**-2),
        params=[weight],
        constant=["label"],
    )
define(
    "MarginInnerProduct lambda_min",
    "MarginInnerProduct",
    {"x": samples, "label": labels},
    "margin_inner_product_param { num_output: 5  type: DOUBLE  base: 10  gamma: 9  lambda_min: 2 }",
    margin_scores(2, 2),
    params=[weight],
    constant=["label"],
)
