"""Pre-train Encoder_1 (autoencoder) or Encoder_2 (identity) into weights/, with `caffe train`."""

import argparse
import shlex
import sys

import gcnet_base.interpreter  # noqa: F401 (first: it sees to the right Python)

# isort: split

from data_prep.lmdbs.build import IDENTITY_COPIES, SEED
from gcnet.engine import ENGINES
from gcnet.models import PROTOTXT
from gcnet.train import encoders
from gcnet_base.errors import one_line_errors

EXAMPLE = """example:
  python python/pretrain.py autoencoder --index data/casia_webface/faces/index.csv
  python python/pretrain.py identity --index data/casia_webface/faces/index.csv
  python python/train_folds.py --weights weights/encoder1.caffemodel,weights/encoder2.caffemodel ...
The same command again resumes what was stopped. `make weights` does both on synthetic faces.
"""


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=encoders.PARTS)
    parser.add_argument("--index", required=True, help="index.csv of aligned faces of many people")
    parser.add_argument(
        "-o", "--output", default=encoders.WEIGHTS, metavar="FOLDER",
        help="folder of encoder1.caffemodel or encoder2.caffemodel (default weights/)",
    )  # fmt: skip
    parser.add_argument(
        "--runs", default=encoders.FOLDER, metavar="FOLDER",
        help="where it trains, in a folder of its own (default runs/pretrain)",
    )  # fmt: skip
    parser.add_argument("--max-iter", type=int, help="iterations (default: the solver's, 300000)")
    parser.add_argument("--batch", type=int, help="faces in a batch (default: the net's, 64)")
    parser.add_argument(
        "--engine", choices=ENGINES, help="which Caffe (default: GCNET_ENGINE, else torch)"
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), or a GPU as gpu:0")
    parser.add_argument(
        "--copies", type=int, default=IDENTITY_COPIES,
        help="augmented copies of each face (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=SEED, help="of data and training (%(default)s)")
    parser.add_argument(
        "--prototxt", default=PROTOTXT, metavar="FOLDER",
        help="nets and solvers (default prototxt/); a changed copy of it makes an experiment",
    )  # fmt: skip
    chosen = parser.parse_args()
    settings = encoders.Settings(
        part=chosen.part,
        index=chosen.index,
        max_iter=chosen.max_iter,
        batch=chosen.batch,
        copies=chosen.copies,
        seed=chosen.seed,
        engine=chosen.engine,
        prototxt=chosen.prototxt,
    )
    command = shlex.join(["python", *sys.argv])
    encoders.pretrain(settings, command, chosen.output, chosen.runs, chosen.device)


if __name__ == "__main__":
    sys.exit(main())
