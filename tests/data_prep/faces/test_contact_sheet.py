"""Contact sheets: what is shown where, how much of it, and that a sheet never stops alignment."""

import cv2
import numpy as np
import pytest
import skimage.data

from data_prep import index
from data_prep.__main__ import main
from data_prep.faces import contact_sheet
from data_prep.faces.contact_sheet import GAP, SIDE, WIDTH

ASTRONAUT_POINTS = ((203, 101.5), (246.5, 103.5), (223, 127), (202.5, 140), (244.5, 141.5))
TOP = 2 * GAP + 16


@pytest.fixture(scope="module")
def astronaut():
    return cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)


def align(folder, rows):
    index.write(folder / "index.csv", rows)
    command = ["align", str(folder / "index.csv"), "-o", str(folder / "faces"), "--workers", "1"]
    return main(command)


def sheet(folder, name):
    return cv2.imread(str(folder / "faces" / name))


def test_points_are_drawn_on_the_original_beside_the_face(tmp_path, astronaut):
    # At the picture's border too, where the sheet has nothing to show.
    left, top = 195, 95
    cv2.imwrite(str(tmp_path / "whole.png"), astronaut)
    cv2.imwrite(str(tmp_path / "cut.png"), astronaut[top:, left:])
    moved = tuple((x - left, y - top) for x, y in ASTRONAUT_POINTS)
    rows = [
        index.Row("whole.png", "me", landmarks=ASTRONAUT_POINTS),
        index.Row("cut.png", "me", landmarks=moved),
    ]
    assert align(tmp_path, rows) == 0
    drawn = sheet(tmp_path, "sheet.png")

    points = np.array(ASTRONAUT_POINTS)
    side = contact_sheet.EXTENTS * np.ptp(points, axis=0).max()
    places = (points - points.mean(axis=0)) * (SIDE / side) + SIDE / 2
    for number, name in enumerate(("whole", "cut")):
        x = GAP + number * (WIDTH + GAP)
        shown = drawn[TOP : TOP + SIDE, x : x + SIDE].astype(int)
        for place, color in zip(places, contact_sheet.POINT_COLORS, strict=True):
            found = np.argwhere((shown == color).all(axis=2))[:, ::-1]
            assert np.hypot(*(found - place).T).min() < 2
        face = cv2.imread(str(tmp_path / "faces/images/me" / f"{name}.png"), 0)
        enlarged = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        assert (drawn[TOP : TOP + SIDE, x + SIDE : x + WIDTH, 0] == enlarged).all()
    # Beyond the border of the cut picture.
    assert (drawn[TOP + 5, 2 * GAP + WIDTH + 5] == contact_sheet.PLACEHOLDER).all()


def test_sheets_are_a_sample_and_the_same_in_every_run(tmp_path, astronaut):
    small = cv2.resize(astronaut[20:220, 124:324], (60, 60), interpolation=cv2.INTER_AREA)
    points = tuple(((x - 124) * 0.3, (y - 20) * 0.3) for x, y in ASTRONAUT_POINTS)
    rows = []
    for number in range(100):
        name = f"{number:03d}.png"
        if number % 2:
            (tmp_path / name).write_bytes(b"no image")
        else:
            cv2.imwrite(str(tmp_path / name), small)
        rows.append(index.Row(name, "me", landmarks=points))
    assert align(tmp_path, rows) == 0
    first = [(tmp_path / "faces" / name).read_bytes() for name in ("sheet.png", "dropped.png")]
    for name in ("sheet.png", "dropped.png"):
        height, width = sheet(tmp_path, name).shape[:2]
        assert width < 1400
        assert height < 8 * 250

    for name in ("sheet.png", "dropped.png"):
        (tmp_path / "faces" / name).unlink()
    assert align(tmp_path, rows) == 0
    again = [(tmp_path / "faces" / name).read_bytes() for name in ("sheet.png", "dropped.png")]
    assert again == first
    chosen = contact_sheet.sample(rows)
    assert len(chosen) == 40
    assert chosen == sorted(chosen, key=rows.index)


def test_long_and_foreign_names_and_reasons_stay_in_their_tile(tmp_path):
    images = [
        contact_sheet.Dropped("folder/" * 30 + "Müller.png", tmp_path / "gone.png", "word " * 60),
        contact_sheet.Dropped("a" * 300, tmp_path, "r" * 300),
        contact_sheet.Dropped("W" * 36, tmp_path, "W" * 36),
    ]
    contact_sheet.write_dropped(tmp_path / "dropped.png", 3, images)
    drawn = cv2.imread(str(tmp_path / "dropped.png"))
    assert drawn.shape[1] == GAP + 3 * (WIDTH + GAP)
    texts = drawn[TOP + SIDE :]
    for number in range(3):
        x = GAP + number * (WIDTH + GAP)
        assert (texts[:, x : x + WIDTH] < 128).any()
        assert (texts[:, x + WIDTH : x + WIDTH + GAP - 1] == 255).all()
