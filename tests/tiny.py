"""A database of a few gray-noise "faces" and nets with small batches, for quick trainings."""

import csv
import shutil

import cv2
import numpy as np

from data_prep.index import COLUMNS
from gcnet import prototxt, runs
from gcnet.models import PROTOTXT
from gcnet.train import cross_validation
from gcnet_base.protocol import EXPRESSIONS

SUBJECTS = 11
"""Fold 0 then tests 2 subjects (S00, S10) with 14 images and trains on 9 with 63."""


def write_database(folder, seed=0):
    """Write 66x66 images and index.csv: per subject a neutral image and one of each expression."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    patterns = {name: generator.normal(0, 30, (66, 66)) for name in ("neutral", *EXPRESSIONS)}
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(SUBJECTS):
            subject = f"S{number:02d}"
            own = generator.normal(128, 30, (66, 66))
            for label, pattern in patterns.items():
                pixels = np.clip(own + pattern, 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{subject}_{label}.png"), pixels)
                writer.writerow(
                    [f"{subject}_{label}.png", subject, f"{subject}_{label}", 1, label]
                    + [f"{subject}_neutral.png"]
                )
    return folder / "index.csv"


def write_prototxt(folder, *nets, batch=7, edit=lambda name, message: None):
    """A copy of prototxt/ whose training and test batches of `nets` hold `batch` pairs.

    `edit(file name, message)` may change each of its messages.
    """
    shutil.copytree(PROTOTXT, folder)
    for net in nets:
        set_value(folder / f"{net}.prototxt", "data_param.batch_size", batch, "data")
    for path in folder.glob("*.prototxt"):
        message = read(path)
        edit(path.name, message)
        path.write_text(prototxt.text(message, path))
    return folder


def read(path):
    """The message of a prototxt file, a solver's by its name."""
    return (prototxt.solver if path.name.startswith("solver") else prototxt.net)(path)


def set_value(path, *arguments):
    """prototxt.set_value in a file."""
    message = read(path)
    prototxt.set_value(message, *arguments)
    path.write_text(prototxt.text(message, path))


def train(folder, index, net, prototxt, **changes):
    """Train fold 0 with small settings; returns the Run."""
    call = {"folds": [0], "command": "train_folds.py", "device": "cpu", "jobs": None}
    call.update({name: changes.pop(name) for name in call.keys() & changes.keys()})
    if "weights" in changes:
        changes["weights"] = dict.fromkeys(changes["weights"])
    settings = {"classes": "7", "max_iter": 2, "copies": 0, **changes}
    return cross_validation.train(
        runs.Settings(net=net, index=index, prototxt=prototxt, **settings), folder=folder, **call
    )
