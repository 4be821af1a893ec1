"""How far expressions and people are apart in an aligned index, and what a linear classifier sees.

Faces are the centre 64 x 64 of the aligned ones, gray in [0, 1), as the nets get them. A `change`
is an expressive face minus its own reference (the same person's neutral face). The distance of two
faces is half the sum of squared differences: the generation loss of a net that gives back its
input is the distance of an expressive face from its reference.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from data_prep import FACE_SIZE
from data_prep import index as index_file
from data_prep.lmdbs.aligned_faces import decode_faces
from gcnet_base.errors import InputError
from gcnet_base.protocol import EXPRESSIONS, folds

# Pixels: broad shading is left, a thin line is not.
BLUR_SIGMA = 2
#: Rows of the 64: brows and eyes, nose and cheeks, mouth and chin.
BANDS = ((0, 25), (25, 42), (42, 64))
# More pairs of people move the mean by less than a hundredth.
_MOST_PAIRS = 20_000
# Fixed, so that nothing is chosen on the faces that are tested: what the published figures of CK+
# and JAFFE (references/) used.
_PIXELS_COST, _HOG_COST = 0.01, 0.1
_NET_SIZE = 64
_MARGIN = (FACE_SIZE - _NET_SIZE) // 2
_CENTRE = slice(_MARGIN, _MARGIN + _NET_SIZE)


@dataclass(frozen=True)
class Faces:
    """faces, references: float32 N x 64 x 64, the expressive faces of an index and their own
    neutral ones; labels, subjects: N strings; neutral: M x 64 x 64, one of each subject."""

    faces: np.ndarray
    references: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    neutral: np.ndarray


def read(path):
    """The Faces of the aligned index `path`.

    Raises InputError that names the row of a file that is no aligned face, or the index if no face
    of it has both an expression and a reference.
    """
    table = index_file.read(path)
    rows = {row.image: row for row in table.rows}
    shown = [row for row in table.rows if row.label in EXPRESSIONS and row.reference]
    if not shown:
        raise InputError(
            f"{path}: no face has both an expression and a reference, so there is nothing to "
            "compare; fill in the columns label and reference"
        )
    pictures = {}
    for image in {name: None for row in shown for name in (row.image, row.reference)}:
        (pixels,) = decode_faces([table.file(image)])
        if pixels is None:
            raise table.error(
                rows[image],
                f"{table.file(image)} is no gray {FACE_SIZE}x{FACE_SIZE} face; give the index.csv "
                "that python -m data_prep align wrote",
            )
        pictures[image] = pixels[_CENTRE, _CENTRE].astype(np.float32) / 256
    neutral = {}
    for row in shown:
        neutral.setdefault(row.subject, pictures[row.reference])
    return Faces(
        np.stack([pictures[row.image] for row in shown]),
        np.stack([pictures[row.reference] for row in shown]),
        np.array([row.label for row in shown]),
        np.array([row.subject for row in shown]),
        np.stack(list(neutral.values())),
    )


def measure(faces):
    """The figures of Faces, as a dict for JSON; None for what they do not give.

    The SVMs need ten subjects and two expressions, `between_people` two subjects. Raises InputError
    without scikit-learn and scikit-image.
    """
    change = faces.faces - faces.references
    squares = change**2
    distance = squares.sum((1, 2)) / 2
    total = float(squares.sum())
    blurred = np.stack([cv2.GaussianBlur(each, (0, 0), BLUR_SIGMA) for each in change])
    return {
        "faces": len(faces.faces),
        "people": len(faces.neutral),
        "change": float(distance.mean()),
        "change_by_class": {
            name: float(distance[faces.labels == name].mean())
            for name in EXPRESSIONS
            if name in faces.labels
        },
        "between_people": _between_people(faces.neutral),
        "left_by_blur": float((blurred**2).sum()) / total if total else None,
        "change_by_band": [float(squares[:, top:end].sum()) / total for top, end in BANDS]
        if total
        else None,
        "gray_mean": float(faces.faces.mean()),
        "gray_deviation": float(faces.faces.std()),
        **_svms(faces, change),
    }


def _between_people(neutral):
    if len(neutral) < 2:
        return None
    first, second = np.triu_indices(len(neutral), 1)
    chosen = np.random.default_rng(0).permutation(len(first))[:_MOST_PAIRS]
    first, second = first[chosen], second[chosen]
    flat = neutral.reshape(len(neutral), -1).astype(np.float64)
    products = flat @ flat.T
    squares = np.diag(products)
    return float((squares[first] + squares[second] - 2 * products[first, second]).mean() / 2)


def _svms(faces, change):
    names = ("svm_pixels", "svm_pixels_change", "svm_hog", "svm_hog_change")
    if len(set(faces.subjects)) < 10 or len(set(faces.labels)) < 2:
        return dict.fromkeys(names)
    # Imported here: nothing else of data preparation needs them, and they take a second.
    try:
        from skimage.feature import hog
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise InputError(
            f"the linear classifiers need {error.name}, which this Python does not have: "
            "pip install '.[analysis]'"
        ) from None

    def histograms(pictures):
        return np.stack([hog(each, 9, (8, 8), (2, 2)) for each in pictures])

    def rightly_named(features, cost):
        # Turned so that no more dimensions are left than there are faces; the margins stay.
        left, scale, _ = np.linalg.svd(features.astype(np.float64), full_matrices=False)
        turned = left * scale
        right = 0
        for group in folds(faces.subjects):
            test = np.isin(faces.subjects, group)
            if len(set(faces.labels[~test])) < 2:
                continue
            model = LinearSVC(C=cost, random_state=0).fit(turned[~test], faces.labels[~test])
            right += int((model.predict(turned[test]) == faces.labels[test]).sum())
        return right / len(faces.labels)

    oriented = histograms(faces.faces)
    return dict(
        zip(
            names,
            (
                rightly_named(faces.faces.reshape(len(change), -1), _PIXELS_COST),
                rightly_named(change.reshape(len(change), -1), _PIXELS_COST),
                rightly_named(oriented, _HOG_COST),
                rightly_named(oriented - histograms(faces.references), _HOG_COST),
            ),
        )
    )
