"""Train a net on the folds of a face database, with `caffe train`, into a run folder."""

import argparse
import shlex
import sys

import gcnet_base.interpreter  # noqa: F401 (first: it sees to the right Python)

# isort: split

import gcnet.methods.all  # noqa: F401 (registers the models)
from data_prep.lmdbs.build import COPIES, SEED
from gcnet import models, runs
from gcnet.engine import ENGINES
from gcnet.train import cross_validation
from gcnet_base.errors import one_line_errors
from gcnet_base.protocol import CLASSES

EXAMPLE = """example:
  python python/train_folds.py --index data/ckplus/faces/index.csv --net s1r1 --folds 0-9 \\
      --classes 7 --max-iter 2000 --run runs/ckplus-s1r1
The same command again resumes what was stopped and skips what is finished. Folds are trained side
by side, one on a core; --jobs 1 trains them one after the other, each on all cores.
"""


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", required=True, help="index.csv of aligned faces")
    parser.add_argument(
        "--net",
        required=True,
        choices=models.names(),
        metavar="NET",
        help=", ".join(models.names()),
    )
    parser.add_argument("--folds", default="0-9", help="as 0-9 or 0,3 (default %(default)s)")
    parser.add_argument(
        "--classes", choices=CLASSES, default="7",
        help="7 or 8 of CK+, 6 of MMI and Oulu-CASIA, 6+neutral of Table VI (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--max-iter", type=int, help="iterations (default: the solver's, 300000)")
    parser.add_argument("--batch", type=int, help="pairs in a batch (default: the net's, 64)")
    parser.add_argument("--run", help="run folder (default runs/DATABASE-NET-CLASSES)")
    parser.add_argument(
        "--engine", choices=ENGINES, help="which Caffe (default: GCNET_ENGINE, else torch)"
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), or a GPU as gpu:0")
    parser.add_argument(
        "--jobs", type=int,
        help="folds that train at a time (default: as many as cores, 1 on a GPU); S1R1 takes 3 GB "
        "for each",
    )  # fmt: skip
    parser.add_argument("--weights", default="", help=".caffemodel files to start from: a,b")
    parser.add_argument(
        "--copies", type=int, default=COPIES, help="augmented copies of each face (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of data and training (%(default)s)")
    parser.add_argument(
        "--prototxt", metavar="FOLDER",
        help="nets and solvers (default: the net's own folder, prototxt/); a changed copy of it "
        "makes an experiment",
    )  # fmt: skip
    chosen = parser.parse_args()
    settings = runs.Settings(
        net=chosen.net,
        classes=chosen.classes,
        max_iter=chosen.max_iter,
        batch=chosen.batch,
        index=chosen.index,
        copies=chosen.copies,
        seed=chosen.seed,
        engine=chosen.engine,
        weights={path: None for path in chosen.weights.split(",") if path},
        prototxt=chosen.prototxt,
    )
    run = cross_validation.train(
        settings,
        cross_validation.parse_folds(chosen.folds),
        shlex.join(["python", *sys.argv]),
        chosen.run,
        chosen.device,
        chosen.jobs,
    )
    print(f"trained into {run.name}; now: python python/eval_folds.py {run.name}")


if __name__ == "__main__":
    sys.exit(main())
