"""The LMDBs of a run's folds: built where they are not there, and the same as a fold began with."""

import json

from data_prep.lmdbs import places
from data_prep.lmdbs.build import build
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, sha256


def build_missing(run, fold):
    """Build a fold's LMDBs where they are not there yet; returns their fold.json as a dict.

    Raises InputError if the index is not the run's any more, and as data_prep.lmdbs.build does.
    """
    settings = run.settings
    index = ROOT / settings.index
    if not index.is_file() or sha256(index) != settings.index_sha256:
        raise InputError(f"{index}: is gone or changed since {run.name} was started; restore it")
    with places.building():
        description, _ = build(
            index, run.lmdb_folder(fold), fold, settings.classes, settings.copies, settings.seed
        )
    return description


def check_same_faces(run, fold, description):
    """Raise InputError if a fold was started with other LMDBs than `description` tells of."""
    recorded = run.fold_folder(fold) / "fold.json"
    if not recorded.exists():
        return
    try:
        inputs = json.loads(recorded.read_text(encoding="utf-8"))["inputs"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{recorded}: not readable ({error}); copy it from {run.lmdb_folder(fold)}"
        ) from None
    if inputs != description["inputs"]:
        raise InputError(
            f"{recorded}: the faces of {run.settings.index} have changed since this fold was "
            "started; restore them or train another run"
        )
