"""Where the LMDBs lie that training reads: in data/folds, or the folder that GCNET_FOLDS names.

Everybody who needs the LMDBs of some samples looks for them in the same folder, so that the runs on
them share one copy: nets differ, data do not. Its name has a digest of all that decides which
samples they are.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from pathlib import Path

from gcnet_base.paths import ROOT, database_name, portable, sha256

LMDBS = Path(os.environ.get("GCNET_FOLDS") or ROOT / "data" / "folds").absolute()


def of_fold(index, index_sha256, classes, copies, seed, fold):
    """The folder of a fold's LMDBs, which every run on these samples looks for."""
    made_from = (portable(index), index_sha256, classes, copies, seed)
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:12]
    return LMDBS / f"{database_name(index)}-{key}" / f"fold{fold}"


def of_identities(index, index_sha256, copies, seed):
    """The folder of an index's LMDBs of identities, for pre-training."""
    key = hashlib.sha256(json.dumps((portable(index), index_sha256, copies, seed)).encode())
    return LMDBS / f"{database_name(index)}-{key.hexdigest()[:12]}" / "identities"


def of_test(index, classes):
    """The folder of the LMDB of all images of an index, for nets that were trained on another."""
    return LMDBS / f"{database_name(index)}-{sha256(index)[:12]}" / f"test-{classes}"


@contextlib.contextmanager
def building():
    """Keep other processes from building LMDBs meanwhile: runs share them."""
    LMDBS.mkdir(parents=True, exist_ok=True)
    with open(LMDBS / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
