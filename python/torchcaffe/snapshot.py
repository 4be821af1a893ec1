"""Snapshots: a training's state in files, as BVLC Caffe writes and reads them.

PREFIX_iter_N.caffemodel holds the parameters (weights.py), PREFIX_iter_N.solverstate how far the
solver is: the iteration, the step of its lr_policy, the histories, and the first file's name.
`snapshot_format: HDF5` adds .h5 to both names.
"""

import io
import math
import os

import h5py
import numpy as np
import torch

from torchcaffe import log, protofile, weights
from torchcaffe.errors import CaffeError
from torchcaffe.schema import caffe_pb2


def save(solver):
    """Write both files; returns their paths. Raises CaffeError if one cannot be written."""
    prefix = f"{solver.param.snapshot_prefix}_iter_{solver.iter}"
    diff = solver.param.snapshot_diff
    if solver.param.snapshot_format == caffe_pb2.SolverParameter.HDF5:
        model, state = f"{prefix}.caffemodel.h5", f"{prefix}.solverstate.h5"
        log.info(f"Snapshotting to HDF5 file {model}")
        weights.save_hdf5(solver.net, model, diff)
        log.info(f"Snapshotting solver state to HDF5 file {state}")
        _save_state_hdf5(solver, state, model)
    else:
        model, state = f"{prefix}.caffemodel", f"{prefix}.solverstate"
        log.info(f"Snapshotting to binary proto file {model}")
        weights.save(solver.net, model, diff)
        log.info(f"Snapshotting solver state to binary proto file {state}")
        _save_state(solver, state, model)
    return model, state


def restore(solver, path):
    """Set the solver and its net to what the files hold.

    Raises CaffeError for files that are damaged or of another solver type or net.
    """
    if os.fspath(path).endswith(".h5"):
        iteration, model, step, history = _load_state_hdf5(solver, path)
    else:
        iteration, model, step, history = _load_state(solver, path)
    if iteration < 0 or step < 0:
        raise CaffeError(f"{path}: says iteration {iteration}, step {step}; the file is damaged")
    if model:
        weights.copy_from(solver.net, model)
    solver.iter, solver.current_step = iteration, step
    for tensor, values in zip(solver.history, history):
        tensor.copy_(torch.from_numpy(values).reshape(tensor.shape))


def _save_state(solver, path, model):
    state = protofile.SolverState(
        iter=solver.iter, learned_net=model, current_step=solver.current_step
    )
    for tensor in solver.history:
        protofile.fill(state.history.add(), tensor.shape, weights.array(tensor))
    protofile.write(path, protofile.serialized(state, path))


def _load_state(solver, path):
    state = protofile.read(path, protofile.SolverState, "a solverstate")
    if not state.HasField("iter"):
        raise CaffeError(f"{path}: has no iteration; expected a solverstate")
    _check_count(solver, path, len(state.history))
    history = []
    for place, (blob, tensor) in enumerate(zip(state.history, solver.history)):
        what = f"{path}: history {place}"
        _check_shape(what, protofile.shape(blob), tuple(tensor.shape))
        history.append(protofile.values(blob, what))
    return state.iter, state.learned_net, state.current_step, history


def _save_state_hdf5(solver, path, model):
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["iter"] = np.array([solver.iter], np.int32)
        # BVLC reads the text up to a zero byte, which so has to be among those stored.
        text = model.encode()
        file["learned_net"] = np.array(text, h5py.string_dtype("ascii", len(text) + 1))
        file["current_step"] = np.array([solver.current_step], np.int32)
        group = file.create_group("history")
        for place, tensor in enumerate(solver.history):
            group[str(place)] = weights.array(tensor)
    protofile.write(path, memory.getbuffer())


def _load_state_hdf5(solver, path):
    with weights.open_hdf5(path) as file:
        group = weights.hdf5_member(file, "history", f"{path}: /history")
        if not isinstance(group, h5py.Group):
            raise CaffeError(f"{path}: has no group /history; it is no solverstate in HDF5")
        _check_count(solver, path, len(group))
        history = []
        for place, tensor in enumerate(solver.history):
            what = f"{path}: history {place}"
            dataset = weights.hdf5_member(group, str(place), what)
            _check_shape(what, weights.dataset_shape(dataset, what), tuple(tensor.shape))
            history.append(weights.dataset_values(dataset, what))
        numbers = [_integer(file, name, path) for name in ("iter", "current_step")]
        return numbers[0], _string(file, path), numbers[1], history


def _integer(file, name, path):
    what = f"{path}: {name}"
    dataset = weights.hdf5_member(file, name, what)
    if math.prod(weights.dataset_shape(dataset, what)) != 1:
        raise CaffeError(f"{what}: is not one number; the file is damaged")
    return int(weights.dataset_values(dataset, what)[0])


def _string(file, path):
    dataset = weights.hdf5_member(file, "learned_net", f"{path}: learned_net")
    if dataset is None:
        return ""
    is_text = isinstance(dataset, h5py.Dataset) and dataset.dtype.kind in "SO"
    if not is_text or dataset.shape != ():
        raise CaffeError(f"{path}: learned_net is not a text; the file is damaged")
    text = dataset[()]
    return text.split(b"\0")[0].decode(errors="replace") if isinstance(text, bytes) else str(text)


def _check_count(solver, path, count):
    if count != len(solver.history):
        raise CaffeError(
            f"{path}: has {count} history blobs, expected {len(solver.history)} for a "
            f"{solver.param.type} solver of {len(solver.net.learnable)} parameters; resume with "
            "the net and the solver type that wrote it"
        )


def _check_shape(what, source, target):
    if not protofile.fits(source, target):
        raise CaffeError(
            f"{what}: is of shape {' '.join(map(str, source))}, expected "
            f"{' '.join(map(str, target))}; resume with the net that wrote it"
        )
