"""report.html: one self-contained page for a run, pictures and styles inside."""

import base64
from pathlib import Path

import cv2
import jinja2
import numpy as np

from data_prep.atomic import replacing
from gcnet import paper, runs
from gcnet.engine import TITLES
from gcnet.protocol import FOLDS


def write(path, run, results, curves, faces, pairs):
    """Write the report of a Run.

    `results` are those of results.json, `curves` the "light" and "dark" PNG bytes, `faces` and
    `pairs` as gcnet.evaluation makes them (`pairs` None when the images tested are of no fold).
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        run=run,
        results=results,
        title=runs.NETS[run.settings.net],
        engine=TITLES[run.settings.engine],
        names=run.class_names,
        all_folds=FOLDS,
        curves={theme: _data_uri(png) for theme, png in curves.items()},
        faces=faces["columns"],
        faces_fold=faces["fold"],
        face_rows=[
            (caption, [_face(image * 255) for image in images])
            for caption, images in faces["rows"].items()
        ],
        pairs=[(label, _face(pair[0]), _face(pair[1])) for label, pair in pairs or ()],
        shares=_shares(results["confusion"]),
        paper_tables=[(name, paper.ACCURACY[name]) for name in results["paper"]],
        net_names=runs.NETS,
    )
    with replacing(path, encoding="utf-8") as file:
        file.write(page)


def _shares(counts):
    """The confusion matrix's rows as shares of their sums."""
    counts = np.asarray(counts, float)
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0).tolist()


def _face(pixels):
    """PNG data URI of a gray image with values from 0 to 255."""
    rounded = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return _data_uri(cv2.imencode(".png", rounded)[1].tobytes())


def _data_uri(png):
    return "data:image/png;base64," + base64.b64encode(png).decode()
