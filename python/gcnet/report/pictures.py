"""A model's pictures: some test faces of a fold, and what its net made of them."""

import numpy as np

from gcnet.evaluate.net_outputs import WHITE
from gcnet.report import plots
from gcnet_base.errors import InputError


def figure(evaluated, fold=None):
    """The model's pictures of an Evaluated, as (Figure, caption).

    `fold`: of whose test subjects; None: the first. Raises InputError if it is not evaluated.
    """
    faces = made_faces(evaluated, fold)
    pictures = evaluated.run.model.pictures
    below = ", ".join(pictures.rows)
    return plots.rows(faces), (
        f"{pictures.title}: test faces, {below}. {source([evaluated], faces['fold'])}"
    )


def source(evaluations, fold):
    """Where a figure of a fold of some Evaluated is from, for its caption."""
    nets = ", ".join(f"{one.run.model.title} {one.name}" for one in evaluations)
    return f"Measured: fold {fold} of {nets}; images of {evaluations[0].results['index']}."


def made_faces(evaluated, fold=None):
    """Test faces of one fold (None: the first) and what its net made of them.

    Returns {"fold", "columns": [{"label", "subject"}], "rows": {caption: float N x 64 x 64 in
    [0, 1]}}, which plots.rows draws. Raises InputError if the fold is not evaluated.
    """
    fold = fold_of([evaluated], fold)
    records, names = evaluated.predictions.records, evaluated.run.class_names
    there = evaluated.predictions.folds[evaluated.pictured] == fold
    places = sorted(
        np.flatnonzero(there),
        key=lambda place: names.index(records[evaluated.pictured[place]]["label"]),
    )
    chosen = evaluated.pictured[places]
    captions = evaluated.run.model.pictures.rows
    return {
        "fold": fold,
        "columns": [{name: records[i][name] for name in ("label", "subject")} for i in chosen],
        "rows": {
            "image": evaluated.inputs[chosen].astype(np.float32) / WHITE,
            **{caption: evaluated.pictures[places, row] for row, caption in enumerate(captions)},
        },
    }


def fold_of(evaluations, fold):
    """The fold to show: finished and evaluated in each of `evaluations`; None: the first such."""
    tested = [set(one.predictions.folds.tolist()) for one in evaluations]
    if fold is None:
        common = set.intersection(*tested)
        if not common:
            names = " and ".join(one.name for one in evaluations)
            raise InputError(f"{names}: have no finished fold in common; train one in both")
        return min(common)
    for one, folds in zip(evaluations, tested, strict=True):
        if fold not in folds:
            raise InputError(
                f"{one.name}: fold {fold} is not finished; train it with python/train_folds.py, "
                "then python/eval_folds.py"
            )
    return fold
