"""A database from its folder to the LMDBs that training reads: index, align and lmdb in one go.

In the output folder `index.csv` and `faces/`. The LMDBs stand where training looks for them, so
that it finds them built, in data/folds (or $GCNET_FOLDS): those of the ten folds, of the whole
database for one that is only tested on, of identities for pre-training. index and align go on where
a stopped run ended, a finished LMDB is not built again, and nothing is done where nothing has
changed.
"""

from data_prep import databases
from data_prep.faces.align import align_and_say
from data_prep.lmdbs import contents, places
from data_prep.lmdbs.build import COPIES, IDENTITY_COPIES, SEED, build, build_identities
from gcnet_base.paths import portable, sha256
from gcnet_base.protocol import FOLDS


def prepare(database, root, output, strict, options, classes, workers):
    """Make everything and print what was written. Raises InputError as the steps do.

    `database`, `root`, `output`, `strict` and `options` as of databases.write_index; `classes` is a
    name of protocol.CLASSES, None for a database of identities.
    """
    databases.write_index(database, root, output, strict, options)
    faces = output / "faces"
    align_and_say(output / "index.csv", faces, workers, strict)
    index = faces / "index.csv"
    with places.building():
        if database.SPLIT == databases.IDENTITIES:
            _identities(index, workers)
        elif database.SPLIT == databases.TEST_ONLY:
            _test_only(index, classes, workers)
        else:
            _folds(index, classes, workers)


def _identities(index, workers):
    out = places.of_identities(index, sha256(index), IDENTITY_COPIES, SEED)
    _say(out, build_identities(index, out, copies=IDENTITY_COPIES, seed=SEED, workers=workers))
    print(f"now: python python/pretrain.py autoencoder --index {portable(index)}")


def _test_only(index, classes, workers):
    out = places.of_test(index, classes)
    _say(out, build(index, out, None, classes, 0, 0, workers))
    print(
        f"now: python python/eval_folds.py RUN --index {portable(index)}, with a RUN "
        f"that was trained with --classes {classes}"
    )


def _folds(index, classes, workers):
    digest = sha256(index)
    for fold in range(FOLDS):
        out = places.of_fold(index, digest, classes, COPIES, SEED, fold)
        _say(out, build(index, out, fold, classes, COPIES, SEED, workers))
    print(
        f"now: python python/train_folds.py --index {portable(index)} --net s1r1 "
        f"--classes {classes}"
    )


def _say(out, result):
    description, built = result
    counts = ", ".join(
        f"{part} {description[part]['records']}" for part in contents.parts_of(description)
    )
    left_out = len(description.get("left_out", ()))
    if left_out:
        counts += f"; left out: {left_out} subjects with too few images"
    how = "written" if built else "already built from the same inputs"
    print(f"{portable(out)}: {how} (records: {counts})", flush=True)
