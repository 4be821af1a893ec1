"""A net's parameters in files: .caffemodel, and .h5 for the HDF5 form."""

import io
import os

import h5py
import numpy as np
import torch

from torchcaffe import log, protofile
from torchcaffe.blob import shape_text
from torchcaffe.errors import CaffeError


def copy_from(net, path):
    """Copy the parameters of a .caffemodel or .h5 file into the net's layers of the same names.

    As BVLC Caffe's CopyTrainedLayersFrom: a layer that only the file has is ignored, with a log
    line; a layer that only the net has keeps its values. Blobs of the old four axes fit where
    only ones come before the net's shape. Raises CaffeError for a file that is no such file, is
    damaged, or has another number of blobs or other shapes than the net.
    """
    if os.fspath(path).endswith(".h5"):
        return load_hdf5(net, path)
    stored = protofile.read(path, protofile.NetParameter, "a caffemodel")
    # Old files have `layers`, and the oldest a layer within that; names and blobs suffice here.
    old = [layer.layer if layer.HasField("layer") else layer for layer in stored.layers]
    copies = []
    sources = [(_text(source, "name"), source) for source in (*old, *stored.layer)]
    with_blobs = {name for name, source in sources if source.blobs}
    targets = _by_name(net)
    for name, source in sources:
        layer = targets.get(name)
        if layer is None:
            log.info(f"Ignoring source layer {name}")
            continue
        if not source.blobs and name in with_blobs:
            continue
        if len(source.blobs) != len(layer.params):
            raise CaffeError(
                f"{path}: layer {name}: has {len(source.blobs)} blobs there and "
                f"{len(layer.params)} in the net; to learn it anew, rename the layer"
            )
        for place, (blob, target) in enumerate(zip(source.blobs, layer.params)):
            if not protofile.fits(protofile.shape(blob), target.shape):
                raise _mismatch(path, name, place, protofile.shape(blob), target.shape)
            copies.append((target, protofile.values(blob, f"{path}: layer {name}, param {place}")))
    # The net changes only after all of the file has been found right.
    for target, values in copies:
        _put(target, values)
    if not stored.layers and not stored.layer:
        log.warning(f"{path}: has no layers")
    return None


def save(net, path, diff=False):
    """Write a .caffemodel as BVLC Caffe does: all layers with their fields and blobs.

    `diff`: with the gradients too. Raises CaffeError if the file cannot be written, or would be
    larger than 2 GB; HDF5 has no such limit.
    """
    protofile.write(path, protofile.serialized(to_message(net, diff), path))


def to_message(net, diff=False):
    """The net as a NetParameter with blobs (of protofile's class)."""
    message = protofile.NetParameter(name=net.name)
    for layer in net.layers:
        stored = message.layer.add()
        stored.ParseFromString(layer.parameter.SerializeToString())
        del stored.blobs[:]
        for blob in layer.params:
            protofile.fill(
                stored.blobs.add(),
                blob.shape,
                array(blob.data),
                array(blob.diff) if diff else None,
            )
    return message


def check_hdf5_names(net):
    """Raise CaffeError that names a layer which has parameters and no name: HDF5 has no place."""
    for layer in net.layers:
        if layer.params and not layer.name:
            layer.fail("has parameters and no name, without which HDF5 cannot hold them")


def save_hdf5(net, path, diff=False):
    """Write the HDF5 form: /data/LAYER/PLACE, and /diff/LAYER/PLACE with `diff`.

    As in BVLC Caffe each layer has a group, and the values of a shared parameter stand only with
    the layer that has them first. A layer whose name has a `/` gets nested groups; BVLC aborts.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        groups = [file.create_group("data")] + ([file.create_group("diff")] if diff else [])
        seen = set()
        check_hdf5_names(net)
        named = [layer for layer in net.layers if layer.name]
        for layer in named:
            for group in groups:
                group.require_group(layer.name)
        for layer in named:
            for place, blob in enumerate(layer.params):
                shared = _memory(blob) in seen
                seen.add(_memory(blob))
                if not shared:
                    file["data"][layer.name][str(place)] = array(blob.data)
                if diff:
                    file["diff"][layer.name][str(place)] = array(blob.diff)
    protofile.write(path, memory.getbuffer())


def load_hdf5(net, path):
    """As `copy_from`, for the HDF5 form. A shared parameter may be missing from later layers."""
    with open_hdf5(path) as file:
        data = hdf5_member(file, "data", f"{path}: /data")
        if not isinstance(data, h5py.Group):
            raise CaffeError(f"{path}: has no group /data; it is no caffemodel in HDF5")
        copies, seen = [], set()
        for name in data:
            if not any(_is_under(layer.name, name) for layer in net.layers):
                log.info(f"Ignoring source layer {name}")
        for layer in _by_name(net).values():
            if not layer.name:
                continue
            what = f"{path}: layer {layer.shown}"
            group = hdf5_member(data, layer.name, what)
            if not isinstance(group, h5py.Group):
                continue
            members = [hdf5_member(group, place, f"{what}, param {place}") for place in group]
            stored = sum(isinstance(member, h5py.Dataset) for member in members)
            if stored > len(layer.params):
                raise CaffeError(
                    f"{path}: layer {layer.shown}: has {stored} blobs there and "
                    f"{len(layer.params)} in the net; to learn it anew, rename the layer"
                )
            for place, target in enumerate(layer.params):
                what = f"{path}: layer {layer.shown}, param {place}"
                dataset = hdf5_member(group, str(place), what)
                if dataset is None and _memory(target) in seen:
                    continue
                if dataset is None:
                    raise CaffeError(
                        f"{what}: is not in the file; to learn it anew, rename the layer"
                    )
                seen.add(_memory(target))
                if not protofile.fits(dataset_shape(dataset, what), target.shape):
                    raise _mismatch(path, layer.name, place, dataset.shape, target.shape)
                copies.append((target, dataset_values(dataset, what)))
    for target, values in copies:
        _put(target, values)


def share(net, source):
    """Let the net's layers use the parameters of the source's layers of the same names.

    BVLC Caffe's ShareTrainedLayersWith, by which a solver's test nets follow its train net.
    Raises CaffeError for other counts or shapes.
    """
    targets = _by_name(net)
    for name, layer in _by_name(source).items():
        target = targets.get(name)
        if target is None:
            continue
        if len(target.params) != len(layer.params):
            raise CaffeError(
                f"layer {layer.shown}: has {len(layer.params)} params in the train net and "
                f"{len(target.params)} in the test net; make the layers equal"
            )
        for place, (theirs, ours) in enumerate(zip(layer.params, target.params)):
            if theirs.shape != ours.shape:
                raise CaffeError(
                    f"layer {layer.shown}, param {place}: is of shape {shape_text(theirs.shape)} "
                    f"in the train net and {shape_text(ours.shape)} in the test net; "
                    "make the layers equal"
                )
            if theirs is not ours:
                ours.share_data(theirs)


def open_hdf5(path):
    """The h5py.File, open for reading; raises CaffeError for a file that is none."""
    try:
        if os.path.getsize(path) == 0:
            raise CaffeError(f"{path}: is empty, expected an HDF5 file")
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno:
            raise CaffeError(f"{path}: cannot be read: {os.strerror(error.errno)}") from None
        raise CaffeError(
            f"{path}: is not an HDF5 file, or was cut off; write or download it again"
        ) from None


def hdf5_member(group, name, what):
    """The group or dataset of a name, None if there is none; CaffeError for a broken link."""
    try:
        found = group.get(name)
        broken = found is None and group.get(name, getlink=True) is not None
    except (OSError, RuntimeError) as error:
        raise CaffeError(f"{what}: cannot be read, the file is damaged ({error})") from None
    if broken:
        raise CaffeError(f"{what}: is a link to what is not there; write the values themselves")
    return found


def dataset_shape(dataset, what):
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
        raise CaffeError(f"{what}: is not a dataset of numbers in the file")
    return dataset.shape


def dataset_values(dataset, what):
    """The values of a dataset whose shape was checked, as float32, flat."""
    try:
        return np.asarray(dataset, np.float32).reshape(-1)
    except (OSError, RuntimeError, ValueError) as error:
        raise CaffeError(f"{what}: cannot be read, the file is damaged ({error})") from None


def _by_name(net):
    """{name: Layer}; of the layers of one name the one with parameters, in the net's order.

    Raises CaffeError if several have: a net takes that of layers without a name only.
    """
    found = {}
    for layer in net.layers:
        other = found.get(layer.name)
        if other is not None and other.params and layer.params:
            layer.fail(
                "has parameters and no name, as another layer of the net; give each a name, by "
                "which files and test nets find its parameters"
            )
        if other is None or layer.params:
            found.pop(layer.name, None)
            found[layer.name] = layer
    return found


def _is_under(name, group):
    return name == group or name.startswith(f"{group}/")


def _memory(blob):
    """What tells whether two parameters are one: the place of their values."""
    return blob.data.data_ptr(), blob.count


def _mismatch(path, layer, place, source, target):
    return CaffeError(
        f"{path}: cannot copy param {place} weights from layer '{layer}'; shape mismatch.  Source "
        f"param shape is {shape_text(source)}; target param shape is {shape_text(target)}. "
        "To learn this layer's parameters from scratch rather than copying from a saved net, "
        "rename the layer."
    )


def _text(message, field):
    try:
        return getattr(message, field)
    except UnicodeDecodeError:
        return repr(message.SerializeToString()[:40])


def array(tensor):
    """The values as a numpy array, float32, contiguous."""
    return tensor.detach().to("cpu", torch.float32).contiguous().numpy()


def _put(blob, values):
    blob.data.copy_(torch.from_numpy(values).reshape(blob.shape))
