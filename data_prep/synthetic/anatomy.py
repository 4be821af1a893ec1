"""From a subject and action-unit intensities to the curves of a face, in face units.

What each action unit moves follows the FACS manual (P. Ekman, W. V. Friesen, J. C. Hager, 2002);
how far is our own estimate from photographs: the largest displacements are about a fifth of the
distance between the eyes, half of it for the jaw (AU27).
"""

import functools
from dataclasses import dataclass

import numpy as np

from data_prep.synthetic.drawing import spline
from data_prep.synthetic.shading import shades

LEFT, RIGHT = 0, 1
_SIGN = (-1.0, 1.0)
# Curves of the left half of a face, given for the right one, and of the right half.
_SIDES = np.array([[[-1.0, 1.0]], [[1.0, 1.0]]])
# Fainter creases than this are not drawn.
_FAINTEST_CREASE = 0.05

# Below: what an action unit moves, at each point of a curve.
# Brows at 6 points, inner to outer.
_BROW_T = np.linspace(0, 1, 6)
_BROW_ENDS = np.stack([1 - _BROW_T, _BROW_T])
_BROW_HEIGHTS = np.stack(
    [
        np.ones(6),
        0.05 * (1 - _BROW_T) + 0.05 * _BROW_T**3,
        -np.sin(np.pi * _BROW_T**1.25),
        0.5 - _BROW_T,
        -0.25 * (1 - _BROW_T) ** 1.3,
        -0.18 * np.exp(-(((_BROW_T - 0.72) / 0.36) ** 2)),
        0.19 * (1 - _BROW_T) ** 0.8 + 0.06,
        0.11 * (1 - 0.8 * _BROW_T),
    ]
)
_BROW_SAMPLES = 4
_BROW_THICKNESS = np.interp(
    np.linspace(0, 1, 5 * _BROW_SAMPLES + 1),
    _BROW_T,
    np.array([0.75, 1.0, 1.0, 0.85, 0.6, 0.15]) / 2,
)[:, None] * [0.0, 1.0]
# Lids at 9 points, inner to outer.
_LID_T = np.linspace(0, 1, 9)
_UPPER_LID = np.sin(np.pi * _LID_T**0.92) ** 0.8
_SAD_LID = 0.08 * (1 - _LID_T) * _UPPER_LID
_LOWER_LID = np.sin(np.pi * _LID_T**1.1) ** 0.9
_LID_FOLD = _UPPER_LID**0.8
# Lips at 13 points, left to right.
_LIP_T = np.linspace(-1, 1, 13)
_LIP_LEFT, _LIP_RIGHT = np.maximum(-_LIP_T, 0), np.maximum(_LIP_T, 0)
_LIP_SIDES = np.stack([_LIP_T < 0, _LIP_T >= 0]).astype(float)
_LIP_BEND = np.abs(_LIP_T) ** 1.9
_LIP_BELLY = np.clip(1 - _LIP_T**2, 0, 1) ** 0.6
_LIP_BOW = _LIP_BELLY * (
    0.8
    + 0.35 * np.exp(-(((np.abs(_LIP_T) - 0.28) / 0.2) ** 2))
    - 0.1 * np.exp(-((_LIP_T / 0.1) ** 2))
)
_LIP_SNEER = np.exp(-(((np.abs(_LIP_T) - 0.45) / 0.25) ** 2))
_INNER_LIP_UP, _INNER_LIP_LOW = (
    np.maximum(1 - np.abs(np.array(places)[:, None] * 12 - np.arange(13)), 0)
    for places in ([0.08, 0.3, 0.5, 0.7, 0.92], [0.7, 0.5, 0.3])
)
_QUARTERS = np.linspace(0, 1, 4)[:, None]
_FOREHEAD_T = np.linspace(-1, 1, 11)


class ActionUnits:
    """Intensities by unit and image side, the subject's face at rest added in."""

    def __init__(self, intensities, identity):
        sides = {
            unit: (left * identity.style[unit], right * identity.style[unit])
            for unit, (left, right) in intensities.items()
        }
        at_rest = identity.resting["lips_part"]
        if at_rest and 24 not in sides:
            left, right = sides.get(25, (0.0, 0.0))
            sides[25] = max(left, at_rest), max(right, at_rest)
        self._levels = {
            unit: (left, right, (left + right) / 2) for unit, (left, right) in sides.items()
        }

    def __call__(self, unit, side=2):
        """Intensity of `unit` on a side, or the mean of both sides."""
        return self._levels[unit][side] if unit in self._levels else 0.0


@dataclass
class FaceShape:
    """Curves (n x 2 float arrays, face units). Pairs are (image left, image right).

    creases: pairs of a curve (n x 2 or n pairs of numbers) and its depth, 0.05..1; jaw_drop: face
    units; bumps: 26 x 5 as `_bumps` gives them.
    """

    outline: np.ndarray
    jaw: np.ndarray
    brow_centre: np.ndarray
    brow_polygon: np.ndarray
    eye_corners: np.ndarray
    upper_lid: np.ndarray
    lower_lid: np.ndarray
    lid_fold: np.ndarray
    nose_bridge: np.ndarray
    nose_base: np.ndarray
    mouth_corners: tuple
    outer_lip: tuple
    inner_lip: tuple
    chin: np.ndarray
    jaw_drop: float
    teeth: float
    creases: list
    bumps: np.ndarray
    shades: np.ndarray


def _mirrored(points, side):
    return np.asarray(points, np.float64) * [_SIGN[side], 1.0]


def face_shape(identity, intensities):
    """The FaceShape of an Identity with action units {AU: (left, right)}."""
    au = ActionUnits(intensities, identity)
    rest = identity.resting
    drop = 0.30 * au(26) + 0.75 * au(27)
    chin_y = identity.chin_y + 0.9 * drop - 0.03 * au(17)
    asymmetry = identity.asymmetry

    brow_heights, brow_ends, lids = [], [], []
    for side in (LEFT, RIGHT):
        raise_inner = au(1, side) + rest["brow_raise_inner"]
        raise_outer = au(2, side) + rest["brow_raise_outer"]
        lower_brow = au(4, side) + rest["brow_lower"]
        brow_heights.append(
            (
                identity.brow_y + asymmetry[side] + 0.02 * au(6, side),
                1.0,
                identity.brow_arch,
                identity.brow_slant,
                raise_inner,
                raise_outer,
                lower_brow,
                au(9, side),
            )
        )
        brow_ends.append((identity.brow_inner_x - 0.10 * lower_brow, identity.eye_x + 0.36))

        narrow = au(7, side)
        squint = max(au(6, side), 0.9 * au(9, side), 0.5 * au(12, side))
        high = (
            identity.upper_lid * (1 - 0.25 * rest["lids"])
            + 0.095 * au(5, side)
            - 0.030 * narrow
            - 0.028 * au(4, side)
            - 0.014 * squint
            - 0.03 * au(9, side)
            + 0.012 * au(1, side)
        )
        low = identity.lower_lid - 0.030 * narrow - 0.036 * squint + 0.012 * au(5, side)
        crease_gap = max(
            0.02,
            0.045
            + 0.05 * identity.lid_crease
            + 0.05 * raise_inner
            - 0.06 * lower_brow
            - 0.02 * au(5, side),
        )
        sad = au(1, side) if au(1, side) > au(2, side) else 0.0
        high, low = max(high, 0.03), max(low, 0.010)
        lids.append(
            (
                high * _UPPER_LID + sad * _SAD_LID,
                -low * _LOWER_LID,
                (high + crease_gap) * _LID_FOLD - 0.01,
            )
        )
    brow = spline(
        np.stack([brow_ends @ _BROW_ENDS, brow_heights @ _BROW_HEIGHTS], -1), _BROW_SAMPLES
    )
    half = identity.brow_thickness * _BROW_THICKNESS
    brow_centre = brow[:, [0, 5, 10, 15, 20]] * _SIDES
    brow_polygon = np.concatenate([brow - half, (brow + half)[:, ::-1]], 1) * _SIDES

    eye_x, half_width = identity.eye_x, identity.eye_half_width
    ends = np.array([[eye_x - half_width, 0.02], [eye_x + half_width, 0.01 - identity.eye_slant]])
    eye_corners = ends * _SIDES
    eyes = np.empty((2, 3, 9, 2))
    eyes[:] = ends[0] + (ends[1] - ends[0]) * _LID_T[:, None]
    eyes[..., 1] -= lids
    upper, lower, fold = (eyes * _SIDES[:, None]).swapaxes(0, 1)

    nose_up = 0.10 * au(9) + 0.05 * au(10)
    tip_y = identity.nose_tip_y - 0.6 * nose_up
    flare = [
        identity.nose_half_width * (1 + 0.16 * au(9, s) + 0.12 * au(10, s) + 0.07 * au(12, s))
        for s in (LEFT, RIGHT)
    ]
    wing_y = [tip_y + 0.06 - 0.08 * au(9, s) - 0.03 * au(10, s) for s in (LEFT, RIGHT)]
    base_y = tip_y + 0.15
    nose_bridge = [0, 0.02] + _QUARTERS * [asymmetry[4], tip_y - 0.075]
    nose_base = np.array(
        [
            [-0.72 * flare[0], wing_y[0] + 0.065],
            [-0.36 * flare[0], base_y - 0.01],
            [0.0, base_y + 0.015],
            [0.36 * flare[1], base_y - 0.01],
            [0.72 * flare[1], wing_y[1] + 0.065],
        ]
    )

    mouth_corners = []
    for side in (LEFT, RIGHT):
        dx = (
            0.17 * au(12, side)
            + 0.12 * au(20, side)
            + 0.05 * au(14, side)
            - 0.05 * au(24, side)
            - 0.03 * au(23, side)
            - 0.03 * au(27, side)
            - 0.01 * au(26, side)
            - 0.025 * au(17, side)
            - 0.015 * au(15, side)
        )
        up = (
            0.16 * au(12, side)
            + 0.08 * au(14, side)
            + 0.02 * au(10, side)
            + 0.02 * au(9, side)
            + 0.12 * rest["corner_up"]
            - 0.14 * au(15, side)
            - 0.08 * au(20, side)
            - 0.03 * au(17, side)
        )
        mouth_corners.append(
            np.array(
                [
                    _SIGN[side] * (identity.mouth_half_width + dx),
                    identity.mouth_y + asymmetry[2 + side] - up + 0.42 * drop,
                ]
            )
        )
    part = (
        0.08 * au(25)
        + 0.32 * au(25) * au(26)
        + 0.95 * au(27)
        + 0.05 * au(25) * (au(10) + au(16) + 7.0 * au(12) + 1.5 * au(20))
    )
    press = max(0.0, rest["lip_press"])
    thin = (1 - 0.55 * au(24)) * (1 - 0.45 * au(23)) * (1 - 0.25 * au(12)) * (1 - 0.2 * press)
    thin *= (1 - 0.18 * au(20)) * (1 - 0.1 * au(27)) * (1 - 0.3 * au(14))
    thin = max(thin, 0.2)
    upper_thickness = identity.upper_lip * thin * (1 - 0.15 * au(10))
    lower_thickness = identity.lower_lip * thin * (1 + 0.2 * au(17) + 0.05 * au(16))
    middle = identity.mouth_y - 0.07 * au(17) - 0.03 * au(12) * au(25) - 0.01 * au(9)
    seam_up = middle - 0.11 * au(10) - 0.05 * au(9) - 0.25 * part - 0.02 * au(12)
    seam_low = middle + 0.75 * part + 0.03 * au(16) * au(25) + 0.02 * au(12) * au(25)
    # However wide the mouth, the upper lip stays below the nose, and the chin below the lower lip.
    seam_up = max(seam_up, base_y + 0.05 + upper_thickness)
    seam_low = max(seam_low, seam_up)
    chin_y = max(chin_y, seam_low + lower_thickness + 0.22)
    if part < 0.01:
        seam_low = seam_up = (seam_low + seam_up) / 2
    outer_lip, inner_lip = _lips(
        mouth_corners, seam_up, seam_low, upper_thickness, lower_thickness, au
    )

    jaw = _jaw(identity, chin_y, drop, au)
    w, crown = identity.face_half_width, identity.crown_y
    skull = _crown(w, crown, -0.3)
    outline = spline(np.concatenate([jaw, skull]), 5, closed=True)

    shape = FaceShape(
        outline=outline,
        jaw=jaw,
        brow_centre=brow_centre,
        brow_polygon=brow_polygon,
        eye_corners=eye_corners,
        upper_lid=upper,
        lower_lid=lower,
        lid_fold=fold,
        nose_bridge=nose_bridge,
        nose_base=nose_base,
        mouth_corners=tuple(mouth_corners),
        outer_lip=outer_lip,
        inner_lip=inner_lip,
        chin=np.array([0.0, chin_y]),
        jaw_drop=drop,
        # The upper lip hides them unless something lifts or stretches it.
        teeth=min(1.0, 0.1 + 1.4 * au(12) + 0.4 * au(20) + 0.25 * au(10) + 0.7 * au(16)),
        creases=[],
        bumps=None,
        shades=None,
    )
    shape.creases = _creases(identity, au, shape, flare, wing_y)
    shape.bumps = _bumps(identity, au, shape, tip_y, flare, wing_y)
    shape.shades = shades(identity, au, shape, flare, wing_y)
    return shape


def _lips(corners, seam_up, seam_low, upper_thickness, lower_thickness, au):
    """Outer and inner lip contours as (upper, lower) curves from left to right corner, 13 points.

    Between the corner and the middle every curve leaves the corner's height and joins the
    middle's, so one-sided action (contempt) bends one side only.
    """
    left, right = corners
    x = right[0] * _LIP_RIGHT + left[0] * _LIP_LEFT
    corner_y = (left[1], right[1]) @ _LIP_SIDES
    bend = _LIP_BEND if seam_low - seam_up < 0.05 else np.abs(_LIP_T) ** (2.0 + 0.8 * au(27))
    # A raised chin bows the closed mouth up in the middle; a sneer lifts the lip beside it.
    inner_up = seam_up + (corner_y - seam_up) * bend - (0.07 * au(10) + 0.03 * au(9)) * _LIP_SNEER
    if seam_low - seam_up < 0.01:
        inner_low = inner_up
    else:
        inner_low = np.maximum(seam_low + (corner_y - seam_low) * bend, inner_up)
    outer_up = inner_up - upper_thickness * (1 - 0.15 * au(12)) * _LIP_BOW
    outer_low = inner_low + lower_thickness * _LIP_BELLY
    lips = np.empty((4, 13, 2))
    lips[..., 0] = x
    lips[..., 1] = outer_up, outer_low, inner_up, inner_low
    return (lips[0], lips[1]), (lips[2], lips[3])


def _jaw(identity, chin_y, drop, au):
    """The 17 jaw points of the iBUG order, from the image's left ear over the chin to the right."""
    w, jaw_w, chin_w = identity.face_half_width, identity.jaw_width, identity.chin_width
    gonion_y = 1.12 + 0.35 * drop
    key = np.array(
        [
            [w, 0.0],
            [w * 0.99, 0.33],
            [w * 0.955, 0.68],
            [jaw_w + 0.13 + 0.02 * au(12), gonion_y - 0.12],
            [jaw_w, gonion_y + 0.20],
            [jaw_w * 0.6 + chin_w * 0.42, chin_y - 0.32],
            [chin_w + 0.1, chin_y - 0.13],
            [chin_w * 0.6, chin_y - 0.02],
        ]
    )
    left = key * [-1, 1]
    return np.concatenate([left, [[0, chin_y]], key[::-1]])


def _creases(identity, au, shape, flare, wing_y):
    """Skin creases as (curve, depth 0..1)."""
    age, rest = identity.age, identity.resting
    creases = []
    raise_inner = max(0.0, au(1) + 0.5 * rest["brow_raise_inner"])
    raise_outer = max(0.0, au(2) + 0.5 * rest["brow_raise_outer"])
    spread = 0.75 if au(2) > 0.5 * au(1) else 0.42
    bow = 0.05 if au(2) > 0.5 * au(1) else 0.10
    for row in range(3):
        depth = (0.2 + 0.5 * age) * min(1.0, 0.8 * raise_inner + 0.3 * raise_outer)
        depth = depth * (1.0, 0.9, 0.6)[row] + 0.6 * max(0.0, age - 0.35)
        if depth < _FAINTEST_CREASE:
            continue
        x = spread * _FOREHEAD_T
        y = identity.brow_y - 0.28 - 0.14 * row + bow * _FOREHEAD_T**2 - 0.02 * np.cos(6 * x)
        creases.append((np.stack([x, y], 1), depth))
    for side in (LEFT, RIGHT):
        sign = _SIGN[side]
        lower_brow = max(0.0, au(4, side) + 0.5 * rest["brow_lower"])
        x, y = shape.brow_centre[side][0].tolist()
        x *= 0.55
        creases.append(
            (
                [[x * 0.9, y - 0.15], [x, y - 0.05], [x * 1.05, y + 0.07], [x * 0.8, y + 0.16]],
                (0.55 + 0.45 * age) * lower_brow + 0.5 * max(0.0, age - 0.4),
            )
        )
        wrinkle = (0.75 + 0.25 * age) * au(9, side)
        for y in (0.06, 0.15, 0.24):
            creases.append(
                (
                    [
                        [sign * 0.03, y + 0.03],
                        [sign * 0.10, y - 0.01],
                        [sign * 0.17, y + 0.01],
                        [sign * 0.22, y + 0.05],
                    ],
                    wrinkle,
                )
            )
        x, y = np.abs(shape.mouth_corners[side]).tolist()
        ala_x, ala_y = flare[side] * 0.98, wing_y[side] - 0.05
        out = x + 0.10
        lifted = max(au(12, side), 0.9 * au(10, side), 0.9 * au(9, side), 0.5 * au(20, side))
        fold = np.array(
            [
                [ala_x, ala_y],
                [0.6 * ala_x + 0.4 * out + 0.02 + 0.05 * lifted, 0.6 * ala_y + 0.4 * y],
                [out * 0.97 + 0.02 * lifted, 0.2 * ala_y + 0.8 * y],
                [out + 0.01, y + 0.1],
            ]
        )
        creases.append(
            (
                spline(fold * [sign, 1], 4),
                min(
                    1.0,
                    0.1 + 0.6 * rest["folds"] + (0.55 + 0.35 * age) * lifted + 0.3 * au(15, side),
                ),
            )
        )
        creases.append(
            (
                [
                    [sign * (x + 0.03), y - 0.09],
                    [sign * (x + 0.07), y - 0.03],
                    [sign * (x + 0.08), y + 0.04],
                    [sign * (x + 0.05), y + 0.1],
                ],
                min(1.0, 1.1 * au(14, side) + 0.25 * au(12, side)),
            )
        )
        creases.append(
            (
                [
                    [sign * (x + 0.02), y + 0.04],
                    [sign * (x + 0.06), y + 0.14],
                    [sign * (x + 0.07), y + 0.26],
                ],
                min(1.0, 0.8 * au(15, side) + 0.35 * max(0.0, age - 0.45)),
            )
        )
        x = float(shape.eye_corners[side][1][0])
        depth = (0.35 + 0.6 * age) * au(6, side) + 0.3 * max(0.0, age - 0.5)
        for rise in (-0.09, 0.0, 0.09):
            creases.append(
                (
                    [
                        [x + sign * 0.06, 0.4 * rise],
                        [x + sign * 0.14, 0.01 + rise],
                        [x + sign * 0.22, 0.02 + 1.6 * rise],
                    ],
                    depth,
                )
            )
        pouch = max(au(6, side), 0.7 * au(7, side), 0.5 * au(9, side))
        x = sign * identity.eye_x
        creases.append(
            ([[x - 0.2, 0.13], [x, 0.19], [x + 0.2, 0.13]], 0.25 + 0.25 * age + 0.45 * pouch)
        )
    chin_fold = identity.mouth_y + 0.26 + 0.75 * shape.jaw_drop - 0.05 * au(17)
    creases.append(
        (
            [[-0.22, chin_fold + 0.03], [0, chin_fold - 0.02], [0.22, chin_fold + 0.03]],
            0.25 + 0.5 * au(17),
        )
    )
    return [(curve, depth) for curve, depth in creases if depth >= _FAINTEST_CREASE]


def _bumps(identity, au, shape, tip_y, flare, wing_y):
    """Relief of the face: rows (x, y, sigma_x, sigma_y, height), Gaussians in face units."""
    nose = identity.nose_height
    rows = [
        (0.0, tip_y - 0.02, 0.13, 0.12, 0.55 * nose),
        (0.0, tip_y - 0.20, 1.35 * identity.nose_ridge_width, 0.20, 0.60 * nose),
        (0.0, tip_y - 0.48, 1.25 * identity.nose_ridge_width, 0.22, 0.32 * nose),
        (0.0, identity.brow_y + 0.02, 0.35, 0.12, 0.05),
        (0.0, identity.mouth_y + 0.4 * shape.jaw_drop, 0.42, 0.26, 0.16),
        (0.0, shape.chin[1] - 0.17, 0.22, 0.15, 0.15 + 0.03 * au(17)),
        (0.0, identity.mouth_y + 0.30 + 0.8 * shape.jaw_drop, 0.25, 0.07, -0.06),
        (0.0, wing_y[0] + 0.22, 0.05, 0.09, -0.025),
    ]
    for side in (LEFT, RIGHT):
        sign = _SIGN[side]
        lift = max(au(12, side), au(6, side))
        rows += [
            (sign * flare[side] * 0.72, wing_y[side], 0.09, 0.085, 0.13),
            (sign * (identity.eye_x + 0.01), 0.0, 0.26, 0.16, -0.12 - 0.12 * identity.eye_depth),
            (sign * 0.2, 0.0, 0.09, 0.15, -0.08),
            (sign * identity.eye_x, 0.0, 0.17, 0.11, 0.07),
            (
                sign * (identity.eye_x + 0.03),
                identity.brow_y + 0.04,
                0.28,
                0.09,
                0.06 + 0.04 * identity.eye_depth,
            ),
            (
                sign * 0.72,
                0.48 - 0.05 * lift,
                0.24,
                0.2,
                0.02 + 0.05 * identity.cheekbones + 0.10 * lift,
            ),
            (sign * 0.60, 0.95, 0.16, 0.2, -0.04 - 0.06 * identity.cheekbones),
            (sign * 0.42, 0.62, 0.14, 0.14, 0.05 * max(au(9, side), au(10, side), au(12, side))),
            (sign * 0.09, identity.brow_y + 0.03, 0.05, 0.08, 0.045 * au(4, side)),
        ]
    return np.array(rows, np.float32)


def landmarks_68(shape):
    """The 68 points of the iBUG order (68 x 2, face units), as CK+'s Landmarks folder has them."""
    left_eye = np.concatenate(
        [shape.upper_lid[LEFT][::-1][[0, 3, 5, 8]], shape.lower_lid[LEFT][[3, 5]]]
    )
    right_eye = np.concatenate(
        [shape.upper_lid[RIGHT][[0, 3, 5, 8]], shape.lower_lid[RIGHT][::-1][[3, 5]]]
    )
    (outer_up, outer_low), (inner_up, inner_low) = shape.outer_lip, shape.inner_lip
    return np.concatenate(
        [
            shape.jaw,
            shape.brow_centre[LEFT][::-1],
            shape.brow_centre[RIGHT],
            shape.nose_bridge,
            shape.nose_base,
            left_eye,
            right_eye,
            outer_up[::2],
            outer_low[10:0:-2],
            _INNER_LIP_UP @ inner_up,
            _INNER_LIP_LOW @ inner_low,
        ]
    )


def five_points(landmarks):
    """Left eye, right eye, nose tip, left and right mouth corner (5 x 2) of 68 landmarks.

    An eye's centre is the mean of its six points; left is the image's left.
    """
    return np.stack(
        [
            landmarks[36:42].mean(0),
            landmarks[42:48].mean(0),
            landmarks[30],
            landmarks[48],
            landmarks[54],
        ]
    )


@functools.lru_cache
def _crown(half_width, top, y, samples=9):
    """Half an ellipse over the head, from (half_width, y) over (0, top) to (-half_width, y)."""
    angle = np.linspace(0, np.pi, samples)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([half_width * np.sign(cos) * np.abs(cos) ** 0.85, y + (top - y) * sin**0.9], 1)


def hair_outlines(identity, rng):
    """Outlines of the hair before and behind the head (n x 2, face units, or None).

    `rng` draws the parting, the fringe, the length and the unruliness.
    """
    style = identity.hair_style
    if style == "bald":
        return None, None
    width, line = identity.face_half_width, identity.hairline_y
    volume = {
        "short": 0.05,
        "side_parted": 0.1,
        "fringe": 0.12,
        "long": 0.13,
        "curly": 0.24,
        "tied_back": 0.04,
    }[style]
    side_end = {
        "short": 0.0,
        "side_parted": 0.1,
        "fringe": 0.9,
        "long": 0.3,
        "curly": 0.25,
        "tied_back": -0.15,
    }[style]
    top = max(identity.crown_y - volume, -2.04)
    half = min(width + 0.75 * volume, 1.5)
    unruly = 0.035 if style == "curly" else 0.010
    outer = np.concatenate(
        [[[half * 0.97, side_end]], _crown(half, top, -0.45, 11), [[-half * 0.97, side_end]]]
    )
    outer = spline(outer + rng.normal(0, unruly, outer.shape), 5)
    part = float(rng.choice([-1, 1]))
    if style == "fringe":
        low = identity.brow_y - rng.uniform(0.1, 0.32)
        inner = [
            [-0.93, side_end],
            [-0.93, -0.2],
            [-0.82, low - 0.02],
            [-0.4, low - 0.06],
            [0.1, low - 0.04],
            [0.5, low - 0.07],
            [0.82, low - 0.02],
            [0.93, -0.2],
            [0.93, side_end],
        ]
    elif style == "side_parted":
        tilt = 0.15 * part
        inner = [
            [-1.02, side_end],
            [-1.0, -0.35],
            [-0.88, -0.75 + 0.7 * tilt],
            [-0.45, line - 0.02 + tilt],
            [0, line + 0.02],
            [0.45, line - 0.02 - tilt],
            [0.88, -0.75 - 0.7 * tilt],
            [1.0, -0.35],
            [1.02, side_end],
        ]
    elif style == "long":
        inner = [
            [-0.94, side_end],
            [-0.98, -0.1],
            [-0.88, -0.66],
            [-0.5, line + 0.02],
            [0.06 * part, line - 0.12],
            [0.5, line + 0.02],
            [0.88, -0.66],
            [0.98, -0.1],
            [0.94, side_end],
        ]
    else:
        recede = 0.2 * identity.age if style == "short" else 0.0
        inner = [
            [-1.06, side_end],
            [-1.0, -0.4],
            [-0.88, -0.78 - recede],
            [-0.55, line - recede],
            [0, line],
            [0.55, line - recede],
            [0.88, -0.78 - recede],
            [1.0, -0.4],
            [1.06, side_end],
        ]
    inner = np.array(inner) * [width / 1.13, 1]
    front = np.concatenate([outer, spline(inner + rng.normal(0, unruly, inner.shape), 5)])
    if style not in ("long", "fringe"):
        return front, None
    length = rng.uniform(1.5, 2.5) if style == "long" else rng.uniform(0.9, 1.7)
    wide = half + rng.uniform(0.0, 0.12)
    ends = np.array(
        [
            [-wide, 0.3],
            [-wide, length - 0.2],
            [-wide + 0.12, length],
            [-0.6, length],
            [0.6, length],
            [wide - 0.12, length],
            [wide, length - 0.2],
            [wide, 0.3],
        ]
    )
    return front, spline(np.concatenate([_crown(half, top, -0.45), ends]), 5, closed=True)


def ear_outline(identity, side):
    """Outline of the ear on a side of the image (n x 2, face units)."""
    x, size, flare = identity.face_half_width, identity.ear_size, identity.ear_flare
    points = [
        [x - 0.08, -0.12],
        [x + flare + 0.05, -0.2],
        [x + flare + 0.11, 0.05],
        [x + flare + 0.03, size],
        [x - 0.02, size + 0.2],
        [x - 0.1, size],
    ]
    return spline(_mirrored(points, side), 4, closed=True)


def body_outlines(identity):
    """Outlines of the neck and of the clothes (n x 2, face units)."""
    half, collar = identity.neck_half_width, 2.45
    neck = np.array(
        [
            [-half, 0.6],
            [-half * 0.97, 2.2],
            [-half * 1.25, 2.8],
            [half * 1.25, 2.8],
            [half * 0.97, 2.2],
            [half, 0.6],
        ]
    )
    clothes = np.array(
        [
            [-half * 1.05, collar - 0.15],
            [-1.7, collar + 0.2],
            [-2.5, collar + 0.7],
            [-2.6, 6.0],
            [2.6, 6.0],
            [2.5, collar + 0.7],
            [1.7, collar + 0.2],
            [half * 1.05, collar - 0.15],
            [0, collar + 0.25],
        ]
    )
    return neck, spline(clothes, 5, closed=True)


def glasses_curves(identity):
    """Rims, bridge and temples of the subject's glasses: three lists of open curves (n x 2,
    face units)."""
    angle = np.linspace(0, 2 * np.pi, 33)
    cos, sin = np.cos(angle), np.sin(angle)
    power, height = (0.9, 0.31) if identity.glasses == "round" else (0.5, 0.24)
    rim = np.stack(
        [
            0.38 * np.sign(cos) * np.abs(cos) ** power,
            height * np.sign(sin) * np.abs(sin) ** power + 0.06,
        ],
        1,
    )
    x = identity.eye_x + 0.02
    temple = np.array([[x + 0.37, -0.02], [identity.face_half_width + 0.02, -0.06]])
    bridge = np.array([[0.37 - x, 0.0], [0, -0.04], [x - 0.37, 0.0]])
    return (
        [rim + [x, 0], rim - [x, 0]],
        [bridge],
        [_mirrored(temple, LEFT), _mirrored(temple, RIGHT)],
    )
