"""Everything that is to be known of torchcaffe on a GPU, in nine minutes at most.

layers: every parity case of tests/parity/cases, and trainings: all solvers and the six models, on
the GPU beside the CPU. speed: training and inference beside PyTorch by hand, and a profile. folds:
S1R1 and CNN on two folds in what time is left. Results go into the --output folder as they come:
report.md to read, results.json, reproductions.md for what failed, log.txt. A part that fails is
written down, and the next one goes on.

Without a GPU it rehearses: everything on the CPU, in its shortest form. Status 1 says that
something failed. bench/gpu_luggage.py packs what a machine without network may lack.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("bench", "bench/workers", "python", "", "tests", "tests/parity")
PATHS = [str(ROOT / folder) for folder in FOLDERS]
sys.path[:0] = PATHS

from on_gpu import luggage, report, workers  # noqa: E402
from on_gpu.results import Results  # noqa: E402

from gcnet_base.cores import available_cores  # noqa: E402
from gcnet_base.errors import InputError, one_line_errors  # noqa: E402

PARTS = {"layers": 0.25, "trainings": 0.4, "speed": 0.72, "folds": 0.97}
"""{part: the share of the minutes at which it ends at the latest}"""

SILENCE = {"layers": 60, "trainings": 170, "speed": 180, "folds": 150}
"""{part: seconds without a sign of life after which a process is given up}"""


def machine(device):
    """{what: value} of the card, the processor and the versions; what fails is left out."""
    import numpy
    import torch

    def smi(field):
        query = ["nvidia-smi", "--id=0", f"--query-gpu={field}", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip()

    def circumstances():
        import results_file

        found = results_file.circumstances("gpu.py")
        return f"{found['revision']}, {found['cores']} cores of {found['processor']}"

    facts = {
        "device": lambda: str(device),
        "card": lambda: torch.cuda.get_device_name(device) if device.type == "cuda" else "none",
        "driver": lambda: smi("driver_version"),
        "memory": lambda: smi("memory.total"),
        "torch": lambda: torch.__version__,
        "CUDA": lambda: torch.version.cuda,
        "cuDNN": lambda: torch.backends.cudnn.version(),
        "Python": platform.python_version,
        "numpy": lambda: numpy.__version__,
        "revision": circumstances,
        "convolutions in": lambda: "float32, without TF32",
    }
    found = {}
    for name, fact in facts.items():
        try:
            found[name] = fact()
        except Exception as error:
            found[name] = f"unknown ({type(error).__name__})"
    return {name: value for name, value in found.items() if value}


def processes(part, rehearsal):
    if part == "folds":
        return 4
    return 1 if rehearsal or part == "speed" else max(1, min(4, available_cores() // 2))


def run(part, arguments, results, job, log, ends):
    """Work off a part; its failures are kept in the results."""
    module = __import__(f"on_gpu.{part}", fromlist=["items"])
    given = {"seed": arguments.seed, "types": arguments.types} if part == "layers" else {}
    items = module.items(job["rehearsal"], **given)
    results.begin(part, items)
    count = processes(part, job["rehearsal"])
    threads = 1 if job["rehearsal"] else max(1, available_cores() // count)
    job = {**job, "threads": threads}
    work = workers.Workers(
        part, items, job, workers.environment(job["paths"]), log, count, SILENCE[part]
    )
    for number, result in work.results(ends):
        results.add(part, number, result)
    results.write()


def parser():
    made = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python bench/gpu.py --output runs/bench-gpu",
    )
    made.add_argument(
        "--output", type=Path, default=ROOT / "runs" / "bench-gpu", metavar="FOLDER",
        help="folder for the results (default: runs/bench-gpu)",
    )  # fmt: skip
    made.add_argument(
        "--minutes", type=float, default=9, help="when it ends at the latest (default: %(default)s)"
    )
    made.add_argument(
        "--parts", default=",".join(PARTS), metavar="A,B", help="default: %(default)s"
    )
    made.add_argument("--types", metavar="A,B", help="types of layers to compare (default: all)")
    made.add_argument("--seed", type=int, default=1, help="of the layers' cases (default: 1)")
    made.add_argument(
        "--rehearsal", action="store_true", help="the shortest form, also where there is a GPU"
    )
    return made


@one_line_errors
def main():
    arguments = parser().parse_args()
    begun = time.time()
    chosen = arguments.parts.split(",")
    for part in chosen:
        if part not in PARTS:
            raise InputError(f"--parts: no part {part!r}; choose from {', '.join(PARTS)}")
    arguments.types = arguments.types.split(",") if arguments.types else None
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.output)
    with (
        tempfile.TemporaryDirectory(prefix="gcnet-gpu-") as scratch,
        open(arguments.output / "log.txt", "w") as log,
    ):
        packages, folds = luggage.unpack(Path(scratch))
        if packages:
            sys.path.insert(0, str(packages))
        from on_gpu.place import device as find_device

        device = find_device()
        rehearsal = arguments.rehearsal or device.type == "cpu"
        if device.type == "cpu":
            print("PyTorch finds no GPU here: this is a rehearsal on the CPU.", flush=True)
        results.content["machine"] = machine(device)
        job = {
            "device": str(device), "folder": scratch, "folds": folds and str(folds),
            "rehearsal": rehearsal, "paths": [*([str(packages)] if packages else []), *PATHS],
        }  # fmt: skip
        for part in chosen:
            ends = begun + 60 * arguments.minutes * (PARTS[part] if part != chosen[-1] else 0.97)
            print(f"{part}: {max(0, ends - time.time()):.0f} s at most", flush=True)
            try:
                run(part, arguments, results, job, log, ends)
            except Exception as error:
                results.fail(part, f"{type(error).__name__}: {error}")
    print((arguments.output / "report.md").read_text())
    print(f"{arguments.output}: {', '.join(sorted(os.listdir(arguments.output)))}")
    return 1 if report.failures(results.content) else 0


if __name__ == "__main__":
    sys.exit(main())
