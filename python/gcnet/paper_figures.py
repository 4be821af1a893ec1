"""Figures 4, 5 and 6 of the paper from evaluated runs; Figure 11 is in contrastive_weight.py.

All of them show test subjects of one fold, and what the net of that fold makes of their faces:
features of two nets, also of two folds, are not comparable. They are drawn from what an evaluation
left behind (gcnet.evaluated), except that Figure 4's reconstructions and the frames of Figure 6 go
through the net again.
"""

import numpy as np

from data_prep import index
from gcnet import figures, runs, scatter, sequence_frames
from gcnet.net_outputs import FEATURES, GCNETS, GENERATED, WHITE, central_crop, forward
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, sha256

FACES = 8
"""Columns of Figure 4."""


def figure4(evaluated, fold=None):
    """Figure 4 of an Evaluated, as (Figure, caption). Arguments and errors as `figure4_faces`."""
    faces = figure4_faces(evaluated, fold)
    below = ", ".join(list(faces["rows"])[1:])
    figure = figures.rows(faces)
    return figure, f"Figure 4: test faces, {below}. {_source([evaluated], faces['fold'])}"


def figure5(gcnet, cnn, fold=None):
    """Figure 5 of two Evaluated, as (Figure, caption). Arguments and errors as `figure5_panels`."""
    fold, panels = figure5_panels(gcnet, cnn, fold)
    return scatter.draw(panels, 3, gcnet.run.class_names), (
        f"Figure 5: t-SNE (perplexity {scatter.perplexity(panels[0].points):.3g}) of test images: "
        f"their pixels, features of the first fully connected layer. {_source([gcnet, cnn], fold)}"
    )


def figure6(gcnet, cnn, fold=None):
    """Figure 6 of two Evaluated, as (Figure, caption). Arguments and errors as `figure6_panels`."""
    fold, panels = figure6_panels(gcnet, cnn, fold)
    return scatter.draw(panels, 2, gcnet.run.class_names), (
        f"Figure 6: t-SNE (perplexity {scatter.perplexity(panels[0].points):.3g}) of features of "
        "the first fully connected layer, of all frames of test sequences; the lighter, the less "
        "expressive: the nearer in time to a neutral frame. "
        f"{_source([gcnet, cnn], fold)}"
    )


def _source(evaluations, fold):
    nets = ", ".join(f"{runs.NETS[one.run.settings.net]} {one.name}" for one in evaluations)
    return f"Measured: fold {fold} of {nets}; images of {evaluations[0].results['index']}."


def stem(run, figure):
    """Where a figure of a Run is written, without ".png" and ".pdf"."""
    return run.folder / "figures" / figure


def figure4_blobs(net):
    """Figure 4's rows below the image that a net can make: {caption: blob}."""
    rows = {}
    if net in GCNETS:
        rows["generated reference"] = GENERATED
    if net in ("s0r1", "s1r1"):
        rows["reconstructed neutral"] = "reconstructed_reference"
        rows["reconstructed image"] = "reconstructed_image"
    return rows


def figure4_faces(evaluated, fold=None):
    """Test faces of one fold (None: the first) and what its net makes of them.

    Returns {"fold", "columns": [{"label", "subject"}], "rows": {caption: float N x 64 x 64 in
    [0, 1]}}, which figures.rows draws. Raises InputError if the net generates nothing.
    """
    run = evaluated.run
    blobs = figure4_blobs(run.settings.net)
    if not blobs:
        raise InputError(
            f"{run.name}: {runs.NETS[run.settings.net]} generates no image; give a run of "
            f"{', '.join(GCNETS)}"
        )
    fold = _fold([evaluated], fold)
    tested = np.flatnonzero(evaluated.predictions.folds == fold)
    records = [evaluated.predictions.records[i] for i in tested]
    chosen = _spread(records, run.class_names)
    images = evaluated.inputs[tested[chosen]]
    made = forward(run, fold, images, list(blobs.values()), threads=1)
    return {
        "fold": fold,
        "columns": [{name: records[i][name] for name in ("label", "subject")} for i in chosen],
        "rows": {
            "image": images.astype(np.float32) / WHITE,
            **{caption: made[blob][:, 0] for caption, blob in blobs.items()},
        },
    }


def _spread(records, class_names):
    """Indices of up to FACES records, by class; of many classes, then sequences, then subjects."""
    chosen, labels, sequences, subjects = [], [], [], []
    while len(chosen) < min(FACES, len(records)):
        best = min(
            (i for i in range(len(records)) if i not in chosen),
            key=lambda i: (
                labels.count(records[i]["label"]), sequences.count(_sequence(records[i])),
                subjects.count(records[i]["subject"]), i,
            ),
        )  # fmt: skip
        chosen.append(best)
        labels.append(records[best]["label"])
        sequences.append(_sequence(records[best]))
        subjects.append(records[best]["subject"])
    return sorted(chosen, key=lambda i: class_names.index(records[i]["label"]))


def _sequence(record):
    return record["subject"], record["sequence"]


def _fold(evaluations, fold):
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


def _check_pair(gcnet, cnn):
    """Raise InputError unless two Evaluated are a GCNet and a CNN, tested on the same faces."""
    for one, nets, option in ((gcnet, GCNETS, "--run"), (cnn, ("cnn",), "--cnn")):
        net = one.run.settings.net
        if net not in nets:
            raise InputError(f"{one.name}: is of {net}; give {option} a run of {', '.join(nets)}")
    for key, what in (("index_sha256", "index"), ("classes", "classes")):
        if gcnet.results[key] != cnn.results[key]:
            told = " and ".join(f"{one.name} of {one.results[what]}" for one in (gcnet, cnn))
            raise InputError(f"{told}: not the same {what}; give two runs of the same")


def figure5_panels(gcnet, cnn, fold=None):
    """Panels of Figure 5 from two Evaluated: test images of one fold (None: the first of both).

    Returns (fold, [scatter.Panel]): of pixels, CNN features and GCNet features. Raises InputError
    if they are not comparable.
    """
    _check_pair(gcnet, cnn)
    fold = _fold([gcnet, cnn], fold)
    rows = [np.flatnonzero(one.predictions.folds == fold) for one in (gcnet, cnn)]
    records = [gcnet.predictions.records[i] for i in rows[0]]
    labels = tuple(record["label"] for record in records)
    pixels = gcnet.inputs[rows[0]].reshape(len(records), -1)
    return fold, [
        scatter.Panel(caption, _embedded(one, values), labels, np.ones(len(labels)))
        for caption, one, values in (
            ("(a) pixels", gcnet, pixels),
            ("(b) CNN", cnn, cnn.features[rows[1]]),
            (f"(c) {runs.NETS[gcnet.run.settings.net]}", gcnet, gcnet.features[rows[0]]),
        )
    ]


def _embedded(evaluated, features):
    if (features == features[0]).all():
        raise InputError(
            f"{evaluated.name}: all images have the same features, so that there is nothing to "
            "show; was it trained long enough? See curves.png"
        )
    return scatter.embed(features)


def figure6_panels(gcnet, cnn, fold=None):
    """Panels of Figure 6 from two Evaluated: every frame of the test sequences of one fold.

    Returns (fold, [scatter.Panel]): CNN and GCNet features as points, then the same with faces.
    Raises InputError if the runs are not comparable, the index has changed or has no frames between
    neutral and apex, or a face is gone.
    """
    _check_pair(gcnet, cnn)
    fold = _fold([gcnet, cnn], fold)
    path = ROOT / gcnet.run.settings.index
    if not path.is_file() or sha256(path) != gcnet.run.settings.index_sha256:
        raise InputError(
            f"{path}: is gone or changed since {gcnet.run.name} was started; restore it"
        )
    table = index.read(path, check_images=False, landmarks=False)
    frames = sequence_frames.of_fold(table, fold, gcnet.run.class_names)
    images = central_crop(np.array(sequence_frames.read_faces(table, frames)))
    expressions = tuple(frame.expression for frame in frames)
    expressiveness = np.array([frame.expressiveness for frame in frames])
    points = [
        _embedded(one, forward(one.run, fold, images, [FEATURES], threads=1)[FEATURES])
        for one in (cnn, gcnet)
    ]
    return fold, [
        scatter.Panel(caption, points[of], expressions, expressiveness, faces)
        for caption, of, faces in (
            ("(a) CNN", 0, None),
            (f"(b) {runs.NETS[gcnet.run.settings.net]}", 1, None),
            ("(c) faces at points of (a)", 0, images),
            ("(d) faces at points of (b)", 1, images),
        )
    ]
