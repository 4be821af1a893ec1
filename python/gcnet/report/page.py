"""report.html: one self-contained page for one run, or for several tested on the same images.

Tables, curves and figures are plain HTML. The gallery of the test images is drawn by report.js from
a block of JSON, in which the faces stand in sheets: one picture for 256 of them. The page's
Content-Security-Policy lets it load nothing and run no other script.
"""

import base64
import hashlib
import itertools
from pathlib import Path

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from data_prep.lmdbs import contents
from data_prep.lmdbs.records import PAIR_SHAPE, open_pairs
from gcnet import models, published
from gcnet.engine import TITLES
from gcnet.report import plots, table_forms, tables
from gcnet.train import caffe_log
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.protocol import FOLDS
from torchcaffe.schema.caffe_pb2 import Datum

FACE = 64
"""Height and width of a face in the gallery, in pixels: that of a net's input."""
ACROSS = 16
"""Faces in a row of a sheet, and rows in a sheet."""
MOST_IMAGES = 2000
"""In the gallery. Tests on other databases have tens of thousands, too many for a page."""

_HERE = Path(__file__).parent


def write(path, title, evaluated, pictures):
    """Write the report of runs that were tested on the same index.

    `evaluated` is a list of Evaluated: one for a run's own report, several for a comparison.
    `pictures` is a list of (caption, PNG bytes). The same input gives the same bytes.

    Raises InputError if the runs were tested on different indices or classes.
    """
    results = evaluated[0].results
    for other in evaluated:
        for what, key in (("index", "index_sha256"), ("set of classes", "classes")):
            if other.results[key] != results[key]:
                raise InputError(
                    f"{other.name}: is of another {what} than {evaluated[0].name}; "
                    "report them apart"
                )
    names = _names(evaluated)
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        results=results,
        class_names=evaluated[0].run.class_names,
        all_folds=FOLDS,
        models=[_model(*pair) for pair in zip(names, evaluated, strict=True)],
        pictures=[(caption, _picture(png)) for caption, png in pictures],
        comparison=tables.of(evaluated) if len(evaluated) > 1 else [],
        settings_text=table_forms.settings_text,
        paper_tables={
            database: published.rows_of(database)
            for one in evaluated
            for database in one.results["paper"]
        },
        own_nets={one.run.settings.net for one in evaluated},
        title_of=models.title,
        pairs=_training_pairs(evaluated[0]) if len(evaluated) == 1 else [],
        gallery=_gallery(names, evaluated),
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with replacing(path, encoding="utf-8") as file:
        file.write(page)


def _names(evaluated):
    """What to call each model: its net, with the run folder's name where nets repeat."""
    titles = [one.run.model.title for one in evaluated]
    return [
        title + (f" ({one.run.folder.name})" if titles.count(title) > 1 else "")
        for title, one in zip(titles, evaluated, strict=True)
    ]


def _model(name, one):
    """What the page shows of one model outside of the gallery."""
    logs = caffe_log.of_run(one.run)
    return {
        "name": name,
        "run": one.run,
        "results": one.results,
        "engine": TITLES[one.run.settings.engine],
        "curves": {
            "light": _picture(plots.curves(logs)),
            "dark": _picture(plots.curves(logs, dark=True)),
        },
        "shares": _shares(one.results["confusion"]),
    }


def _shares(counts):
    """The confusion matrix's rows as shares of their sums."""
    counts = np.asarray(counts, float)
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0).tolist()


def _training_pairs(one, most=8):
    """The first records of a training LMDB, if it is still there: [(label, face, reference)]."""
    fold = int(next(iter(one.results["folds"])))
    try:
        contents.check(one.run.lmdb_folder(fold))
    except InputError:
        return []
    train = one.run.lmdb_folder(fold) / "train"
    with open_pairs(train) as database, database.begin() as transaction:
        records = itertools.islice(transaction.cursor(), most)
        data = [Datum.FromString(value) for _, value in records]
    return [
        (one.run.class_names[datum.label], *(_data_uri(".png", face) for face in _faces(datum)))
        for datum in data
    ]


def _faces(datum):
    return np.frombuffer(datum.data, np.uint8).reshape(PAIR_SHAPE)


def _gallery(names, evaluated):
    """What report.js draws, ready for JSON.

    "images" has a dict for each (image, fold) that a model was tested on; "said" in it is, for each
    model, [predicted class, its probability, the true class's probability], or None where that fold
    of the model is missing. "sheets" are PNG data URIs that hold the faces in the same order.
    """
    places = [_places(one.predictions) for one in evaluated]
    images = []
    for key in dict.fromkeys(key for of_model in places for key in of_model):
        indices = [of_model.get(key) for of_model in places]
        images.append((indices, _image(key, indices, evaluated)))
    tested = len(images)
    if tested > MOST_IMAGES:
        images = sorted(images, key=lambda image: _mistakes(image[1]), reverse=True)[:MOST_IMAGES]

    seen = [_first_seen(indices, evaluated) for indices, _ in images]
    sheets = {"input": _sheets([one.inputs[i] for one, i in seen])}
    generator = _generator(evaluated)
    if generator is not None:
        made = evaluated[generator].generated
        unknown = np.zeros((FACE, FACE), np.uint8)
        own = [indices[generator] for indices, _ in images]
        sheets["generated"] = _sheets([unknown if i is None else made[i] for i in own])
    return {
        "classes": evaluated[0].run.class_names,
        "models": names,
        "generator": generator,
        "tested": tested,
        "face": FACE,
        "across": ACROSS,
        "sheets": sheets,
        "images": [image for _, image in images],
    }


def _places(predictions):
    """{(image, fold): row} of Predictions."""
    return {
        (record["image"], fold): i
        for i, (record, fold) in enumerate(
            zip(predictions.records, predictions.folds.tolist(), strict=True)
        )
    }


def _first_seen(indices, evaluated):
    """The first Evaluated that has tested an image, and its row there."""
    return next((one, i) for one, i in zip(evaluated, indices, strict=True) if i is not None)


def _image(key, indices, evaluated):
    one, i = _first_seen(indices, evaluated)
    record, label = one.predictions.records[i], int(one.predictions.labels[i])
    return {
        **{name: record[name] for name in ("image", "subject", "sequence", "frame")},
        "fold": key[1],
        "label": label,
        "said": [
            None if i is None else _said(one.predictions.probabilities[i], label)
            for one, i in zip(evaluated, indices, strict=True)
        ],
    }


def _said(probabilities, label):
    predicted = int(probabilities.argmax())
    return [predicted, *(round(float(probabilities[i]), 4) for i in (predicted, label))]


def _mistakes(image):
    """An image's place when the wrong ones come first, as in report.js: the larger, the sooner.

    First by the probabilities of all wrong predictions together; then, where there is none, by how
    unsure the models are.
    """
    said = [answer for answer in image["said"] if answer]
    wrong = sum(p for predicted, p, _ in said if predicted != image["label"])
    return wrong, -sum(p for _, p, _ in said) / len(said)


def _generator(evaluated):
    """Index of the model whose generated references are shown: the last in order, or None."""
    order = models.names()
    able = [i for i, one in enumerate(evaluated) if one.generated is not None]
    return max(able, key=lambda i: order.index(evaluated[i].run.model.name), default=None)


def _sheets(faces):
    """PNG data URIs of uint8 faces, ACROSS x ACROSS in each picture, row by row."""
    sheets = []
    for start in range(0, len(faces), ACROSS**2):
        part = faces[start : start + ACROSS**2]
        rows = -(-len(part) // ACROSS)
        sheet = np.zeros((rows * ACROSS, FACE, FACE), np.uint8)
        sheet[: len(part)] = part
        sheet = sheet.reshape(rows, ACROSS, FACE, FACE).swapaxes(1, 2)
        pixels = sheet.reshape(rows * FACE, ACROSS * FACE)
        # For faces, a tenth smaller than OpenCV's default.
        strategy = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
        sheets.append(_data_uri(".png", pixels, strategy))
    return sheets


def _picture(png):
    """Data URI of a picture: the same pixels as lossless WebP, which is half as large."""
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return _data_uri(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 101])


def _data_uri(suffix, pixels, options=()):
    encoded = cv2.imencode(suffix, pixels, options)[1]
    return f"data:image/{suffix[1:]};base64,{base64.b64encode(encoded).decode()}"
