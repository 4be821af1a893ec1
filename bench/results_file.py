"""The part of results.md that a script of this folder writes, and where it was measured."""

import platform
import subprocess
import sys

from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT


def circumstances(script):
    """{what: value}: the command line of bench/`script`, processor, cores, revision."""
    with open("/proc/cpuinfo") as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    describe = ["git", "describe", "--always", "--dirty"]
    revision = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "command": " ".join([f"python bench/{script}", *sys.argv[1:]]),
        "processor": models[0] if models else platform.machine(),
        "cores": available_cores(),
        "revision": revision or "unknown",
    }


def write(path, script, text):
    """Put the text between the marker comments of bench/`script` in a file, or at its end."""
    begin, end = (f"<!-- bench/{script} writes {way} here -->" for way in ("from", "to"))
    old = path.read_text() if path.exists() else ""
    before, _, rest = old.partition(begin)
    _, ended, after = rest.partition(end)
    if bool(rest) != bool(ended):
        raise InputError(f"{path}: has '{begin}' without '{end}' after it; mend it")
    after = after or "\n"
    if before and not before.endswith("\n\n"):
        before = before.rstrip("\n") + "\n\n"
    path.write_text(f"{before}{begin}\n{text}{end}{after}")
