"""Nets and solvers of older files in today's fields, as BVLC Caffe turns them on reading.

Three generations: layers of V0 (`layers { layer { type: "conv" } }`), of V1 (`layers { type:
CONVOLUTION }`) and today's (`layer { type: "Convolution" }`). Where BVLC Caffe logs an error about
an old field that fits no new one and goes on, so does this (on the log), and the field is left out.
"""

import os

from torchcaffe import forks, log
from torchcaffe.errors import CaffeError, layer_title, net_title
from torchcaffe.forks import messages
from torchcaffe.schema import caffe_pb2


def net(parameter):
    """Bring a NetParameter up to date in place; returns it.

    Raises CaffeError for what BVLC Caffe refuses: an unknown V0 type, a V0 padding layer below
    something else than a convolution or pooling, an unknown bottom in a V0 net, layers of two
    generations, `input` with too few dimensions.
    """
    if any(layer.HasField("layer") for layer in parameter.layers):
        _from_v0(parameter)
    _move_transforms(parameter.layers)
    if parameter.layers:
        _from_v1(parameter)
    if parameter.input:
        _inputs_to_layer(parameter)
    for layer in parameter.layer:
        # Older nets give a rate to each of BatchNorm's three blobs, which are no weights to learn.
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0
    if forks.ENABLED:
        messages.upgrade(parameter)
    return parameter


def solver(parameter, path):
    """Bring the SolverParameter of a file up to date in place; returns it.

    `solver_type: ADAM` becomes `type: "Adam"`. Nets that stand in it are upgraded as those of files
    are, which BVLC Caffe 1.0 forgets: it finds no layers in them and ends. Without a
    snapshot_prefix, snapshots are called as the file without its ending; in a snapshot_prefix that
    is a folder as the file, in there. Raises CaffeError if solver_type and type are given, and as
    `net` does.
    """
    for field in ("net_param", "train_net_param", "test_net_param"):
        value = getattr(parameter, field)
        is_list = field == "test_net_param"
        for each in value if is_list else [value] * parameter.HasField(field):
            try:
                net(each)
            except CaffeError as error:
                raise CaffeError(f"{path}: {field}: {error}") from error
    if parameter.HasField("solver_type"):
        if parameter.HasField("type"):
            raise CaffeError(f"{path}: has solver_type (the old spelling) and type; give type only")
        parameter.type = SOLVERS[parameter.solver_type]
        parameter.ClearField("solver_type")
    name = os.path.splitext(path)[0]
    if not parameter.HasField("snapshot_prefix"):
        parameter.snapshot_prefix = name
    elif os.path.isdir(parameter.snapshot_prefix):
        parameter.snapshot_prefix = os.path.join(parameter.snapshot_prefix, os.path.basename(name))
    return parameter


SOLVERS = {
    caffe_pb2.SolverParameter.SGD: "SGD",
    caffe_pb2.SolverParameter.NESTEROV: "Nesterov",
    caffe_pb2.SolverParameter.ADAGRAD: "AdaGrad",
    caffe_pb2.SolverParameter.RMSPROP: "RMSProp",
    caffe_pb2.SolverParameter.ADADELTA: "AdaDelta",
    caffe_pb2.SolverParameter.ADAM: "Adam",
}

# ---- V0

_V0_TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}

_PARAMETERS = {
    "conv": "convolution_param",
    "innerproduct": "inner_product_param",
    "pool": "pooling_param",
    "dropout": "dropout_param",
    "lrn": "lrn_param",
    "data": "data_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "window_data": "window_data_param",
    "infogain_loss": "infogain_loss_param",
    "concat": "concat_param",
}

# {V0 field: (its new name, the V0 types that have it)}
_V0_FIELDS = {
    "num_output": ("num_output", ("conv", "innerproduct")),
    "biasterm": ("bias_term", ("conv", "innerproduct")),
    "weight_filler": ("weight_filler", ("conv", "innerproduct")),
    "bias_filler": ("bias_filler", ("conv", "innerproduct")),
    "pad": ("pad", ("conv", "pool")),
    "kernelsize": ("kernel_size", ("conv", "pool")),
    "group": ("group", ("conv",)),
    "stride": ("stride", ("conv", "pool")),
    "pool": ("pool", ("pool",)),
    "dropout_ratio": ("dropout_ratio", ("dropout",)),
    "local_size": ("local_size", ("lrn",)),
    "alpha": ("alpha", ("lrn",)),
    "beta": ("beta", ("lrn",)),
    "k": ("k", ("lrn",)),
    "source": ("source", ("data", "hdf5_data", "images", "window_data", "infogain_loss")),
    "batchsize": ("batch_size", ("data", "hdf5_data", "images", "window_data")),
    "rand_skip": ("rand_skip", ("data", "images")),
    "shuffle_images": ("shuffle", ("images",)),
    "new_height": ("new_height", ("images",)),
    "new_width": ("new_width", ("images",)),
    "concat_dim": ("concat_dim", ("concat",)),
    "det_fg_threshold": ("fg_threshold", ("window_data",)),
    "det_bg_threshold": ("bg_threshold", ("window_data",)),
    "det_fg_fraction": ("fg_fraction", ("window_data",)),
    "det_context_pad": ("context_pad", ("window_data",)),
    "det_crop_mode": ("crop_mode", ("window_data",)),
}

_V0_TRANSFORM = {
    "scale": "scale",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "mirror": "mirror",
}


def _from_v0(parameter):
    """The net with V1 layers; of the rest only what V0 nets had is kept, as BVLC Caffe does."""
    new = caffe_pb2.NetParameter()
    for field in ("name", "force_backward"):
        if parameter.HasField(field):
            setattr(new, field, getattr(parameter, field))
    new.input.extend(parameter.input)
    new.input_dim.extend(parameter.input_dim)
    for title, layer in _without_padding_layers(parameter):
        _v0_layer(layer, new.layers.add(), title)
    parameter.CopyFrom(new)


def _without_padding_layers(parameter):
    """[(title, V0 layer)], with the pad of padding layers moved into what reads them."""
    makers = dict.fromkeys(parameter.input)  # blob -> the layer that made it last
    titles, kept = {}, []
    for place, old in enumerate(parameter.layers, 1):
        layer = caffe_pb2.V1LayerParameter()
        layer.CopyFrom(old)
        kind = old.layer.type
        title = layer_title(old.layer.name, kind, place)
        for which, bottom in enumerate(old.bottom):
            if bottom not in makers:
                raise CaffeError(f"{title}: no layer makes its bottom {bottom!r}")
            maker = makers[bottom]
            if maker is None or maker.layer.type != "padding":
                continue
            if kind not in ("conv", "pool") or len(old.bottom) != 1:
                raise CaffeError(
                    f"{title}: a padding layer is its bottom; only conv and pool "
                    "layers of one bottom can have that"
                )
            if len(maker.bottom) != 1 or len(maker.top) != 1:
                raise CaffeError(
                    f"{titles[bottom]}: a padding layer has one bottom and one top, got "
                    f"{len(maker.bottom)} and {len(maker.top)}"
                )
            layer.layer.pad = maker.layer.pad
            layer.bottom[which] = maker.bottom[0]
        makers.update(dict.fromkeys(old.top, old))
        titles.update(dict.fromkeys(old.top, title))
        if kind != "padding":
            kept.append((title, layer))
    return kept


def _v0_layer(old, new, title):
    """Fill a V1LayerParameter from one that holds a V0LayerParameter."""
    new.bottom.extend(old.bottom)
    new.top.extend(old.top)
    if not old.HasField("layer"):
        return
    given = old.layer
    if given.HasField("name"):
        new.name = given.name
    if given.HasField("type"):
        if given.type not in _V0_TYPES:
            raise CaffeError(
                f"{title}: no layer type {given.type!r} of the oldest spelling; there "
                f"are {', '.join(_V0_TYPES)}"
            )
        new.type = caffe_pb2.V1LayerParameter.LayerType.Value(_V0_TYPES[given.type])
    new.blobs.extend(given.blobs)
    new.blobs_lr.extend(given.blobs_lr)
    new.weight_decay.extend(given.weight_decay)
    for field, (name, kinds) in _V0_FIELDS.items():
        if given.HasField(field):
            if given.type in kinds:
                _put(getattr(new, _PARAMETERS[given.type]), name, getattr(given, field))
            else:
                _left_out(title, f"{field} of type {given.type!r}")
    for field, name in _V0_TRANSFORM.items():
        if given.HasField(field):
            setattr(new.transform_param, name, getattr(given, field))
    if given.HasField("hdf5_output_param"):
        if given.type == "hdf5_output":
            new.hdf5_output_param.CopyFrom(given.hdf5_output_param)
        else:
            _left_out(title, f"hdf5_output_param of type {given.type!r}")


def _put(message, name, value):
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        getattr(message, name).append(value)
    elif field.message_type:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


# ---- V1

# Names that differ by more than their case and underscores.
_V1_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BN": "BN",  # a fork's
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}

_V1_PARAMETERS = [
    field.name
    for field in caffe_pb2.V1LayerParameter.DESCRIPTOR.fields
    if field.name.endswith("_param")
]


def v1_type(value):
    """Today's name of a V1LayerParameter.LayerType: EUCLIDEAN_LOSS is `EuclideanLoss`."""
    name = caffe_pb2.V1LayerParameter.LayerType.Name(value)
    return _V1_TYPES.get(name, "".join(word.capitalize() for word in name.split("_")))


def _move_transforms(layers):
    """Scale, mean_file, crop_size and mirror of data layers, once fields of their own.

    As in BVLC Caffe, a net with one such field gets both messages, if need be empty ones, in each
    of its data layers.
    """
    names = (f"{caffe_pb2.V1LayerParameter.LayerType.Name(layer.type)}_param" for layer in layers)
    data = [
        (layer, getattr(layer, name.lower()))
        for layer, name in zip(layers, names, strict=True)
        if name in ("DATA_param", "IMAGE_DATA_param", "WINDOW_DATA_param")
    ]
    moved = ("scale", "mean_file", "crop_size", "mirror")
    if not any(given.HasField(field) for _, given in data for field in moved):
        return
    for layer, given in data:
        layer.transform_param.SetInParent()
        given.SetInParent()
        for field in moved:
            if given.HasField(field):
                setattr(layer.transform_param, field, getattr(given, field))
                given.ClearField(field)


def _from_v1(parameter):
    if parameter.layer:
        raise CaffeError(
            f"{net_title(parameter.name)}: has `layer` and `layers` blocks; write all of them as "
            "`layer`"
        )
    for place, old in enumerate(parameter.layers, 1):
        _v1_layer(old, parameter.layer.add(), place)
    del parameter.layers[:]


def _v1_layer(old, new, place):
    for field in ("bottom", "top", "include", "exclude", "blobs", "loss_weight"):
        getattr(new, field).extend(getattr(old, field))
    if old.HasField("name"):
        new.name = old.name
    if old.HasField("type"):
        new.type = v1_type(old.type)
    specs = max(map(len, (old.param, old.blob_share_mode, old.blobs_lr, old.weight_decay)))
    for place in range(specs):
        spec = new.param.add()
        for values, field in (
            (old.param, "name"),
            (old.blob_share_mode, "share_mode"),
            (old.blobs_lr, "lr_mult"),
            (old.weight_decay, "decay_mult"),
        ):
            if place < len(values):
                setattr(spec, field, values[place])
    for field in _V1_PARAMETERS:
        if old.HasField(field):
            getattr(new, field).CopyFrom(getattr(old, field))
    if old.HasField("layer"):
        _left_out(layer_title(old.name, new.type, place), "its V0 layer")


# ---- Inputs


def _inputs_to_layer(parameter):
    """`input` with `input_shape` or `input_dim` as an Input layer before all others.

    As in BVLC Caffe, inputs without any shape make no layer.
    """
    shapes, dims = parameter.input_shape, parameter.input_dim
    if shapes or dims:
        count = len(parameter.input)
        if shapes and len(shapes) < count or not shapes and len(dims) < 4 * count:
            raise CaffeError(
                f"{net_title(parameter.name)}: has {count} input but "
                + (f"{len(shapes)} input_shape" if shapes else f"{len(dims)} input_dim, 4 for each")
            )
        layer = caffe_pb2.LayerParameter(name="input", type="Input")
        layer.top.extend(parameter.input)
        for place in range(count):
            shape = layer.input_param.shape.add()
            if shapes:
                shape.CopyFrom(shapes[place])
            else:
                shape.dim.extend(dims[4 * place : 4 * place + 4])
        others = list(parameter.layer)
        del parameter.layer[:]
        parameter.layer.extend([layer, *others])
    for field in ("input", "input_shape", "input_dim"):
        parameter.ClearField(field)


def _left_out(title, what):
    log.warning(f"{title}: {what} has no place in today's fields and is left out")
