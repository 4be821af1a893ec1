"""The `caffe` command on PyTorch; `--help` shows its use."""

import difflib
import os
import sys

import torch

import torchcaffe
from torchcaffe import as_caffe, log, memory
from torchcaffe.command import devices, score, train
from torchcaffe.command.flags import FLAGS, parse
from torchcaffe.errors import CaffeError

COMMANDS = {
    "train": (train.train, "train or finetune a net"),
    "test": (score.test, "score a net"),
    "time": (score.measure, "measure how long each layer takes"),
    "device_query": (devices.query, "show what GPUs there are"),
}

USAGE = """usage: caffe COMMAND [flags]

commands:
{commands}

flags (-name value, --name value, -name=value):
{flags}

examples:
  caffe train -solver solver.prototxt
  caffe train -solver solver.prototxt -snapshot net_iter_1000.solverstate
  caffe train -solver solver.prototxt -weights net_iter_1000.caffemodel -gpu 0
  caffe test -model train_val.prototxt -weights net_iter_1000.caffemodel -iterations 100
  caffe time -model train_val.prototxt -iterations 10

Files that are named in solvers and nets are looked for from the working directory, as in BVLC
Caffe. Training stops with a snapshot on Ctrl-C, and makes one on SIGHUP. With TORCHCAFFE_FORKS=1 in
the environment there are layers of forks as well (SSD, SegNet and others)."""


def main(arguments):
    """Run the command; returns the exit status."""
    try:
        values, rest = parse(arguments)
    except CaffeError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    if "minloglevel" in values.given:
        os.environ["GLOG_minloglevel"] = str(values.minloglevel)
    if values.version:
        print(f"torchcaffe {torchcaffe.__version__} (Caffe 1.0 on PyTorch {torch.__version__})")
        return 0
    if values.help:
        print(usage())
        return 0
    try:
        run(values, rest)
    except CaffeError as error:
        log.fatal(error)
        return 1
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        said = " ".join(f"{error}".split())
        log.fatal(
            "out of memory; lower batch_size, or the sizes of the net's inputs and layers"
            + (f" ({said[:300]})" if said else "")
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def is_out_of_memory(error):
    """Whether an allocation has failed; on the CPU PyTorch has no exception of its own for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in ("can't allocate memory", "DefaultCPUAllocator"))


def run(values, rest):
    if len(rest) != 1:
        raise CaffeError(
            f"give one command, one of {', '.join(COMMANDS)}"
            + (f"; got {' '.join(rest)}" if rest else "")
            + "; --help shows the use"
        )
    if rest[0] not in COMMANDS:
        near = difflib.get_close_matches(rest[0], COMMANDS, 1)
        raise CaffeError(
            f"Unknown action: {rest[0]}; "
            + (f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}")
        )
    # Python layers say `import caffe`; they mean this one.
    as_caffe.install()
    memory.keep_freed_blocks()
    COMMANDS[rest[0]][0](values)


def usage():
    commands = "\n".join(f"  {name:<14}{text}" for name, (_, text) in COMMANDS.items())
    flags = "\n".join(
        f"  -{flag.name:<16}{flag.help}"
        + (f" (default {flag.default})" if flag.default not in ("", False, True) else "")
        for flag in FLAGS
    )
    return USAGE.format(commands=commands, flags=flags)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
