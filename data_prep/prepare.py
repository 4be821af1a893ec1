"""A database from its folder to the LMDBs that training reads: index, align and lmdb in one go.

In the output folder `index.csv` and `faces/`. The LMDBs stand where training looks for them, so
that it finds them built, in data/folds (or $GCNET_FOLDS): those of the ten folds, of the whole
database for one that is only tested on, of identities for pre-training. index and align go on where
a stopped run ended, a finished LMDB is not built again, and nothing is done where nothing has
changed.
"""

from data_prep import align, build_lmdb, databases, lmdb_folder
from data_prep.arguments import at_least
from gcnet import runs
from gcnet.protocol import CLASSES, FOLDS

# What train_folds.py and pretrain.py draw their data with unless they are told otherwise.
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
    digest = runs.sha256(index)
    with runs.building_lmdbs():
        if database.SPLIT == databases.IDENTITIES:
            copies = build_lmdb.IDENTITY_COPIES
            out = runs.identity_lmdbs(index, digest, copies, SEED)
            result = build_lmdb.build_identities(
                index, out, copies=copies, seed=SEED, workers=workers
            )
            _say(out, result)
            print(f"now: python python/pretrain.py autoencoder --index {runs.portable(index)}")
            return
        classes = arguments.classes
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
