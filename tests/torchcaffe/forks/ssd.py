"""SSD's layers: Normalize, Permute, PriorBox, DetectionOutput."""

import math

import numpy as np

from forks.definition import define

random = np.random.RandomState(5)
x = random.standard_normal((2, 3, 2, 4))


def normalize(axes):
    def tops(inputs, params):
        scale = params[0].reshape(1, -1, 1, 1)
        return [inputs[0] / np.sqrt((inputs[0] ** 2).sum(axes, keepdims=True) + 0.1) * scale]

    return tops


for across, axes in (("true", (1, 2, 3)), ("false", (1,))):
    for shared, shape in (("true", ()), ("false", (3,))):
        define(
            f"Normalize across_spatial: {across} channel_shared: {shared}",
            "Normalize",
            {"x": x},
            f"norm_param {{ across_spatial: {across}  channel_shared: {shared}  eps: 0.1"
            '  scale_filler { type: "constant"  value: 20 } }',
            normalize(axes),
            params=[random.standard_normal(shape)],
        )

for order, fields in (
    ((0, 2, 3, 1), "order: 0 order: 2 order: 3 order: 1"),
    ((2, 0, 1, 3), "order: 2"),
):
    define(
        f"Permute {fields}",
        "Permute",
        {"x": x},
        f"permute_param {{ {fields} }}",
        lambda inputs, params, order=order: [inputs[0].transpose(order)],
    )


def prior_boxes(sizes, step, variances, clip=False, offset=0.5, image=(40, 60)):
    """`sizes` [(width, height)] in pixels, at the places of a 2 x 3 map."""

    def tops(inputs, params):
        boxes, height, width = [], *image
        for row in range(2):
            for column in range(3):
                for w, h in sizes:
                    y, z = (row + offset) * step[0], (column + offset) * step[1]
                    box = [
                        (z - w / 2) / width,
                        (y - h / 2) / height,
                        (z + w / 2) / width,
                        (y + h / 2) / height,
                    ]
                    boxes += [min(max(each, 0), 1) if clip else each for each in box]
        return [np.array([[boxes, variances * (len(boxes) // 4)]])]

    return tops


WIDE, TALL = (10 * math.sqrt(2), 10 / math.sqrt(2)), (10 / math.sqrt(2), 10 * math.sqrt(2))
for fields, tops in (
    ("min_size: 10", prior_boxes([(10, 10)], (20, 20), [0.1] * 4)),
    (
        "min_size: 10  max_size: 20  aspect_ratio: 2  aspect_ratio: 1  clip: true  variance: 0.2",
        prior_boxes([(10, 10), (math.sqrt(200),) * 2, WIDE, TALL], (20, 20), [0.2] * 4, clip=True),
    ),
    (
        "min_size: 10  min_size: 4  aspect_ratio: 2  flip: false  step: 16  offset: 0.25"
        "  variance: 0.1  variance: 0.2  variance: 0.3  variance: 0.4  img_h: 30  img_w: 50",
        prior_boxes(
            [(10, 10), WIDE, (4, 4), (4 * math.sqrt(2), 4 / math.sqrt(2))],
            (16, 16), [0.1, 0.2, 0.3, 0.4], offset=0.25, image=(30, 50),
        ),
    ),
):  # fmt: skip
    define(
        f"PriorBox {fields}",
        "PriorBox",
        {"map": np.zeros((2, 4, 2, 3)), "image": np.zeros((2, 3, 40, 60))},
        f"prior_box_param {{ {fields} }}",
        tops,
        gradients=False,
    )


# ---- DetectionOutput


def decoded(code, box, variance, offset):
    offset = offset * variance
    width, height = box[2] - box[0], box[3] - box[1]
    if code == "CORNER":
        return box + offset
    if code == "CORNER_SIZE":
        return box + offset * [width, height, width, height]
    x = (box[0] + box[2]) / 2 + offset[0] * width
    y = (box[1] + box[3]) / 2 + offset[1] * height
    width, height = width * math.exp(offset[2]), height * math.exp(offset[3])
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def overlap(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def detections(code, *, least, top_k, threshold, eta=1, keep=-1, shared=True):
    """Of 3 classes. Unless boxes are `shared` by classes their offsets contain the variances."""
    classes = 3

    def tops(inputs, params):
        offsets, scores, prior = inputs
        boxes, variances = prior.reshape(2, -1, 4)
        count = len(boxes)
        offsets = offsets.reshape(len(offsets), count, 1 if shared else classes, 4)
        scores = scores.reshape(len(scores), count, classes)
        rows = []
        for image in range(len(scores)):
            found = []
            for label in range(1, classes):
                places = [p for p in range(count) if scores[image, p, label] > least]
                places = sorted(places, key=lambda p: -scores[image, p, label])[:top_k]
                limit, kept = threshold, []
                for p in places:
                    one = variances[p] if shared else np.ones(4)
                    box = decoded(code, boxes[p], one, offsets[image, p, 0 if shared else label])
                    if all(overlap(box, other) <= limit for _, other in kept):
                        kept.append((p, box))
                        limit *= eta if limit > 0.5 else 1
                found += [[image, label, scores[image, p, label], *box] for p, box in kept]
            if 0 <= keep < len(found):
                least_kept = sorted((row[2] for row in found), reverse=True)[keep - 1]
                found = [row for row in found if row[2] >= least_kept]
            rows += found
        rows = rows or [[image, *[-1] * 6] for image in range(len(scores))]
        return [np.array(rows, np.float64).reshape(1, 1, -1, 7)]

    return tops


corners = random.uniform(0, 1, (12, 2, 2))
corners.sort(1)
prior = np.stack([corners.reshape(-1), random.uniform(0.1, 0.3, 48)])[None]
NMS = "nms_param { nms_threshold: 0.3  top_k: 8 }"
for code in ("CORNER", "CENTER_SIZE", "CORNER_SIZE"):
    define(
        f"DetectionOutput {code}",
        "DetectionOutput",
        {
            "loc": 0.3 * random.standard_normal((2, 48)),
            "conf": random.uniform(0, 1, (2, 36)),
            "prior": prior,
        },
        f"detection_output_param {{ num_classes: 3  code_type: {code}  {NMS}  keep_top_k: 5"
        "  confidence_threshold: 0.2 }",
        detections(code, least=0.2, top_k=8, threshold=0.3, keep=5),
        gradients=False,
    )
define(
    "DetectionOutput of boxes for each class",
    "DetectionOutput",
    {
        "loc": 0.1 * random.standard_normal((1, 144)),
        "conf": random.uniform(0, 1, (1, 36)),
        "prior": prior,
    },
    "detection_output_param { num_classes: 3  share_location: false  code_type: CORNER"
    "  variance_encoded_in_target: true  nms_param { nms_threshold: 0.7  eta: 0.8 }"
    '  save_output_param { label_map_file: "labels.prototxt" } }',
    detections("CORNER", least=-1, top_k=None, threshold=0.7, eta=0.8, shared=False),
    gradients=False,
)
define(
    "DetectionOutput without any",
    "DetectionOutput",
    {"loc": np.zeros((2, 48)), "conf": np.zeros((2, 36)), "prior": prior},
    f"detection_output_param {{ num_classes: 3  {NMS}  confidence_threshold: 0.5 }}",
    detections("CORNER", least=0.5, top_k=8, threshold=0.3),
    gradients=False,
)
