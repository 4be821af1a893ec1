"""Layers of SSD's fork: Normalize, Permute, PriorBox, DetectionOutput. Liu et al., SSD, 2016."""

import math

import torch

from torchcaffe.blob import by
from torchcaffe.forks.without_gradient import WithoutGradient
from torchcaffe.layers.base import ComputedLayer, Layer, layer
from torchcaffe.schema import caffe_pb2


@layer("Normalize")
class Normalize(ComputedLayer):
    """x / sqrt(sum of squares + eps) * scale, over channels at each place, or all of a sample.

    `across_spatial`, which is on unless given, takes the sum over channels and places.
    params[0]: the scale, one value with `channel_shared` (on unless given, shape ()), else one for
    each channel, (channels,); 1 without scale_filler. Liu et al., ParseNet, 2015.
    """

    def setup(self, shapes):
        given = self.parameter.norm_param
        (shape,) = shapes
        self.check(len(shape) >= 2, f"its bottom has {len(shape)} axes, expected at least 2")
        filler = caffe_pb2.FillerParameter(value=1)
        if given.HasField("scale_filler"):
            filler = given.scale_filler
        self.add_parameter(() if given.channel_shared else (shape[1],), filler)

    def reshape(self, shapes):
        (shape,) = shapes
        scale = self.params[0].shape
        channels = shape[1] if len(shape) > 1 else None
        self.check(
            len(scale) == 0 or channels == scale[0],
            f"its bottom has {channels} channels, expected {scale[0] if scale else 'some'}",
        )
        return [shape]

    def compute(self, bottoms, params):
        given = self.parameter.norm_param
        (x,) = bottoms
        axes = list(range(1, x.dim())) if given.across_spatial else [1]
        length = (x.square().sum(axes, keepdim=True) + given.eps).sqrt()
        return x / length * params[0].reshape(1, -1, *[1] * (x.dim() - 2))


@layer("Permute")
class Permute(ComputedLayer):
    """The bottom with its axes in another order: the top's k-th is the bottom's `order[k]`.

    Axes that `order` leaves out follow in their own order.
    """

    def reshape(self, shapes):
        (shape,) = shapes
        order = list(self.parameter.permute_param.order)
        for axis in order:
            self.check(axis < len(shape), f"has order {axis} for a bottom of {len(shape)} axes")
            self.check(order.count(axis) == 1, f"has order {axis} twice")
        self._order = order + [axis for axis in range(len(shape)) if axis not in order]
        return [tuple(shape[axis] for axis in self._order)]

    def compute(self, bottoms, params):
        return bottoms[0].permute(self._order).contiguous()


@layer("PriorBox")
class PriorBox(WithoutGradient, Layer):
    """The default boxes at all places of a feature map (first bottom) of an image (second).

    Top: 1 x 2 x (4 boxes): xmin, ymin, xmax, ymax in parts of the image, and their variances (one
    `variance` for all, or four; 0.1). At each place, row by row, for each min_size: a square of it;
    one of sqrt(min_size max_size), where there is a max_size; and for each aspect_ratio a but 1
    (with `flip` also 1 / a, on unless given) one of min_size sqrt(a) x min_size / sqrt(a). Its
    centre is (column + offset, row + offset) times `step`, which is the image's size over the map's
    unless given. `clip` keeps boxes within the image. Its bottoms' gradient is 0.
    """

    bottoms = (2, 2)
    ignored_by_force_backward = (0, 1)

    def setup(self, shapes):
        given = self.parameter.prior_box_param
        self.check(given.min_size, "has no min_size")
        self.check(
            len(given.max_size) in (0, len(given.min_size)),
            f"has {len(given.max_size)} max_size for {len(given.min_size)} min_size; give one for "
            "each or none",
        )
        self.check(
            all(size > 0 for size in given.min_size)
            and all(most > least for least, most in zip(given.min_size, given.max_size)),
            "its min_size must be above 0, and each max_size above its min_size",
        )
        self.check(
            len(given.variance) in (0, 1, 4) and all(each > 0 for each in given.variance),
            f"has {len(given.variance)} variance; give one or four, above 0",
        )
        self.check(
            all(ratio > 0 for ratio in given.aspect_ratio), "its aspect_ratio must be above 0"
        )
        self._ratios = [1.0]
        for ratio in given.aspect_ratio:
            for each in (ratio, 1 / ratio) if given.flip else (ratio,):
                if all(abs(each - known) >= 1e-6 for known in self._ratios):
                    self._ratios.append(each)
        self._size = self._pair("img_size", "img")
        self._step = self._pair("step", "step")

    def _pair(self, field, prefix):
        """(for rows, for columns), None where not given."""
        given = self.parameter.prior_box_param
        pair = [name for name in (f"{prefix}_h", f"{prefix}_w") if given.HasField(name)]
        self.check(
            len(pair) in (0, 2) and not (pair and given.HasField(field)),
            f"give either {field} or both {prefix}_h and {prefix}_w",
        )
        sizes = tuple(getattr(given, name) for name in pair or (field, field))
        if not pair and not given.HasField(field):
            return None
        self.check(min(sizes) > 0, f"has {field} {by(sizes)}; give more than 0")
        return sizes

    def reshape(self, shapes):
        for shape in shapes:
            self.check(len(shape) == 4, f"its bottom has {len(shape)} axes, expected 4")
        self._map, self._image = (tuple(shape[2:]) for shape in shapes)
        given = self.parameter.prior_box_param
        count = len(given.min_size) * len(self._ratios) + len(given.max_size)
        return [(1, 2, math.prod(self._map) * count * 4)]

    def _boxes(self):
        """[(width, height)] of the boxes at a place, in pixels."""
        given = self.parameter.prior_box_param
        boxes = []
        for place, size in enumerate(given.min_size):
            boxes.append((size, size))
            if given.max_size:
                boxes.append((math.sqrt(size * given.max_size[place]),) * 2)
            boxes += [
                (size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in self._ratios[1:]
            ]
        return boxes

    def forward(self, bottoms, keep):
        given = self.parameter.prior_box_param
        height, width = self._size or self._image
        step = self._step or (height / self._map[0], width / self._map[1])
        rows, columns = (
            (torch.arange(count, dtype=torch.float64) + given.offset) * each
            for count, each in zip(self._map, step)
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        half = torch.tensor(self._boxes(), dtype=torch.float64) / 2
        x, y = x[..., None], y[..., None]
        corners = [x - half[:, 0], y - half[:, 1], x + half[:, 0], y + half[:, 1]]
        sizes = torch.tensor([width, height, width, height])
        boxes = torch.stack(corners, -1) / sizes
        if given.clip:
            boxes = boxes.clamp(0, 1)
        variance = list(given.variance) or [0.1]
        variances = torch.tensor(variance * (4 // len(variance))).expand(boxes.shape)
        top = torch.stack([boxes.float().flatten(), variances.flatten()])[None]
        return [top.to(self.device)]

    def backward(self, top_diffs, propagate_down):
        return self.zeros(propagate_down)


@layer("DetectionOutput")
class DetectionOutput(Layer):
    """The boxes that remain of all predictions: 1 x 1 x detections x 7.

    A row is image, class, score, xmin, ymin, xmax, ymax; by images, then classes, then scores. An
    image without any has no row; if none has any, each has a row of -1 behind its number.

    Bottoms: offsets, N x (4 boxes, times classes unless `share_location`); scores, N x (boxes
    num_classes); default boxes and variances, as PriorBox makes them. `code_type`: how offsets are
    meant, times the variances unless variance_encoded_in_target. CORNER adds them to the corners,
    CORNER_SIZE the same in parts of the box's size, CENTER_SIZE moves the centre by parts of the
    size and multiplies the size by their exponential.

    Of each class but the background, in the order of scores above confidence_threshold, of which
    only the first nms_param.top_k, a box is left out if it overlaps one that is kept by more than
    nms_threshold (intersection over union). With `eta` below 1 the threshold, while above 0.5, is
    multiplied by it after each kept box. An image keeps its keep_top_k best scores; -1 keeps all.
    """

    bottoms = (3, 3)

    def setup(self, shapes):
        given = self.parameter.detection_output_param
        self.check(given.num_classes > 0, "has no num_classes")
        self.check(
            not given.save_output_param.output_directory,
            "has save_output_param { output_directory }, and this layer writes no files; take the "
            "detections from its top",
        )
        nms = given.nms_param
        self.check(
            nms.nms_threshold >= 0, f"has nms_threshold {nms.nms_threshold:g}; give 0 or more"
        )
        self.check(0 < nms.eta <= 1, f"has eta {nms.eta:g}; give more than 0, at most 1")

    def reshape(self, shapes):
        given = self.parameter.detection_output_param
        offsets, scores, boxes = shapes
        self.check(len(offsets) > 0, "its first bottom has no axes")
        self.check(
            len(boxes) > 2 and boxes[1] == 2 and math.prod(boxes[2:]) % 4 == 0,
            f"its third bottom is {by(boxes)}, expected PriorBox's 1 x 2 x (4 boxes)",
        )
        self._count = math.prod(boxes[2:]) // 4
        self._locations = 1 if given.share_location else given.num_classes
        for what, shape, each in (
            ("first", offsets, 4 * self._locations),
            ("second", scores, given.num_classes),
        ):
            self.check(
                len(shape) > 0
                and shape[0] == offsets[0]
                and math.prod(shape[1:]) == self._count * each,
                f"its {what} bottom is {by(shape)}, expected {offsets[0]} x {self._count * each}: "
                f"{each} for each of {self._count} boxes",
            )
        return [(1, 1, 1, 7)]

    def forward(self, bottoms, keep):
        given = self.parameter.detection_output_param
        offsets, scores, prior = bottoms
        boxes, variances = prior.reshape(2, self._count, 1, 4)
        offsets = offsets.reshape(-1, self._count, self._locations, 4)
        if not given.variance_encoded_in_target:
            offsets = offsets * variances
        decoded = self._decoded(boxes, offsets)
        scores = scores.reshape(-1, self._count, given.num_classes)
        rows = [
            row
            for number in range(len(scores))
            for row in self._detections(number, decoded[number], scores[number])
        ]
        if not rows:
            rows = [[number, *[-1] * 6] for number in range(len(scores))]
        return [torch.tensor(rows, dtype=torch.float32, device=scores.device).reshape(1, 1, -1, 7)]

    def _decoded(self, boxes, offsets):
        """Corners of the predicted boxes, ... x 4."""
        given = self.parameter.detection_output_param
        code = caffe_pb2.PriorBoxParameter
        size = boxes[..., 2:] - boxes[..., :2]
        if given.code_type == code.CENTER_SIZE:
            center = offsets[..., :2] * size + (boxes[..., :2] + boxes[..., 2:]) / 2
            half = offsets[..., 2:].exp() * size / 2
            return torch.cat([center - half, center + half], -1)
        if given.code_type == code.CORNER_SIZE:
            offsets = offsets * torch.cat([size, size], -1)
        return boxes + offsets

    def _detections(self, number, boxes, scores):
        """The rows of one image."""
        given = self.parameter.detection_output_param
        found = []
        for label in range(given.num_classes):
            if label == given.background_label_id:
                continue
            location = boxes[:, label if self._locations > 1 else 0]
            for place in self._kept(location, scores[:, label]):
                score = scores[place, label].item()
                found.append([number, label, score, *location[place].tolist()])
        if 0 <= given.keep_top_k < len(found):
            found = sorted(found, key=lambda row: -row[2])[: given.keep_top_k]
            found.sort(key=lambda row: row[1])
        return found

    def _kept(self, boxes, scores):
        """Places of the boxes of a class that remain, by their scores."""
        given = self.parameter.detection_output_param
        nms = given.nms_param
        ordered, places = scores.sort(descending=True, stable=True)
        if given.HasField("confidence_threshold"):
            places = places[ordered > given.confidence_threshold]
        if nms.HasField("top_k") and nms.top_k >= 0:
            places = places[: nms.top_k]
        threshold, kept = nms.nms_threshold, []
        for place in places.tolist():
            if (_overlaps(boxes[place], boxes[kept]) <= threshold).all():
                kept.append(place)
                if threshold > 0.5:
                    threshold *= nms.eta
        return kept

    def backward(self, top_diffs, propagate_down):
        self.check(not any(propagate_down), "has no gradient; leave it out of nets that learn")
        return [None] * len(propagate_down)


def _overlaps(box, boxes):
    """Intersection over union of a box with each of n x 4 boxes."""

    def area(corners):
        size = (corners[..., 2:] - corners[..., :2]).clamp(min=0)
        return size[..., 0] * size[..., 1]

    intersection = area(
        torch.cat([torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])], 1)
    )
    union = area(box) + area(boxes) - intersection
    return torch.where(intersection > 0, intersection / union, 0)
