"""Augmentation: the same draw for both images of a pair, in the ranges that are written down."""

import hashlib
import os

import numpy as np
import pytest

from data_prep.lmdbs import augment
from data_prep.lmdbs.augment import Draw

SIZE = 66


@pytest.fixture
def random():
    seed = int(os.environ["TEST_SEED"])
    print("seed", seed)
    return np.random.default_rng(seed)


def with_spot(x, y):
    """A black image with one bright 3x3 spot, as a pair of twice the same."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 200
    return np.stack([image, image])


def spot(image):
    """(x, y) of the centre of brightness."""
    ys, xs = np.mgrid[:SIZE, :SIZE]
    return (xs * image).sum() / image.sum(), (ys * image).sum() / image.sum()


def test_both_images_of_a_pair_are_transformed_alike(random):
    face = random.integers(0, 256, (SIZE, SIZE), np.uint8)
    for number in range(50):
        drawn = augment.draw(random.integers(1 << 30), number)
        first, second = augment.apply(drawn, np.stack([face, face]))
        assert (first == second).all()
        assert (first != face).any()
        # The second image has no influence on the first one.
        other = random.integers(0, 256, (SIZE, SIZE), np.uint8)
        assert (augment.apply(drawn, np.stack([face, other]))[0] == first).all()
        assert (augment.apply(drawn, np.stack([other, face]))[1] == first).all()


def test_nothing_drawn_changes_nothing(random):
    pair = random.integers(0, 256, (2, SIZE, SIZE), np.uint8)
    assert (augment.apply(Draw(1, 0, False, 1), pair) == pair).all()


def test_flip_is_the_mirror_image(random):
    pair = random.integers(0, 256, (2, SIZE, SIZE), np.uint8)
    assert (augment.apply(Draw(1, 0, True, 1), pair) == pair[:, :, ::-1]).all()


@pytest.mark.parametrize("flip", [False, True])
def test_spot_moves_as_scale_and_rotation_say(flip):
    center = (SIZE - 1) / 2
    drawn = Draw(scale=1.1, rotation=10, flip=flip, intensity=1)
    moved = augment.apply(drawn, with_spot(50, 20))
    dx, dy = 50 - center, 20 - center
    if flip:
        dx = -dx
    turn = np.exp(-1j * np.radians(10))  # counter-clockwise with y pointing down
    expected = (dx + 1j * dy) * turn * 1.1
    for image in moved:
        assert spot(image) == pytest.approx(
            (center + expected.real, center + expected.imag), abs=0.1
        )


def test_intensity_multiplies_and_saturates():
    pair = np.full((2, SIZE, SIZE), 220, np.uint8)
    assert (augment.apply(Draw(1, 0, False, 0.8), pair) == 176).all()
    assert (augment.apply(Draw(1, 0, False, 1.2), pair) == 255).all()


def test_border_is_repeated():
    pair = np.full((2, SIZE, SIZE), 100, np.uint8)
    assert (augment.apply(Draw(0.9, 10, False, 1), pair) == 100).all()


def test_draws_come_from_the_digest():
    """As the docstring of draws says, so that LMDBs come out the same in every version."""
    (drawn,) = augment.draws(7, ["a.png\n3"])
    digest = hashlib.sha256(b"7\na.png\n3").digest()
    scale, rotation, flip, intensity = (
        int.from_bytes(digest[start : start + 8], "little") / 2**64 for start in (0, 8, 16, 24)
    )
    assert drawn.scale == pytest.approx(0.9 + 0.2 * scale)
    assert drawn.rotation == pytest.approx(-10 + 20 * rotation)
    assert drawn.flip == (flip < 0.5)
    assert drawn.intensity == pytest.approx(0.8 + 0.4 * intensity)
    assert augment.draws(7, []) == []


def test_draws_are_evenly_spread():
    drawn = augment.draws(int(os.environ["TEST_SEED"]), [str(number) for number in range(4000)])
    for name, (low, high) in (
        ("scale", augment.SCALE), ("rotation", augment.ROTATION), ("intensity", augment.INTENSITY)
    ):  # fmt: skip
        shares = (np.array([getattr(one, name) for one in drawn]) - low) / (high - low)
        assert np.histogram(shares, 10, (0, 1))[0] == pytest.approx(400, abs=100), name
    assert np.mean([one.flip for one in drawn]) == pytest.approx(0.5, abs=0.05)


def test_draws_depend_on_seed_and_key_only():
    keys = [f"image {number}" for number in range(2000)]
    forth = augment.draws(7, keys)
    assert forth == augment.draws(7, keys[::-1])[::-1]
    assert forth[:3] == [augment.draw(7, key) for key in keys[:3]]
    assert len(set(forth)) == len(keys)
    assert augment.draw(8, keys[0]) != forth[0]
    for name, (low, high) in {
        "scale": augment.SCALE,
        "rotation": augment.ROTATION,
        "intensity": augment.INTENSITY,
    }.items():
        values = np.array([getattr(drawn, name) for drawn in forth])
        edge = 0.02 * (high - low)
        assert low <= values.min() < low + edge
        assert high - edge < values.max() <= high
    assert np.mean([drawn.flip for drawn in forth]) == pytest.approx(0.5, abs=0.05)
