"""What every engine's worker does: wait for the word on standard input, run once, say the seconds.

Python 3.9 and numpy 1.19 suffice: BVLC Caffe's Python runs it as well. A worker is started in the
workspace that engines.py makes, as `worker.py <task> <net> <batch>`, and answers

    run       the seconds of one iteration
    memory    the peak of its resident memory so far, in MB

after one line `ready <versions>`.
"""

import sys
import time

import numpy as np

TOLERANCE = 1e-4


def serve(iteration, repeats, versions):
    """Answer until standard input ends. `run` repeats a short iteration and says the mean."""
    print("ready", versions, flush=True)
    for command in sys.stdin:
        if command.strip() == "memory":
            print(_peak_memory(), flush=True)
            continue
        start = time.perf_counter()
        for _ in range(repeats):
            iteration()
        print((time.perf_counter() - start) / repeats, flush=True)


def _peak_memory():
    with open("/proc/self/status") as status:
        kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(kilobytes) / 1024


def arguments():
    """(task, net, batch) of the command line."""
    task, net, batch = sys.argv[1:]
    return task, net, int(batch)


def repeats(batch):
    """How many inferences make one iteration: enough to time, few enough to stay fair."""
    return 2 if batch > 1 else 30


def weights(net):
    """{"layer/number of the blob": array} of inference, the same for all engines."""
    with np.load("reference/" + net + ".npz") as arrays:
        return {name: arrays[name] for name in arrays.files if "/" in name}


def images(net, batch):
    """float32 batch x 1 x 64 x 64."""
    with np.load("reference/" + net + ".npz") as arrays:
        return arrays["image"][:batch].copy()


def check(net, outputs):
    """Raise ValueError unless {blob: array} are BVLC Caffe's own outputs within TOLERANCE."""
    with np.load("reference/" + net + ".npz") as arrays:
        for blob, got in outputs.items():
            expected = arrays[blob][: len(got)]
            error = np.abs(got - expected).max() if got.shape == expected.shape else np.inf
            if not error <= TOLERANCE * max(1, np.abs(expected).max()):
                raise ValueError(
                    "{} of {} is off BVLC Caffe's by {}, expected at most {}".format(
                        blob, net, error, TOLERANCE
                    )
                )
