"""A database from its folder to the LMDBs that training reads: index, align and lmdb in one go.

In the output folder `index.csv` and `faces/`. The LMDBs stand where training looks for them, so
that it finds them built: those of the ten folds, or of the whole database for one that is only
tested on, in data/folds (or $GCNET_FOLDS); those of identities in data/webface, which
prototxt/pretrain_*.prototxt read. index and align go on where a stopped run ended, a finished LMDB
is not built again, and nothing is done where nothing has changed.
"""

from pathlib import Path

from data_prep import align, build_lmdb, databases, lmdb_folder
from data_prep.arguments import at_least
from gcnet import runs
from gcnet.errors import InputError
from gcnet.protocol import CLASSES, FOLDS

IDENTITY_LMDBS = runs.ROOT / "data" / "webface"
# What train_folds.py draws its data with unless it is told otherwise.
SEED = 1


def add_arguments(parser):
    databases.add_arguments(parser, "prepare", _add_more)


def _add_more(parser, database):
    if database.SPLIT != databases.IDENTITIES:
        parser.add_argument(
            "--classes", choices=CLASSES, default=database.CLASSES, help="(default: %(default)s)"
        )
    parser.add_argument(
        "--workers", type=at_least(1), metavar="N", help="processes (default: one per CPU)"
    )


def run(arguments):
    """Make everything and print what was written. Raises InputError as the steps do."""
    database, workers = arguments.database, arguments.workers
    databases.run(arguments)
    faces = arguments.output / "faces"
    arguments.index, arguments.output = arguments.output / "index.csv", faces
    align.run(arguments)

    index = faces / "index.csv"
    if database.SPLIT == databases.IDENTITIES:
        _refuse_another(index)
        _say(IDENTITY_LMDBS, build_lmdb.build_identities(index, IDENTITY_LMDBS, workers=workers))
        print("now: caffe train -solver prototxt/solver_pretrain_autoencoder.prototxt")
        return
    classes, digest = arguments.classes, runs.sha256(index)
    with runs.building_lmdbs():
        if database.SPLIT == databases.TEST_ONLY:
            out = runs.test_lmdbs(index, classes)
            _say(out, build_lmdb.build(index, out, None, classes, 0, 0, workers))
            print(
                f"now: python python/eval_folds.py RUN --index {runs.portable(index)}, with a RUN "
                f"that was trained with --classes {classes}"
            )
            return
        for fold in range(FOLDS):
            out = runs.fold_lmdbs(index, digest, classes, build_lmdb.COPIES, SEED, fold)
            copies = build_lmdb.COPIES
            _say(out, build_lmdb.build(index, out, fold, classes, copies, SEED, workers))
    print(
        f"now: python python/train_folds.py --index {runs.portable(index)} --net s1r1 "
        f"--classes {classes}"
    )


def _refuse_another(index):
    """Raise InputError if IDENTITY_LMDBS were built from another database."""
    try:
        _, description = lmdb_folder.describe(IDENTITY_LMDBS)
    except InputError:
        return
    if Path(description["index"]).resolve() != index.resolve():
        raise InputError(
            f"{IDENTITY_LMDBS}: holds the LMDBs of {description['index']}; move it away first"
        )


def _say(out, result):
    description, built = result
    counts = ", ".join(
        f"{part} {description[part]['records']}" for part in lmdb_folder.parts_of(description)
    )
    left_out = len(description.get("left_out", ()))
    if left_out:
        counts += f"; left out: {left_out} subjects with too few images"
    how = "written" if built else "already built from the same inputs"
    print(f"{runs.portable(out)}: {how} (records: {counts})", flush=True)
