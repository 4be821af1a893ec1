"""Fast R-CNN's layers: ROIPooling, SmoothL1Loss."""

import math

import numpy as np

from forks.definition import define

random = np.random.RandomState(4)


def roi_pooling(rows, columns, scale):
    def tops(inputs, params):
        x, regions = inputs
        top = np.zeros((len(regions), x.shape[1], rows, columns))
        for number, (image, *corners) in enumerate(regions):
            left, up, right, down = (
                math.copysign(math.floor(abs(each) * scale + 0.5), each) for each in corners
            )
            height, width = max(down - up + 1, 1), max(right - left + 1, 1)
            for i in range(rows):
                for j in range(columns):
                    part = [
                        (y, z)
                        for y in range(x.shape[2])
                        for z in range(x.shape[3])
                        if math.floor(i * height / rows)
                        <= y - up
                        < math.ceil((i + 1) * height / rows)
                        and math.floor(j * width / columns)
                        <= z - left
                        < math.ceil((j + 1) * width / columns)
                    ]
                    if part:
                        values = [x[int(image), :, y, z] for y, z in part]
                        top[number, :, i, j] = np.max(values, 0)
        return [top]

    return tops


define(
    "ROIPooling",
    "ROIPooling",
    {
        "x": random.standard_normal((2, 3, 6, 7)),
        # Whole, small, reversed, over the edge, outside, halves.
        "regions": [
            [0, 0, 0, 12, 10],
            [1, 4, 3, 5, 9],
            [1, 9, 9, 2, 2],
            [0, 8, 6, 30, 40],
            [0, -8, -9, -3, -4],
            [1, 1, 1, 5, 7],
        ],
    },
    "roi_pooling_param { pooled_h: 3  pooled_w: 2  spatial_scale: 0.5 }",
    roi_pooling(3, 2, 0.5),
    constant=["regions"],
)


def smooth_l1(sigma):
    def tops(inputs, params):
        first, second, *weights = inputs
        inner, outer = (*weights, *[np.ones_like(first)] * 2)[:2]
        d = np.abs(inner * (first - second))
        losses = np.where(d < 1 / sigma**2, (sigma * d) ** 2 / 2, d - 1 / (2 * sigma**2))
        return [np.float64((outer * losses).sum() / len(first))]

    return tops


boxes = {"x": 2 * random.standard_normal((3, 4)), "target": random.standard_normal((3, 4))}
weights = {"inside": random.uniform(0, 2, (3, 4)), "outside": random.uniform(0, 2, (3, 4))}
for count in range(3):
    more = dict(list(weights.items())[:count])
    define(
        f"SmoothL1Loss of {2 + count} bottoms",
        "SmoothL1Loss",
        {**boxes, **more},
        "smooth_l1_loss_param { sigma: 1.5 }" if count else "",
        smooth_l1(1.5 if count else 1),
        constant=list(more),
    )
