"""Nets at large, written from their papers as NetSpecs, at small batch.

Each has losses that all of its parameters learn from. What is random is off: Dropout is in the phase
TEST. Labels are inputs named `label...`.
"""

import dataclasses

from torchcaffe.pycaffe import layers as L
from torchcaffe.pycaffe import params as P
from torchcaffe.pycaffe.coord_map import crop
from torchcaffe.pycaffe.net_spec import NetSpec
from torchcaffe.schema import caffe_pb2


@dataclasses.dataclass
class Definition:
    """A net.

    make        function() -> NetSpec
    classes     int, how many its labels have
    parameters  int, as they are counted where the net is described, without BatchNorm's statistics;
                None: nobody counted them
    """

    make: object
    classes: int
    parameters: int | None


DEFINITIONS = {}
"""{name: Definition}"""


def net(name, parameters=None, classes=1000):
    def register(function):
        DEFINITIONS[name] = Definition(function, classes, parameters)
        return function

    return register


def blobs(*shape):
    return L.Input(input_param={"shape": {"dim": list(shape)}})


def images(batch, side, classes=True):
    n = NetSpec()
    n.data = blobs(batch, 3, side, side)
    if classes:
        n.label = blobs(batch)
    return n


def convolved(n, name, bottom, count, kernel, **fields):
    """Convolution and a ReLU in place."""
    n[name] = L.Convolution(bottom, num_output=count, kernel_size=kernel, **fields)
    n[f"relu_{name}"] = L.ReLU(n[name], in_place=True)
    return n[name]


def connected(n, name, bottom, count):
    """InnerProduct, ReLU and Dropout in place."""
    n[name] = L.InnerProduct(bottom, num_output=count)
    n[f"relu_{name}"] = L.ReLU(n[name], in_place=True)
    n[f"drop_{name}"] = L.Dropout(n[name], in_place=True, phase=caffe_pb2.TEST)
    return n[name]


def pooled(bottom, kernel, stride, method="MAX", **fields):
    return L.Pooling(
        bottom, kernel_size=kernel, stride=stride, pool=getattr(P.Pooling, method), **fields
    )


def averaged(bottom):
    return L.Pooling(bottom, pool=P.Pooling.AVE, global_pooling=True)


def classified(n, bottom, count=1000, name="fc"):
    n[name] = L.InnerProduct(bottom, num_output=count)
    n.loss = L.SoftmaxWithLoss(n[name], n.label)
    return n


def normalized(n, name, bottom, relu=True):
    """BatchNorm, Scale with a bias, and a ReLU, in place."""
    n[f"bn_{name}"] = L.BatchNorm(bottom, in_place=True)
    n[f"scale_{name}"] = L.Scale(bottom, in_place=True, bias_term=True)
    if relu:
        n[f"relu_{name}"] = L.ReLU(bottom, in_place=True)
    return bottom


# ---- Classification


def alexnet(normalize_first):
    n = images(1, 227)

    def between(number, bottom):
        steps = [
            ("norm", lambda x: L.LRN(x, local_size=5, alpha=1e-4, beta=0.75)),
            ("pool", lambda x: pooled(x, 3, 2)),
        ]
        for kind, made in steps if normalize_first else steps[::-1]:
            bottom = n[f"{kind}{number}"] = made(bottom)
        return bottom

    x = between(1, convolved(n, "conv1", n.data, 96, 11, stride=4))
    x = between(2, convolved(n, "conv2", x, 256, 5, pad=2, group=2))
    x = convolved(n, "conv3", x, 384, 3, pad=1)
    x = convolved(n, "conv4", x, 384, 3, pad=1, group=2)
    n.pool5 = pooled(convolved(n, "conv5", x, 256, 3, pad=1, group=2), 3, 2)
    return classified(n, connected(n, "fc7", connected(n, "fc6", n.pool5, 4096), 4096), name="fc8")


@net("AlexNet", 60_965_224)
def alexnet_itself():
    return alexnet(normalize_first=True)


@net("CaffeNet", 60_965_224)
def caffenet():
    return alexnet(normalize_first=False)


def vgg(n, first_pad, pools):
    """VGG-16's convolutions; {name: top of a stage's last convolution} and the last pooling."""
    x, tops = n.data, {}
    for stage, (count, convolutions) in enumerate(
        ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1
    ):
        for number in range(1, convolutions + 1):
            pad = first_pad if (stage, number) == (1, 1) else 1
            x = convolved(n, f"conv{stage}_{number}", x, count, 3, pad=pad)
        tops[f"conv{stage}"] = x
        if stage <= pools:
            x = n[f"pool{stage}"] = pooled(x, 2, 2)
    return tops, x


@net("VGG-16", 138_357_544)
def vgg16():
    n = images(1, 224)
    _, x = vgg(n, 1, 5)
    return classified(n, connected(n, "fc7", connected(n, "fc6", x, 4096), 4096), name="fc8")


INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""{block: outputs of 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; 1x1 behind the pooling}"""


@net("GoogLeNet", 13_378_280)
def googlenet():
    n = images(1, 224)
    n.pool1 = pooled(convolved(n, "conv1", n.data, 64, 7, stride=2, pad=3), 3, 2)
    n.norm1 = L.LRN(n.pool1, local_size=5, alpha=1e-4, beta=0.75)
    x = convolved(n, "conv2", convolved(n, "reduce2", n.norm1, 64, 1), 192, 3, pad=1)
    n.norm2 = L.LRN(x, local_size=5, alpha=1e-4, beta=0.75)
    x = n.pool2 = pooled(n.norm2, 3, 2)
    for block, (one, reduced3, three, reduced5, five, behind) in INCEPTIONS.items():
        n[f"pool_{block}"] = pooled(x, 3, 1, pad=1)
        x = n[f"inception_{block}"] = L.Concat(
            convolved(n, f"one_{block}", x, one, 1),
            convolved(n, f"three_{block}", convolved(n, f"to3_{block}", x, reduced3, 1), three, 3, pad=1),
            convolved(n, f"five_{block}", convolved(n, f"to5_{block}", x, reduced5, 1), five, 5, pad=2),
            convolved(n, f"proj_{block}", n[f"pool_{block}"], behind, 1),
        )  # fmt: skip
        if block in ("3b", "4e"):
            x = n[f"pool{block[0]}"] = pooled(x, 3, 2)
        if block in ("4a", "4d"):
            n[f"side_pool_{block}"] = pooled(x, 5, 3, "AVE")
            side = convolved(n, f"side_conv_{block}", n[f"side_pool_{block}"], 128, 1)
            side = connected(n, f"side_fc_{block}", side, 1024)
            n[f"side_{block}"] = L.InnerProduct(side, num_output=1000)
            n[f"loss_{block}"] = L.SoftmaxWithLoss(n[f"side_{block}"], n.label, loss_weight=0.3)
    n.pool5 = pooled(x, 7, 1, "AVE")
    return classified(n, L.Dropout(n.pool5, phase=caffe_pb2.TEST))


@net("ResNet-50", 25_557_032)
def resnet50():
    n = images(2, 224)

    def normed(name, bottom, count, kernel, relu=True, **fields):
        n[name] = L.Convolution(
            bottom, num_output=count, kernel_size=kernel, bias_term=False, **fields
        )
        return normalized(n, name, n[name], relu)

    x = n.pool1 = pooled(normed("conv1", n.data, 64, 7, stride=2, pad=3), 3, 2)
    for stage, (count, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(blocks):
            name = f"{stage}{'abcdef'[block]}"
            stride = 2 if block == 0 and stage > 2 else 1
            shortcut = x
            if block == 0:
                shortcut = normed(f"short{name}", x, 4 * count, 1, relu=False, stride=stride)
            x = normed(f"one{name}", x, count, 1, stride=stride)
            x = normed(f"three{name}", x, count, 3, pad=1)
            x = normed(f"last{name}", x, 4 * count, 1, relu=False)
            x = n[f"res{name}"] = L.Eltwise(shortcut, x)
            n[f"relu_res{name}"] = L.ReLU(x, in_place=True)
    n.pool5 = averaged(x)
    return classified(n, n.pool5)


@net("SqueezeNet 1.1", 1_235_496)
def squeezenet():
    n = images(1, 227)
    x = n.pool1 = pooled(convolved(n, "conv1", n.data, 64, 3, stride=2), 3, 2)
    for fire, (squeezed, expanded) in enumerate(
        ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)), 2
    ):
        small = convolved(n, f"squeeze{fire}", x, squeezed, 1)
        x = n[f"fire{fire}"] = L.Concat(
            convolved(n, f"one{fire}", small, expanded, 1),
            convolved(n, f"three{fire}", small, expanded, 3, pad=1),
        )
        if fire in (3, 5):
            x = n[f"pool{fire}"] = pooled(x, 3, 2)
    n.drop9 = L.Dropout(x, in_place=True, phase=caffe_pb2.TEST)
    n.pool10 = averaged(convolved(n, "conv10", x, 1000, 1))
    n.loss = L.SoftmaxWithLoss(n.pool10, n.label)
    return n


@net("MobileNet v1", 4_231_976)
def mobilenet1():
    n = images(2, 224)

    def normed(name, bottom, count, kernel, **fields):
        n[name] = L.Convolution(
            bottom, num_output=count, kernel_size=kernel, bias_term=False, **fields
        )
        return normalized(n, name, n[name])

    x, channels = normed("conv1", n.data, 32, 3, stride=2, pad=1), 32
    for number, (count, stride) in enumerate(
        ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)),
        2,
    ):  # fmt: skip
        x = normed(f"deep{number}", x, channels, 3, pad=1, stride=stride, group=channels)
        x = normed(f"wide{number}", x, count, 1)
        channels = count
    n.pool = averaged(x)
    return classified(n, n.pool)


@net("MobileNet v2", 3_504_872)
def mobilenet2():
    """With ReLU in the place of ReLU6, which Caffe lacks."""
    n = images(2, 224)

    def normed(name, bottom, count, kernel, relu=True, **fields):
        n[name] = L.Convolution(
            bottom, num_output=count, kernel_size=kernel, bias_term=False, **fields
        )
        return normalized(n, name, n[name], relu)

    x, channels, number = normed("conv1", n.data, 32, 3, stride=2, pad=1), 32, 1
    for times, count, blocks, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for block in range(blocks):
            number += 1
            stride, inner, shortcut = first_stride if block == 0 else 1, times * channels, x
            if times > 1:
                x = normed(f"wide{number}", x, inner, 1)
            x = normed(f"deep{number}", x, inner, 3, pad=1, stride=stride, group=inner)
            x = normed(f"thin{number}", x, count, 1, relu=False)
            if stride == 1 and channels == count:
                x = n[f"sum{number}"] = L.Eltwise(shortcut, x)
            channels = count
    n.pool = averaged(normed("conv_last", x, 1280, 1))
    return classified(n, n.pool)


@net("DenseNet-121", 7_978_856)
def densenet121():
    n = images(2, 224)

    def normed(name, bottom):
        n[f"bn_{name}"] = L.BatchNorm(bottom)
        n[f"scale_{name}"] = L.Scale(n[f"bn_{name}"], in_place=True, bias_term=True)
        n[f"relu_{name}"] = L.ReLU(n[f"bn_{name}"], in_place=True)
        return n[f"bn_{name}"]

    def convolution(name, bottom, count, kernel, **fields):
        n[name] = L.Convolution(
            bottom, num_output=count, kernel_size=kernel, bias_term=False, **fields
        )
        return n[name]

    x = convolution("conv1", n.data, 64, 7, stride=2, pad=3)
    x = n.pool1 = pooled(normalized(n, "conv1", x), 3, 2, pad=1)
    channels = 64
    for stage, layers in enumerate((6, 12, 24, 16), 2):
        for number in range(1, layers + 1):
            name = f"{stage}_{number}"
            new = convolution(f"one{name}", normed(f"a{name}", x), 128, 1)
            new = convolution(f"three{name}", normed(f"b{name}", new), 32, 3, pad=1)
            x = n[f"concat{name}"] = L.Concat(x, new)
        channels += 32 * layers
        x = normed(f"stage{stage}", x)
        if stage < 5:
            channels //= 2
            x = n[f"pool{stage}"] = pooled(convolution(f"half{stage}", x, channels, 1), 2, 2, "AVE")
    n.pool5 = averaged(x)
    return classified(n, n.pool5)


# ---- Images from images


@net("FCN-8s", classes=21)
def fcn8s():
    n = NetSpec()
    n.data, n.label = blobs(1, 3, 48, 64), blobs(1, 1, 48, 64)
    _, x = vgg(n, 100, 5)
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        x = convolved(n, name, x, 4096, kernel)
        n[f"drop_{name}"] = L.Dropout(x, in_place=True, phase=caffe_pb2.TEST)

    def scored(name, bottom):
        n[f"score_{name}"] = L.Convolution(bottom, num_output=21, kernel_size=1)
        return n[f"score_{name}"]

    def larger(name, bottom, kernel):
        n[name] = L.Deconvolution(
            bottom,
            convolution_param={
                "num_output": 21, "kernel_size": kernel, "stride": kernel // 2, "bias_term": False,
            },
        )  # fmt: skip
        return n[name]

    x = larger("upscore2", scored("fr", x), 4)
    for pool in (4, 3):
        score = scored(f"pool{pool}", n[f"pool{pool}"])
        n[f"crop{pool}"] = crop(score, x)
        x = n[f"fuse{pool}"] = L.Eltwise(x, n[f"crop{pool}"])
        x = larger(f"upscore{pool}", x, 4 if pool == 4 else 16)
    n.score = crop(x, n.data)
    n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param={"normalize": False})
    return n


@net("HED", classes=2)
def hed():
    n = NetSpec()
    n.data, n.label = blobs(1, 3, 96, 128), blobs(1, 1, 96, 128)
    tops, _ = vgg(n, 35, 4)
    sides = []
    for number in range(1, 6):
        score = n[f"score{number}"] = L.Convolution(
            tops[f"conv{number}"], num_output=1, kernel_size=1
        )
        if number > 1:
            score = n[f"up{number}"] = L.Deconvolution(
                score,
                convolution_param={
                    "num_output": 1, "kernel_size": 2**number, "stride": 2 ** (number - 1),
                },
            )  # fmt: skip
        side = n[f"crop{number}"] = crop(score, n.data)
        n[f"loss{number}"] = L.SigmoidCrossEntropyLoss(side, n.label, loss_weight=1e-3)
        sides.append(side)
    n.sides = L.Concat(*sides)
    n.fused = L.Convolution(n.sides, num_output=1, kernel_size=1)
    n.loss = L.SigmoidCrossEntropyLoss(n.fused, n.label, loss_weight=1e-3)
    return n


# ---- Others


@net("Siamese LeNet", classes=2)
def siamese():
    n = NetSpec()
    n.one, n.two, n.label = blobs(4, 1, 28, 28), blobs(4, 1, 28, 28), blobs(4)
    for side, x in (("one", n.one), ("two", n.two)):

        def shared(name):
            return [{"name": f"{name}_w"}, {"name": f"{name}_b"}]

        def named(name, made, side=side):
            n[f"{name}_{side}"] = made
            return made

        x = named("conv1", L.Convolution(x, num_output=20, kernel_size=5, param=shared("conv1")))
        x = named("pool1", pooled(x, 2, 2))
        x = named("conv2", L.Convolution(x, num_output=50, kernel_size=5, param=shared("conv2")))
        x = named("pool2", pooled(x, 2, 2))
        x = named("ip1", L.InnerProduct(x, num_output=500, param=shared("ip1")))
        n[f"relu_{side}"] = L.ReLU(x, in_place=True)
        x = named("ip2", L.InnerProduct(x, num_output=10, param=shared("ip2")))
        named("feat", L.InnerProduct(x, num_output=2, param=shared("feat")))
    n.loss = L.ContrastiveLoss(n.feat_one, n.feat_two, n.label, margin=1)
    return n


@net("LRCN's LSTMs", classes=8801)
def lrcn():
    """Two, factored: the second sees the image; 20 words of 4 sentences of a vocabulary of 8801."""
    n = NetSpec()
    n.image, n.label_before, n.label, n.continued = (
        blobs(4, 1000), blobs(20, 4), blobs(20, 4), blobs(20, 4)
    )  # fmt: skip
    n.embedded = L.Embed(n.label_before, num_output=1000, input_dim=8801, bias_term=False)
    fields = {"num_output": 1000, "weight_filler": {"type": "xavier"}}
    n.lstm1 = L.LSTM(n.embedded, n.continued, recurrent_param=fields)
    n.lstm2 = L.LSTM(n.lstm1, n.continued, n.image, recurrent_param=fields)
    n.predicted = L.InnerProduct(n.lstm2, num_output=8801, axis=2)
    n.loss = L.SoftmaxWithLoss(n.predicted, n.label, loss_weight=20, softmax_param={"axis": 2})
    return n


def mtcnn(height, width, convolutions, features, points):
    """Convolutions (outputs, kernel, kernel of the pooling behind); then heads for face, box, points."""
    n = NetSpec()
    n.data = blobs(4, 3, height, width)
    x = n.data
    for number, (count, kernel, pooling) in enumerate(convolutions, 1):
        x = n[f"conv{number}"] = L.Convolution(x, num_output=count, kernel_size=kernel)
        n[f"prelu{number}"] = L.PReLU(x, in_place=True)
        if pooling:
            x = n[f"pool{number}"] = pooled(x, pooling, 2)
    if features:
        x = n.features = L.InnerProduct(x, num_output=features)
        n.prelu_features = L.PReLU(x, in_place=True)
    for name, count in (("face", 2), ("box", 4), ("points", 10))[: 3 if points else 2]:
        head = (
            L.InnerProduct(x, num_output=count)
            if features
            else L.Convolution(x, num_output=count, kernel_size=1)
        )
        n[name] = head
    shape = () if features else ((height - 10) // 2, (width - 10) // 2)
    n.label = blobs(4, *([1, *shape] if shape else []))
    n.loss = L.SoftmaxWithLoss(n.face, n.label)
    n.box_target = blobs(4, 4, *shape)
    n.box_loss = L.EuclideanLoss(n.box, n.box_target, loss_weight=0.5)
    if points:
        n.points_target = blobs(4, 10)
        n.points_loss = L.EuclideanLoss(n.points, n.points_target, loss_weight=0.5)
    return n


@net("MTCNN's P-Net", 6_632, classes=2)
def pnet():
    return mtcnn(36, 48, ((10, 3, 2), (16, 3, None), (32, 3, None)), None, False)


@net("MTCNN's R-Net", 100_178, classes=2)
def rnet():
    return mtcnn(24, 24, ((28, 3, 3), (48, 3, 3), (64, 2, None)), 128, False)


@net("MTCNN's O-Net", 389_040, classes=2)
def onet():
    return mtcnn(48, 48, ((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, None)), 256, True)
