"""A process that works off items: `python -m on_gpu.worker`, started by workers.py.

Standard input is one line of JSON: the module (`layers`), what Place says, and the items. On
standard output go lines of JSON: {"begun": number of the item}, then for each result {"item":
number, "result": ...}, then {"done": number}. A failure is a result {"failure": text}. The process
ends where the device has failed for good, as a GPU does for its process after a wrong address.
"""

import gc
import importlib
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

SHORT = 2000


def failure(error):
    """The last line of what a person would see, and above it the place in the code."""
    lines = [line for line in f"{type(error).__name__}: {error}".strip().splitlines() if line]
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{' '.join(lines)[:SHORT]} ({Path(where.filename).name}:{where.lineno})"


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(**line):
        print(json.dumps(line), file=answers, flush=True)

    job = json.loads(sys.stdin.readline())
    from torchcaffe import as_caffe, memory

    as_caffe.install()
    memory.keep_freed_blocks()
    import torch

    from on_gpu.place import Place

    # One flag for conv and another for RNN: whoever asks PyTorch for both gets an error.
    torch.backends.cudnn.rnn.fp32_precision = "ieee"
    torch.set_num_threads(job["threads"])
    module = importlib.import_module(f"on_gpu.{job['module']}")
    for number, item in job["items"]:
        say(begun=number)
        with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
            os.chdir(folder)
            place = Place(
                torch.device(job["device"]), Path(folder), job["folds"] and Path(job["folds"]),
                time.monotonic() + job["ends"] - time.time(), job["rehearsal"],
            )  # fmt: skip
            try:
                for result in module.work(item, place):
                    say(item=number, result=result)
            except Exception as error:
                traceback.print_exc()
                say(item=number, result={"failure": failure(error)})
            os.chdir("/")
        gc.collect()  # a solver and its nets know each other
        say(done=number)
        try:
            place.wait()
        except Exception as error:
            sys.exit(f"the device has failed: {error}")


if __name__ == "__main__":
    main()
