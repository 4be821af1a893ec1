"""A model's prototxt files with what a training fills in: data, sizes, places, device."""

from gcnet import engine as engines
from gcnet import prototxt
from gcnet.sources import naming, source_messages, source_paths
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, portable
from gcnet_base.protocol import NEUTRAL


def render(run, fold, test_samples, device):
    """The rendered {"net", "solver", "deploy": text} of one fold.

    Beside the paths, the device, the number of classes and of iterations, these follow from the
    run's size:

    - `test_iter`: as many batches as hold the test samples once. Caffe's Data layer fills the last
      batch from the start again, so the accuracy in the log is not exact; gcnet.evaluate's is.
    - `snapshot`, `test_interval`: ten in a run, and never rarer than the solver file says, so that
      a stop loses a tenth at most.
    - `display`: a hundred in a run and never rarer than the solver file says, for the curves.
    """
    folder = ROOT / run.settings.prototxt
    paths = source_paths(run.settings.net, folder)
    messages = source_messages(run.settings.net, folder)
    with naming(paths["net"]):
        _fit_net(run, fold, messages["net"])
        batch = prototxt.value(messages["net"], "data_param.batch_size", "data", "TEST")
    with naming(paths["solver"]):
        settings = run.settings
        fit_solver(
            messages["solver"], run.fold_folder(fold), settings.max_iter,
            -(-test_samples // batch), settings.seed, device,
        )  # fmt: skip
    with naming(paths["deploy"]):
        _fit_classes(run, messages["deploy"])
    return {name: prototxt.text(message, paths[name]) for name, message in messages.items()}


def _fit_classes(run, net):
    path = "inner_product_param.num_output"
    prototxt.set_value(net, path, len(run.class_names), "classifier/fc2")


def _fit_net(run, fold, net):
    lmdb = run.lmdb_folder(fold)
    for phase, part in (("TRAIN", "train"), ("TEST", "test")):
        prototxt.set_value(net, "data_param.source", portable(lmdb / part), "data", phase)
    prototxt.set_value(net, "data_param.batch_size", run.settings.batch, "data", "TRAIN")
    _fit_classes(run, net)
    if any(layer.name == "is_neutral" for layer in net.layer):
        expressions = sum(name != NEUTRAL for name in run.class_names)
        prototxt.set_value(net, "power_param.shift", 1 - expressions, "is_neutral")


def fit_solver(solver, folder, max_iter, test_iter, seed, device):
    """Change a SolverParameter for a training of `folder`/net.prototxt, as `render` says."""

    def capped(name, parts):
        return max(1, min(prototxt.value(solver, name), max_iter // parts))

    for name, value in {
        "net": portable(folder / "net.prototxt"),
        "max_iter": max_iter,
        "test_iter": test_iter,
        "test_interval": capped("test_interval", 10),
        "display": capped("display", 100),
        "snapshot": capped("snapshot", 10),
        "snapshot_prefix": portable(folder / "snapshot"),
        "random_seed": seed,
    }.items():
        prototxt.set_value(solver, name, value)
    for name in ("solver_mode", "device_id"):
        if prototxt.values(solver, name):
            raise InputError(f"has a field {name}; leave it out, and give --device instead")
    # The solvers of prototxt/ leave this to the command line.
    gpu = engines.gpu_of(device)
    solver.solver_mode = solver.CPU if gpu is None else solver.GPU
    if gpu is not None:
        solver.device_id = gpu
