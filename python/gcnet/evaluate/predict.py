"""What the nets of a run say about pictures that are nobody's test images: a person's own."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.faces import detect
from data_prep.tree import IMAGE, Tree, readable
from gcnet import engine as engines
from gcnet import models, runs
from gcnet.evaluate import evaluated
from gcnet.evaluate.net_outputs import central_crop, forward
from gcnet.models import PROBABILITIES
from gcnet_base.cores import available_cores
from gcnet_base.errors import InputError

_PICTURE = rf".*\.(?:{IMAGE}|webp)"


@dataclass(frozen=True)
class Prediction:
    """What the nets say about the face in one picture.

    `file` is its path as text, `face` the detect.Face, `probabilities` float C. `generated` is the
    reference that a GCNet makes, float 64 x 64 in [0, 1], None of another net.
    """

    file: str
    face: detect.Face
    probabilities: np.ndarray
    generated: np.ndarray | None


def nets_of(folder, fold=None, engine=None):
    """(Run, folds) whose nets are asked: all finished folds of a run folder, or one of them.

    `engine` None means the one that trained the run. Raises InputError: no run folder, its net
    needs a real reference, `fold` or all of them are not finished, the engine is not installed, or
    as evaluated.check_folds.
    """
    run = runs.load(folder)
    if run.model.shown_reference:
        others = ", ".join(one.name for one in models.those(lambda one: not one.shown_reference))
        raise InputError(
            f"{run.name}: its net {run.settings.net} compares a face with a neutral picture of the "
            f"same person; choose a run of {others}, which need none"
        )
    finished = evaluated.finished_folds(run)
    if not finished:
        raise InputError(f"{run.name}: no fold is finished; train with python/train_folds.py")
    if fold is not None and fold not in finished:
        raise InputError(
            f"{run.name}: fold {fold} is not finished; choose from {', '.join(map(str, finished))}"
        )
    evaluated.check_folds(run)
    caffe = engines.find(engine or run.settings.engine)
    run = dataclasses.replace(run, settings=dataclasses.replace(run.settings, engine=caffe.name))
    return run, finished if fold is None else [fold]


def pictures(paths):
    """(files, [(file, problem)] of those that cannot be used) of files and folders.

    Of a folder the pictures in it, in order of name, not those in folders inside it. Raises
    InputError for a path that is not there and a folder without pictures.
    """
    files, skipped = [], []
    for path in map(Path, paths):
        if path.is_dir():
            tree = Tree(path)
            inside = [file for file, _ in tree.files(path, _PICTURE)]
            if not inside and not tree.skipped:
                raise InputError(
                    f"{readable(path)}: no picture in this folder (jpg, png, bmp, tif, webp)"
                )
            files += inside
            skipped += tree.skipped
        elif path.exists():
            files.append(path)
        else:
            raise InputError(f"{readable(path)}: no such file or folder")
    return files, skipped


def faces_of(pool, files):
    """({file: detect.Face}, [(file, problem)] of those without)."""
    faces, without = {}, []
    read = pool.map(_face, files)
    progress = tqdm(read, "faces", len(files), unit="picture", leave=False, disable=None)
    for file, face in zip(files, progress, strict=True):
        if isinstance(face, str):
            without.append((readable(file), face))
        else:
            faces[file] = face
    return faces, without


def _face(file):
    """The detect.Face of a picture, or why it has none and what to do."""
    status = detect.status(file)
    if isinstance(status, str):
        return f"{status}; give a picture that can be read"
    face = detect.read_face(file)
    if isinstance(face, str):
        return f"{face}; give a JPEG or PNG that shows a whole face from the front"
    return face


def predict(run, folds, faces):
    """A list of Predictions of `faces`, {file: detect.Face}.

    Probabilities are the mean over the nets of `folds`; the generated reference is that of the
    first one's net, because a mean of several would show what no net has seen. Raises InputError as
    net_outputs.forward does.
    """
    images = central_crop(np.stack([face.pixels for face in faces.values()]))
    generator = run.model.generated
    blobs = [PROBABILITIES, *([] if generator is None else [generator])]

    def of_fold(fold):
        # On one thread each, as in gcnet.evaluate.testing, so that the bits are the same.
        return forward(run, fold, images, blobs if fold == folds[0] else blobs[:1], threads=1)

    with ThreadPoolExecutor(available_cores()) as pool:
        answers = pool.map(of_fold, folds)
        made = list(tqdm(answers, "nets", len(folds), unit="net", leave=False, disable=None))
    probabilities = np.mean([blob[PROBABILITIES] for blob in made], axis=0, dtype=np.float64)
    generated = made[0].get(generator)
    return [
        Prediction(
            readable(file),
            face,
            probabilities[i],
            None if generated is None else generated[i, 0].clip(0, 1),
        )
        for i, (file, face) in enumerate(faces.items())
    ]


def source(run, folds):
    """Which nets the numbers are from, for people."""
    nets = f"the net of fold {folds[0]}"
    if len(folds) > 1:
        nets = f"the mean of the nets of folds {', '.join(map(str, folds))}"
        if run.model.generated is not None:
            nets += f" (reference: fold {folds[0]})"
    return f"{run.model.title}, {run.name}, {nets}"
