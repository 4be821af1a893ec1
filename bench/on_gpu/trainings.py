"""Short trainings of all solvers and of the six models: on the GPU next to the CPU.

Both start from the same weights and see the same data. An item is a solver, or a model in one of
two ways: `clear` on batches in which no choice is close (tests/parity/run_clear_training.py), where
right engines must agree, and `free` from an LMDB at full size, where a max pooling or a ReLU whose
choice is within rounding may go another way and an unpooling then makes much of it: there the
difference is told and not judged, but for the first iteration of nets without unpooling.
"""

import numpy as np

from parity import engines, models

SOLVER_ITERATIONS, MODEL_ITERATIONS = 50, 10
TOLERANCES = {"solver": 1e-4, "loss": 2e-5, "change": 1e-3, "first": 1e-4}
"""As the tests': of the parameters after a solver's iterations; of clear losses, and of the changes
of parameters there beside 8 rounding units; of the first loss of a free training."""


def items(rehearsal):
    solvers = [{"kind": "solver", "name": name} for name in engines.TYPES]
    clear = [{"kind": "clear", "name": name} for name in models.MODELS]
    free = [{"kind": "free", "name": name} for name in models.MODELS]
    return [*solvers, *clear, *free]


def work(item, place):
    return {"solver": solver, "clear": clear, "free": free}[item["kind"]](item["name"], place)


def solver(name, place):
    """Yields the differences of the parameters, in shares of their largest magnitude."""
    import caffe

    iterations = 2 if place.rehearsal else SOLVER_ITERATIONS
    engines.make_folder(place.folder)
    path = engines.write_solver(place.folder, name, name)
    weights = f"{name}.caffemodel"
    after = []
    for compute in (place.compute_on_cpu, place.compute_here):
        compute()
        made = caffe.get_solver(path)
        made.net.copy_from(weights) if after else made.net.save(weights)
        after.append([])
        for step in steps(iterations):
            made.step(step)
            after[-1].append(parameters(made.net))
    result = {}
    for done, expected, got in zip(np.cumsum(steps(iterations)), *after):
        result[f"iteration {done}"] = max(_share(got[key], expected[key]) for key in expected)
    yield judged(result, max(result.values()), TOLERANCES["solver"])


def steps(iterations):
    """Numbers of iterations between looks: after 1, 10 and all."""
    ends = [end for end in (1, 10, iterations) if end <= iterations]
    return np.diff([0, *dict.fromkeys(ends)]).tolist()


def parameters(net):
    return {
        f"{layer} {place}": blob.data.copy()
        for layer, blobs in net.params.items()
        for place, blob in enumerate(blobs)
    }


def clear(name, place):
    """Yields differences of losses and of parameters' changes, in shares of their largest."""
    from parity import run_clear_training

    models.write_models(place.folder, models.into_input)
    job = {
        "solver": f"prototxt/solver_{name}.prototxt", "weights": "start.caffemodel",
        "batches": "batches.npz", "seed": models.CLEAR_SEED,
        "iterations": 1 if place.rehearsal else MODEL_ITERATIONS,
    }  # fmt: skip
    if place.rehearsal:
        job["candidates"] = 1
    place.compute_on_cpu()
    expected = run_clear_training.train(job)
    place.compute_here()
    got = run_clear_training.train(job)
    result = {"losses": 0.0, "changes": 0.0}
    for key in expected:
        theirs, ours = np.array(expected[key]), np.array(got[key])
        if "loss" in key:
            result["losses"] = max(result["losses"], _share(ours, theirs))
        elif key.startswith("change"):
            rounding = 8 * np.spacing(np.abs(expected[key.replace("change", "end")]))
            excess = np.maximum(np.abs(ours - theirs) - rounding, 0)
            result["changes"] = max(result["changes"], _share(theirs + excess, theirs))
    worst = max(result["losses"] / TOLERANCES["loss"], result["changes"] / TOLERANCES["change"])
    # With one candidate to choose from, choices are close.
    yield result if place.rehearsal else judged(result, worst, 1)


def free(name, place):
    """Yields the differences of the losses at some iterations, in shares of the curve's largest."""
    from parity import run_training

    models.write_models(place.folder, models.small_batches)
    models.write_noise(place.folder)
    job = {
        "solver": f"prototxt/solver_{name}.prototxt", "weights": "start.caffemodel",
        "iterations": 2 if place.rehearsal else MODEL_ITERATIONS, "test_iterations": 1,
    }  # fmt: skip
    place.compute_on_cpu()
    expected = run_training.train(job)
    place.compute_here()
    got = run_training.train(job)
    result = {}
    for key in expected:
        if key.startswith("curve loss"):
            off = np.abs(got[key] - expected[key]) / np.abs(expected[key]).max()
            off = np.nan_to_num(off, nan=np.inf)
            for iteration in dict.fromkeys((1, len(off))):
                here = f"iteration {iteration}"
                result[here] = max(result.get(here, 0.0), float(off[iteration - 1]))
    unpools = name not in ("cnn", "mlcnn")
    yield result if unpools else judged(result, result["iteration 1"], TOLERANCES["first"])


def judged(result, worst, most):
    """The result, with a failure if `worst` is more than `most` or not a number."""
    if not worst <= most:
        result["failure"] = f"off by {worst:.2g}, expected at most {most:g}"
    return result


def _share(got, expected):
    greatest, largest = np.abs(got - expected).max(), np.abs(expected).max()
    if not np.isfinite(greatest):
        return float("inf")
    return 0.0 if greatest == 0 else float(greatest / largest) if largest else float("inf")

