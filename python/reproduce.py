"""Redo one of the paper's tables: what is missing of data, weights and runs, then tables, figures
and a report."""

import argparse
import sys

import gcnet_base.interpreter  # noqa: F401 (first: it sees to the right Python)

# isort: split

import gcnet.methods.all  # noqa: F401 (registers the models)
from gcnet.methods.gcnet import experiments
from gcnet_base.errors import one_line_errors

EXAMPLE = """example:
  python python/reproduce.py table2              from data/ckplus and data/casia_webface (make data)
  python python/reproduce.py table2 --quick      everything in minutes, on small synthetic databases
  python python/reproduce.py table4 --synthetic --nets cnn,s1r1
  python python/reproduce.py weights --synthetic  pre-training alone
It prints each command that it runs. The same command again goes on where it was stopped. Results
are in runs/TABLE, runs/synthetic/TABLE or runs/quick/TABLE.
"""


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*experiments.EXPERIMENTS, "weights"])
    scale = parser.add_mutually_exclusive_group()
    for name in ("synthetic", "quick"):
        scale.add_argument(
            f"--{name}", dest="scale", action="store_const", const=name, default="paper",
            help=experiments.SCALES[name].about,
        )  # fmt: skip
    parser.add_argument("--nets", default="", help="only these of the table's nets: cnn,s1r1")
    parser.add_argument("--device", default="cpu", help="cpu (default), or a GPU as gpu:0")
    chosen = parser.parse_args()
    if chosen.what == "weights" and chosen.nets:
        parser.error("--nets: not for weights")
    if chosen.what == "weights":
        experiments.make_weights(experiments.SCALES[chosen.scale], chosen.device)
        return
    nets = [net for net in chosen.nets.split(",") if net]
    for net in nets:
        if net not in [model.name for model in experiments.EXPERIMENTS[chosen.what].models]:
            parser.error(f"--nets: {chosen.what} has no {net}")
    experiments.run(chosen.what, chosen.scale, nets, chosen.device)


if __name__ == "__main__":
    sys.exit(main())
