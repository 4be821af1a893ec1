"""Draw the paper's figures 4, 5, 6 and 11 from evaluated runs, as PNG and PDF."""

import argparse
import shlex
import sys

import gcnet_base.interpreter  # noqa: F401 (first: it sees to the right Python)

# isort: split

import gcnet.methods.all  # noqa: F401 (registers the models)
from gcnet import runs
from gcnet.evaluate import evaluated
from gcnet.methods.gcnet import contrastive_weight, figures
from gcnet.report import plots
from gcnet_base.errors import one_line_errors
from gcnet_base.paths import portable
from gcnet_base.protocol import FOLDS

EXAMPLE = """example (first: python python/eval_folds.py runs/ckplus-s1r1 runs/ckplus-cnn):
  python python/figures.py fig4 --run runs/ckplus-s1r1
  python python/figures.py fig5 --run runs/ckplus-s1r1 --cnn runs/ckplus-cnn
  python python/figures.py fig6 --run runs/ckplus-s1r1 --cnn runs/ckplus-cnn --fold 3
  python python/figures.py fig11 --run runs/ckplus-s1r1 --loss-weights 0,0.1,1
Each is written into the folder of --run, as figures/fig4.png and figures/fig4.pdf. The last one
trains two folds for each weight; the same command again resumes what was stopped.
"""

SUMMARIES = {
    "fig4": "test faces, the generated references and the reconstructions",
    "fig5": "t-SNE of pixels, CNN features and GCNet features of test images",
    "fig6": "t-SNE of features along whole test sequences, from neutral to apex",
    "fig11": "accuracy against the weight of the contrastive loss",
}


@one_line_errors
def main():
    chosen = _parser().parse_args()
    run = runs.load(chosen.run)
    if chosen.figure == "fig4":
        figure, caption = figures.figure4(evaluated.load(run), chosen.fold)
    elif chosen.figure == "fig11":
        weights = contrastive_weight.parse(chosen.loss_weights)
        command = shlex.join(["python", *sys.argv])
        figure, caption = contrastive_weight.figure11(
            run, weights, chosen.device, chosen.jobs, command
        )
    else:
        draw = {"fig5": figures.figure5, "fig6": figures.figure6}[chosen.figure]
        cnn = evaluated.load(runs.load(chosen.cnn))
        figure, caption = draw(evaluated.load(run), cnn, chosen.fold)
    print(caption)
    for path in plots.save(figure, figures.stem(run, chosen.figure), caption):
        print(f"written: {portable(path)}")


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    for name, summary in SUMMARIES.items():
        command = commands.add_parser(
            name, help=summary, description=f"Draw {summary}.", epilog=EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.add_argument("--run", required=True, help="run folder of a GCNet")
        if name in ("fig5", "fig6"):
            command.add_argument("--cnn", required=True, help="run folder of a CNN, same index")
        if name != "fig11":
            command.add_argument(
                "--fold", type=int, choices=range(FOLDS), metavar="K",
                help="whose test subjects, 0 to 9 (default: the first fold that is finished)",
            )  # fmt: skip
            continue
        command.add_argument(
            "--loss-weights", default=",".join(f"{w:g}" for w in contrastive_weight.WEIGHTS),
            metavar="A,B", help="of the contrastive loss (default %(default)s)",
        )  # fmt: skip
        command.add_argument(
            "--device", default="cpu", help="cpu (default), or a GPU as gpu:0, for the trainings"
        )
        command.add_argument("--jobs", type=int, help="folds that train at a time (train_folds.py)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
