"""Figures 4, 5 and 6 of the paper from evaluated runs; Figure 11 is in contrastive_weight.py.

All of them show test subjects of one fold, and what the net of that fold makes of their faces:
features of two nets, also of two folds, are not comparable. They are drawn from what an evaluation
left behind (gcnet.evaluate.evaluated); only the frames of Figure 6, which are no test images, go
through the nets.
"""

import numpy as np

from data_prep import index
from gcnet import models
from gcnet.evaluate.net_outputs import central_crop, forward
from gcnet.methods.gcnet import sequence_frames
from gcnet.methods.gcnet.models import CNN, GCNETS
from gcnet.report import pictures, tsne
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, sha256


def figure4(evaluated, fold=None):
    """Figure 4 of an Evaluated, as (Figure, caption); arguments and errors as pictures.figure.

    Raises InputError if the net generates nothing.
    """
    if evaluated.run.model.pictures is None:
        able = ", ".join(model.name for model in models.those(lambda one: one.pictures))
        raise InputError(
            f"{evaluated.run.name}: {evaluated.run.model.title} generates no image; give a run of "
            f"{able}"
        )
    return pictures.figure(evaluated, fold)


def figure5(gcnet, cnn, fold=None):
    """Figure 5 of two Evaluated, as (Figure, caption). Arguments and errors as `figure5_panels`."""
    fold, panels = figure5_panels(gcnet, cnn, fold)
    return tsne.draw(panels, 3, gcnet.run.class_names), (
        f"Figure 5: t-SNE (perplexity {tsne.perplexity(panels[0].points):.3g}) of test images: "
        "their pixels, features of the first fully connected layer. "
        f"{pictures.source([gcnet, cnn], fold)}"
    )


def figure6(gcnet, cnn, fold=None):
    """Figure 6 of two Evaluated, as (Figure, caption). Arguments and errors as `figure6_panels`."""
    fold, panels = figure6_panels(gcnet, cnn, fold)
    return tsne.draw(panels, 2, gcnet.run.class_names), (
        f"Figure 6: t-SNE (perplexity {tsne.perplexity(panels[0].points):.3g}) of features of "
        "the first fully connected layer, of all frames of test sequences; the lighter, the less "
        "expressive: the nearer in time to a neutral frame. "
        f"{pictures.source([gcnet, cnn], fold)}"
    )


def stem(run, figure):
    """Where a figure of a Run is written, without ".png" and ".pdf"."""
    return run.folder / "figures" / figure


def _check_pair(gcnet, cnn):
    """Raise InputError unless two Evaluated are a GCNet and a CNN, tested on the same faces."""
    for one, wanted, option in ((gcnet, GCNETS, "--run"), (cnn, (CNN,), "--cnn")):
        if one.run.model not in wanted:
            names = ", ".join(model.name for model in wanted)
            raise InputError(
                f"{one.name}: is of {one.run.model.name}; give {option} a run of {names}"
            )
    for key, what in (("index_sha256", "index"), ("classes", "classes")):
        if gcnet.results[key] != cnn.results[key]:
            told = " and ".join(f"{one.name} of {one.results[what]}" for one in (gcnet, cnn))
            raise InputError(f"{told}: not the same {what}; give two runs of the same")


def figure5_panels(gcnet, cnn, fold=None):
    """Panels of Figure 5 from two Evaluated: test images of one fold (None: the first of both).

    Returns (fold, [tsne.Panel]): of pixels, CNN features and GCNet features. Raises InputError
    if they are not comparable.
    """
    _check_pair(gcnet, cnn)
    fold = pictures.fold_of([gcnet, cnn], fold)
    rows = [np.flatnonzero(one.predictions.folds == fold) for one in (gcnet, cnn)]
    records = [gcnet.predictions.records[i] for i in rows[0]]
    labels = tuple(record["label"] for record in records)
    pixels = gcnet.inputs[rows[0]].reshape(len(records), -1)
    return fold, [
        tsne.Panel(caption, _embedded(one, values), labels, np.ones(len(labels)))
        for caption, one, values in (
            ("(a) pixels", gcnet, pixels),
            ("(b) CNN", cnn, cnn.features[rows[1]]),
            (f"(c) {gcnet.run.model.title}", gcnet, gcnet.features[rows[0]]),
        )
    ]


def _embedded(evaluated, features):
    if (features == features[0]).all():
        raise InputError(
            f"{evaluated.name}: all images have the same features, so that there is nothing to "
            "show; was it trained long enough? See curves.png"
        )
    return tsne.embed(features)


def figure6_panels(gcnet, cnn, fold=None):
    """Panels of Figure 6 from two Evaluated: every frame of the test sequences of one fold.

    Returns (fold, [tsne.Panel]): CNN and GCNet features as points, then the same with faces.
    Raises InputError if the runs are not comparable, the index has changed or has no frames between
    neutral and apex, or a face is gone.
    """
    _check_pair(gcnet, cnn)
    fold = pictures.fold_of([gcnet, cnn], fold)
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
    points = [_embedded(one, _features(one.run, fold, images)) for one in (cnn, gcnet)]
    return fold, [
        tsne.Panel(caption, points[of], expressions, expressiveness, faces)
        for caption, of, faces in (
            ("(a) CNN", 0, None),
            (f"(b) {gcnet.run.model.title}", 1, None),
            ("(c) faces at points of (a)", 0, images),
            ("(d) faces at points of (b)", 1, images),
        )
    ]


def _features(run, fold, images):
    blob = run.model.features
    return forward(run, fold, images, [blob], threads=1)[blob]
