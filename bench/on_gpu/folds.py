"""S1R1 and CNN side by side on folds 0 and 1 of the luggage, for as long as there is time.

An item is a training, with the project's solver and batches of 64, tested now and then on all
images of the fold's test people: accuracy by image, and the half squared error a face (eq. 5) of
the generated reference beside that of the input itself. Without luggage both folds are noise, which
tries the way and says nothing of the nets.
"""

import time

import lmdb
import torch
import workspace

from gcnet_base.paths import ROOT
from torchcaffe import solver as solvers
from torchcaffe.schema import read

BATCH = 64
TEST_SECONDS, SHORTEST = 60, 2
LOOK_SECONDS = 1
"""About how long iterations run between two looks at the clock."""
NOISE_RECORDS, FEW_RECORDS = 128, 8


def items(rehearsal):
    folds = (0,) if rehearsal else (0, 1)
    return [{"net": net, "fold": fold} for net in ("s1r1", "cnn") for fold in folds]


def work(item, place):
    """Yields a result for each test: iteration, seconds of training, accuracy, errors."""
    solver = _solver(item, place)
    test_net = solver.test_nets[0]
    started, tested, training, count = time.monotonic(), time.monotonic(), 0.0, 1
    while True:
        begun = time.monotonic()
        solver.step(count)
        place.wait()
        took = time.monotonic() - begun
        training += took
        count = max(1, min(2 * count, int(count * LOOK_SECONDS / max(took, 1e-6))))
        last = place.seconds_left < SHORTEST + 2 * took
        last = last or place.rehearsal and solver.iter >= 3
        if last or time.monotonic() - tested > TEST_SECONDS:
            tested = time.monotonic()
            yield {
                "iteration": solver.iter, "seconds": round(tested - started, 1),
                "iterations a second": round(solver.iter / training, 2),
                "loss": float(solver.smoothed_loss), "data": "faces" if place.folds else "noise",
                **_test(test_net),
            }  # fmt: skip
        if last:
            return


def _solver(item, place):
    parameter = read.solver(ROOT / "prototxt" / f"solver_{item['net']}.prototxt")
    net = read.net(ROOT / parameter.net)
    if place.folds is None:
        (place.folder / "lmdb").mkdir()
        (place.folder / "webface").mkdir()
        records = FEW_RECORDS if place.rehearsal else NOISE_RECORDS
        workspace.write_faces(place.folder, records=records)
        fold = place.folder / "lmdb"
    else:
        fold = place.folds / f"fold{item['fold']}"
    for layer in net.layer:
        if layer.type == "Data":
            part = layer.data_param.source.rsplit("/", 1)[1]
            layer.data_param.source = str(fold / part)
            size = 4 if place.rehearsal else BATCH
            layer.data_param.batch_size = size if part == "train" else _records(fold / part)
    for field in ("net", "test_iter", "snapshot", "display"):
        parameter.ClearField(field)
    parameter.net_param.CopyFrom(net)
    parameter.test_iter.append(1)
    parameter.test_interval = 2**31 - 1
    return solvers.Solver(parameter, place.device)


def _records(path):
    with lmdb.open(str(path), readonly=True, lock=False) as database:
        return database.stat()["entries"]


@torch.no_grad()
def _test(net):
    """Of one batch, which holds all test images."""
    net.forward(keep=False)
    found = {"accuracy": round(100 * float(net.blobs["accuracy"].data), 2)}
    if "generated" in net.blobs:
        image, real = net.blobs["image"].data, net.blobs["reference"].data
        for name, made in (("generated", net.blobs["generated"].data), ("unchanged", image)):
            errors = 0.5 * (made - real).square().sum((1, 2, 3))
            found[f"error, {name}"] = round(float(errors.mean()), 3)
    return found
