"""From a subject and action-unit intensities to the curves of a face, in face units.

What each action unit moves follows the FACS manual (P. Ekman, W. V. Friesen, J. C. Hager, 2002);
how far is our own estimate from photographs: the largest displacements are about a fifth of the
distance between the eyes, half of it for the jaw (AU27).
"""

from dataclasses import dataclass

import numpy as np

from data_prep.synthetic.drawing import spline

LEFT, RIGHT = 0, 1
_SIGN = (-1.0, 1.0)
# Where the curves of a brow, a lid (inner to outer) and a lip (left to right) are sampled.
_BROW_T, _LID_T, _LIP_T = np.linspace(0, 1, 6), np.linspace(0, 1, 9), np.linspace(-1, 1, 13)


class ActionUnits:
    """Intensities by unit and image side, the subject's face at rest added in."""

    def __init__(self, intensities, identity):
        sides = {unit: (left * identity.style[unit], right * identity.style[unit])
                 for unit, (left, right) in intensities.items()}
        at_rest = identity.resting["lips_part"]
        if at_rest and 24 not in sides:
            left, right = sides.get(25, (0.0, 0.0))
            sides[25] = max(left, at_rest), max(right, at_rest)
        self._levels = {unit: (left, right, (left + right) / 2)
                        for unit, (left, right) in sides.items()}

    def __call__(self, unit, side=2):
        """Intensity of `unit` on a side, or the mean of both sides."""
        return self._levels[unit][side] if unit in self._levels else 0.0


@dataclass
class FaceShape:
    """Curves (n x 2 float arrays, face units). Pairs are (image left, image right)."""

    outline: np.ndarray
    jaw: np.ndarray
    brow_centre: tuple
    brow_polygon: tuple
    eye_corners: tuple
    upper_lid: tuple
    lower_lid: tuple
    lid_fold: tuple
    nose_bridge: np.ndarray
    nose_base: np.ndarray
    mouth_corners: tuple
    outer_lip: tuple
    inner_lip: tuple
    chin: np.ndarray
    jaw_drop: float
    creases: list
    bumps: np.ndarray


def _mirrored(points, side):
    return np.asarray(points, np.float64) * [_SIGN[side], 1.0]


def face_shape(identity, intensities):
    """The FaceShape of an Identity with action units {AU: (left, right)}."""
    au = ActionUnits(intensities, identity)
    rest = identity.resting
    drop = 0.24 * au(26) + 0.46 * au(27)
    chin_y = identity.chin_y + 0.9 * drop - 0.03 * au(17)
    asymmetry = identity.asymmetry

    brow_centre, brow_polygon = [], []
    corners, upper, lower, fold = [], [], [], []
    for side in (LEFT, RIGHT):
        wobble = asymmetry[side]
        t = _BROW_T
        inner_x, outer_x = identity.brow_inner_x, identity.eye_x + 0.36
        x = inner_x + (outer_x - inner_x) * t
        y = (identity.brow_y + wobble + 0.05 * (1 - t) - identity.brow_arch * np.sin(
            np.pi * np.clip(t, 0, 1) ** 1.25) + identity.brow_slant * (0.5 - t) + 0.05 * t**3)
        raise_inner = au(1, side) + rest["brow_raise_inner"]
        raise_outer = au(2, side) + rest["brow_raise_outer"]
        lower_brow = au(4, side) + rest["brow_lower"]
        y -= 0.20 * raise_inner * (1 - t) ** 1.3
        y -= 0.18 * raise_outer * np.exp(-((t - 0.72) / 0.36) ** 2)
        y += lower_brow * (0.15 * (1 - t) ** 0.8 + 0.05)
        x -= 0.075 * lower_brow * (1 - t)
        y += 0.11 * au(9, side) * (1 - 0.8 * t) + 0.02 * au(6, side)
        centre = np.stack([x, y], 1)
        thickness = identity.brow_thickness * np.array([0.75, 1.0, 1.0, 0.85, 0.6, 0.15]) / 2
        curve = spline(centre, 4)
        half = np.interp(np.linspace(0, 1, len(curve)), t, thickness)[:, None] * [[0.0, 1.0]]
        brow_centre.append(_mirrored(curve[np.linspace(0, len(curve) - 1, 5).astype(int)], side))
        brow_polygon.append(_mirrored(np.concatenate([curve - half, (curve + half)[::-1]]), side))

        eye_x, half_width = identity.eye_x, identity.eye_half_width
        tired = rest["lids"]
        narrow = au(7, side)
        squint = max(au(6, side), 0.9 * au(9, side), 0.5 * au(12, side))
        high = (identity.upper_lid * (1 - 0.25 * tired) + 0.095 * au(5, side) - 0.030 * narrow
                - 0.016 * au(4, side) - 0.014 * squint - 0.03 * au(9, side)
                + 0.012 * au(1, side))
        low = (identity.lower_lid - 0.030 * narrow - 0.036 * squint + 0.012 * au(5, side))
        high, low = max(high, 0.03), max(low, 0.010)
        inner = np.array([eye_x - half_width, 0.02])
        outer = np.array([eye_x + half_width, 0.01 - identity.eye_slant])
        t = _LID_T
        line = inner + (outer - inner) * t[:, None]
        hump = np.sin(np.pi * t ** 0.92) ** 0.8
        sad = 0.05 * au(1, side) * (1 - t) * hump if au(1, side) > au(2, side) else 0
        lid_up = line - np.stack([np.zeros(9), high * hump + sad], 1)
        lid_low = line + np.stack([np.zeros(9), low * np.sin(np.pi * t ** 1.1) ** 0.9], 1)
        crease_gap = max(0.02, 0.045 + 0.05 * identity.lid_crease + 0.05 * raise_inner
                         - 0.06 * lower_brow - 0.02 * au(5, side))
        crease = line - np.stack([np.zeros(9), (high + crease_gap) * hump ** 0.8 - 0.01], 1)
        corners.append((_mirrored(inner, side), _mirrored(outer, side)))
        upper.append(_mirrored(lid_up, side))
        lower.append(_mirrored(lid_low, side))
        fold.append(_mirrored(crease, side))

    nose_up = 0.10 * au(9) + 0.05 * au(10)
    tip_y = identity.nose_tip_y - 0.6 * nose_up
    flare = [identity.nose_half_width * (1 + 0.16 * au(9, s) + 0.12 * au(10, s) + 0.07 * au(12, s))
             for s in (LEFT, RIGHT)]
    wing_y = [tip_y + 0.06 - 0.08 * au(9, s) - 0.03 * au(10, s) for s in (LEFT, RIGHT)]
    base_y = tip_y + 0.15
    nose_bridge = np.stack([np.zeros(4) + asymmetry[4] * np.linspace(0, 1, 4),
                            np.linspace(0.02, tip_y - 0.055, 4)], 1)
    nose_base = np.array([[-0.72 * flare[0], wing_y[0] + 0.065], [-0.36 * flare[0], base_y - 0.01],
                          [0.0, base_y + 0.015], [0.36 * flare[1], base_y - 0.01],
                          [0.72 * flare[1], wing_y[1] + 0.065]])

    corner_shift, mouth_corners = [], []
    for side in (LEFT, RIGHT):
        dx = (0.11 * au(12, side) + 0.095 * au(20, side) + 0.05 * au(14, side)
              - 0.05 * au(24, side) - 0.03 * au(23, side) - 0.07 * au(27, side)
              - 0.02 * au(26, side) - 0.025 * au(17, side) - 0.015 * au(15, side))
        up = (0.125 * au(12, side) + 0.08 * au(14, side) + 0.02 * au(10, side)
              + 0.02 * au(9, side) + 0.12 * rest["corner_up"]
              - 0.115 * au(15, side) - 0.05 * au(20, side) - 0.03 * au(17, side))
        corner_shift.append((dx, -up + 0.42 * drop))
        mouth_corners.append(np.array([
            _SIGN[side] * (identity.mouth_half_width + dx),
            identity.mouth_y + asymmetry[2 + side] - up + 0.42 * drop]))
    part = (0.055 * au(25) + 0.16 * au(25) * au(26) + 0.36 * au(27)
            + 0.05 * au(25) * (au(10) + au(16) + 0.5 * au(12)) + 0.3 * au(25) * au(26) * 0.25)
    press = max(0.0, rest["lip_press"])
    thin = (1 - 0.55 * au(24)) * (1 - 0.45 * au(23)) * (1 - 0.25 * au(12)) * (1 - 0.2 * press)
    thin *= (1 - 0.18 * au(20)) * (1 - 0.1 * au(27)) * (1 - 0.3 * au(14))
    thin = max(thin, 0.2)
    upper_thickness = identity.upper_lip * thin * (1 - 0.15 * au(10))
    lower_thickness = identity.lower_lip * thin * (1 + 0.2 * au(17) + 0.05 * au(16))
    middle = identity.mouth_y - 0.05 * au(17) - 0.03 * au(12) * au(25) - 0.01 * au(9)
    seam_up = middle - 0.11 * au(10) - 0.05 * au(9) - 0.25 * part - 0.02 * au(12)
    seam_low = middle + 0.75 * part + 0.03 * au(16) * au(25) + 0.02 * au(12) * au(25)
    if part < 0.01:
        seam_low = seam_up = (seam_low + seam_up) / 2
    outer_lip, inner_lip = _lips(mouth_corners, seam_up, seam_low, upper_thickness,
                                 lower_thickness, au, drop)

    jaw = _jaw(identity, chin_y, drop, au)
    w, crown = identity.face_half_width, identity.crown_y
    skull = _crown(w, crown, -0.3)
    outline = spline(np.concatenate([jaw, skull]), 5, closed=True)

    shape = FaceShape(
        outline=outline, jaw=jaw, brow_centre=tuple(brow_centre),
        brow_polygon=tuple(brow_polygon), eye_corners=tuple(corners), upper_lid=tuple(upper),
        lower_lid=tuple(lower), lid_fold=tuple(fold), nose_bridge=nose_bridge,
        nose_base=nose_base, mouth_corners=tuple(mouth_corners), outer_lip=outer_lip,
        inner_lip=inner_lip, chin=np.array([0.0, chin_y]), jaw_drop=drop, creases=[], bumps=None)
    shape.creases = _creases(identity, au, shape, flare, wing_y)
    shape.bumps = _bumps(identity, au, shape, tip_y, flare, wing_y)
    return shape


def _lips(corners, seam_up, seam_low, upper_thickness, lower_thickness, au, drop):
    """Outer and inner lip contours as (upper, lower) curves from left to right corner, 13 points.

    Between the corner and the middle every curve leaves the corner's height and joins the
    middle's, so one-sided action (contempt) bends one side only.
    """
    t = _LIP_T
    left, right = corners
    x = np.where(t < 0, -t * left[0], t * right[0])
    corner_y = np.where(t < 0, left[1], right[1])
    bend = np.abs(t) ** 1.9
    wide = au(27)
    bend_open = np.abs(t) ** (2.0 + 0.8 * wide)
    smile = au(12)

    def between(middle_y, power):
        return middle_y * (1 - power) + corner_y * power

    belly = np.clip(1 - t**2, 0, 1) ** 0.6
    bow = 0.8 + 0.35 * np.exp(-((np.abs(t) - 0.28) / 0.2) ** 2) - 0.1 * np.exp(-(t / 0.1) ** 2)
    inner_up = between(seam_up, bend if seam_low - seam_up < 0.05 else bend_open)
    inner_low = between(seam_low, bend if seam_low - seam_up < 0.05 else bend_open)
    # A raised chin bows the closed mouth up in the middle; a sneer lifts the lip beside it.
    sneer = np.exp(-((np.abs(t) - 0.45) / 0.25) ** 2)
    inner_up = inner_up - 0.07 * au(10) * sneer - 0.03 * au(9) * sneer
    if seam_low - seam_up < 0.01:
        inner_low = inner_up.copy()
    inner_low = np.maximum(inner_low, inner_up)
    outer_up = inner_up - upper_thickness * belly * bow * (1 - 0.15 * smile)
    outer_low = inner_low + lower_thickness * belly
    stack = lambda y: np.stack([x, y], 1)  # noqa: E731
    return ((stack(outer_up), stack(outer_low)), (stack(inner_up), stack(inner_low)))


def _jaw(identity, chin_y, drop, au):
    """The 17 jaw points of the iBUG order, from the image's left ear over the chin to the right."""
    w, jaw_w, chin_w = identity.face_half_width, identity.jaw_width, identity.chin_width
    gonion_y = 1.12 + 0.35 * drop
    key = np.array([[w, 0.0], [w * 0.99, 0.33], [w * 0.955, 0.68],
                    [jaw_w + 0.13 + 0.02 * au(12), gonion_y - 0.12],
                    [jaw_w, gonion_y + 0.20], [jaw_w * 0.6 + chin_w * 0.42, chin_y - 0.32],
                    [chin_w + 0.1, chin_y - 0.13], [chin_w * 0.6, chin_y - 0.02]])
    left = key * [-1, 1]
    return np.concatenate([left, [[0, chin_y]], key[::-1]])


def _creases(identity, au, shape, flare, wing_y):
    """Skin creases as (curve, depth 0..1)."""
    age, rest = identity.age, identity.resting
    creases = []
    raise_inner = max(0.0, au(1) + 0.5 * rest["brow_raise_inner"])
    raise_outer = max(0.0, au(2) + 0.5 * rest["brow_raise_outer"])
    for row in range(3):
        y = identity.brow_y - 0.28 - 0.14 * row
        span = 0.75 if au(2) > 0.5 * au(1) else 0.42
        depth = (0.35 + 0.65 * age) * min(1.0, 0.8 * raise_inner + 0.3 * raise_outer)
        depth = depth * (1.0, 0.9, 0.6)[row] + 0.6 * max(0.0, age - 0.35)
        x = np.linspace(-span, span, 11)
        droop = 0.05 * (x / span) ** 2 * (1 if au(2) > 0.5 * au(1) else 2)
        creases.append((np.stack([x, y + droop - 0.02 * np.cos(6 * x)], 1), depth))
    for side in (LEFT, RIGHT):
        lower_brow = max(0.0, au(4, side) + 0.5 * rest["brow_lower"])
        inner = shape.brow_centre[side][0]
        x = inner[0] * 0.55
        creases.append((np.array([[x * 0.9, inner[1] - 0.15], [x, inner[1] - 0.05],
                                  [x * 1.05, inner[1] + 0.07], [x * 0.8, inner[1] + 0.16]]),
                        (0.55 + 0.45 * age) * lower_brow + 0.5 * max(0.0, age - 0.4)))
        wrinkle = au(9, side)
        for row in range(3):
            y = 0.06 + 0.09 * row
            creases.append((_mirrored([[0.03, y + 0.03], [0.10, y - 0.01], [0.17, y + 0.01],
                                       [0.22, y + 0.05]], side), (0.75 + 0.25 * age) * wrinkle))
        corner = shape.mouth_corners[side]
        ala = np.array([flare[side] * 0.98, wing_y[side] - 0.05])
        out = np.abs(corner[0]) + 0.10
        lifted = max(au(12, side), 0.9 * au(10, side), 0.9 * au(9, side), 0.5 * au(20, side))
        depth = min(1.0, 0.1 + 0.6 * rest["folds"] + (0.55 + 0.35 * age) * lifted
                    + 0.3 * au(15, side))
        points = np.array([
            ala, [0.6 * ala[0] + 0.4 * out + 0.02 + 0.05 * lifted, 0.6 * ala[1] + 0.4 * corner[1]],
            [out * 0.97 + 0.02 * lifted, 0.2 * ala[1] + 0.8 * corner[1]],
            [out + 0.01, corner[1] + 0.1]])
        creases.append((_mirrored(spline(points, 4), side), depth))
        creases.append((_mirrored(np.stack([np.abs(corner[0]) + 0.05 + np.array(
            [-0.02, 0.02, 0.03, 0.0]), corner[1] + np.array([-0.09, -0.03, 0.04, 0.1])], 1), side),
            min(1.0, 1.1 * au(14, side) + 0.25 * au(12, side))))
        creases.append((_mirrored(np.stack([np.abs(corner[0]) + np.array([0.02, 0.06, 0.07]),
                                            corner[1] + np.array([0.04, 0.14, 0.26])], 1), side),
                        min(1.0, 0.8 * au(15, side) + 0.35 * max(0.0, age - 0.45))))
        eye_outer = np.abs(shape.eye_corners[side][1][0])
        for row in range(3):
            rise = (-0.09, 0.0, 0.09)[row]
            creases.append((_mirrored([[eye_outer + 0.06, 0.0 + 0.4 * rise],
                                       [eye_outer + 0.14, 0.01 + rise],
                                       [eye_outer + 0.22, 0.02 + 1.6 * rise]], side),
                            (0.35 + 0.6 * age) * au(6, side) + 0.3 * max(0.0, age - 0.5)))
        pouch = max(au(6, side), 0.7 * au(7, side), 0.5 * au(9, side))
        creases.append((_mirrored([[identity.eye_x - 0.2, 0.13], [identity.eye_x, 0.19],
                                   [identity.eye_x + 0.2, 0.13]], side),
                        0.25 + 0.25 * age + 0.45 * pouch))
    chin_fold = identity.mouth_y + 0.26 + 0.75 * shape.jaw_drop - 0.05 * au(17)
    creases.append((np.array([[-0.22, chin_fold + 0.03], [0, chin_fold - 0.02],
                              [0.22, chin_fold + 0.03]]), 0.25 + 0.5 * au(17)))
    return [(curve, depth) for curve, depth in creases if depth >= 0.05]


def _bumps(identity, au, shape, tip_y, flare, wing_y):
    """Relief of the face: rows (x, y, sigma_x, sigma_y, height), Gaussians in face units."""
    nose = identity.nose_height
    rows = [
        (0.0, tip_y - 0.02, 0.13, 0.12, 0.55 * nose),
        (0.0, tip_y - 0.20, identity.nose_ridge_width, 0.20, 0.72 * nose),
        (0.0, tip_y - 0.48, identity.nose_ridge_width * 0.85, 0.22, 0.45 * nose),
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
            (sign * (identity.eye_x + 0.03), identity.brow_y + 0.04, 0.28, 0.09,
             0.06 + 0.04 * identity.eye_depth),
            (sign * 0.72, 0.48 - 0.05 * lift, 0.24, 0.2,
             0.06 + 0.08 * identity.cheekbones + 0.10 * lift),
            (sign * 0.60, 0.95, 0.16, 0.2, -0.04 - 0.06 * identity.cheekbones),
            (sign * 0.42, 0.62, 0.14, 0.14, 0.05 * max(au(9, side), au(10, side), au(12, side))),
            (sign * 0.09, identity.brow_y + 0.03, 0.05, 0.08, 0.045 * au(4, side)),
        ]
    return np.array(rows, np.float32)


def landmarks_68(shape):
    """The 68 points of the iBUG order (68 x 2, face units), as CK+'s Landmarks folder has them."""
    def at(curve, parameters):
        positions = np.linspace(0, 1, len(curve))
        return np.stack([np.interp(parameters, positions, curve[:, 0]),
                         np.interp(parameters, positions, curve[:, 1])], 1)

    left_eye = np.concatenate([
        shape.upper_lid[LEFT][::-1][[0, 3, 5, 8]], shape.lower_lid[LEFT][[3, 5]]])
    right_eye = np.concatenate([
        shape.upper_lid[RIGHT][[0, 3, 5, 8]], shape.lower_lid[RIGHT][::-1][[3, 5]]])
    (outer_up, outer_low), (inner_up, inner_low) = shape.outer_lip, shape.inner_lip
    return np.concatenate([
        shape.jaw,
        shape.brow_centre[LEFT][::-1], shape.brow_centre[RIGHT],
        shape.nose_bridge, shape.nose_base,
        left_eye, right_eye,
        at(outer_up, np.linspace(0, 1, 7)), at(outer_low, np.linspace(0, 1, 7)[5:0:-1]),
        at(inner_up, [0.08, 0.3, 0.5, 0.7, 0.92]), at(inner_low, [0.7, 0.5, 0.3]),
    ])


def five_points(landmarks):
    """Left eye, right eye, nose tip, left and right mouth corner (5 x 2) of 68 landmarks.

    An eye's centre is the mean of its six points; left is the image's left.
    """
    return np.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[30],
                     landmarks[48], landmarks[54]])


def _crown(half_width, top, y, samples=9):
    """Half an ellipse over the head, from (half_width, y) over (0, top) to (-half_width, y)."""
    angle = np.linspace(0, np.pi, samples)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([half_width * np.sign(cos) * np.abs(cos) ** 0.85,
                     y + (top - y) * sin ** 0.9], 1)


def hair_outlines(identity, rng):
    """Outlines of the hair before and behind the head (n x 2, face units, or None).

    `rng` draws the parting, the fringe, the length and the unruliness.
    """
    style = identity.hair_style
    if style == "bald":
        return None, None
    width, line = identity.face_half_width, identity.hairline_y
    volume = {"short": 0.05, "side_parted": 0.1, "fringe": 0.12, "long": 0.13, "curly": 0.24,
              "tied_back": 0.04}[style]
    side_end = {"short": 0.0, "side_parted": 0.1, "fringe": 0.9, "long": 0.3, "curly": 0.25,
                "tied_back": -0.15}[style]
    top = max(identity.crown_y - volume, -2.04)
    half = min(width + 0.75 * volume, 1.5)
    unruly = 0.035 if style == "curly" else 0.010
    outer = np.concatenate([[[half * 0.97, side_end]], _crown(half, top, -0.45, 11),
                            [[-half * 0.97, side_end]]])
    outer = spline(outer + rng.normal(0, unruly, outer.shape), 5)
    part = float(rng.choice([-1, 1]))
    if style == "fringe":
        low = identity.brow_y - rng.uniform(0.1, 0.32)
        inner = [[-0.93, side_end], [-0.93, -0.2], [-0.82, low - 0.02], [-0.4, low - 0.06],
                 [0.1, low - 0.04], [0.5, low - 0.07], [0.82, low - 0.02], [0.93, -0.2],
                 [0.93, side_end]]
    elif style == "side_parted":
        tilt = 0.15 * part
        inner = [[-1.02, side_end], [-1.0, -0.35], [-0.88, -0.75 + 0.7 * tilt],
                 [-0.45, line - 0.02 + tilt], [0, line + 0.02], [0.45, line - 0.02 - tilt],
                 [0.88, -0.75 - 0.7 * tilt], [1.0, -0.35], [1.02, side_end]]
    elif style == "long":
        inner = [[-0.94, side_end], [-0.98, -0.1], [-0.88, -0.66], [-0.5, line + 0.02],
                 [0.06 * part, line - 0.12], [0.5, line + 0.02], [0.88, -0.66], [0.98, -0.1],
                 [0.94, side_end]]
    else:
        recede = 0.2 * identity.age if style == "short" else 0.0
        inner = [[-1.06, side_end], [-1.0, -0.4], [-0.88, -0.78 - recede],
                 [-0.55, line - recede], [0, line], [0.55, line - recede],
                 [0.88, -0.78 - recede], [1.0, -0.4], [1.06, side_end]]
    inner = np.array(inner) * [width / 1.13, 1]
    front = np.concatenate([outer, spline(inner + rng.normal(0, unruly, inner.shape), 5)])
    if style not in ("long", "fringe"):
        return front, None
    length = rng.uniform(1.5, 2.5) if style == "long" else rng.uniform(0.9, 1.7)
    wide = half + rng.uniform(0.0, 0.12)
    ends = np.array([[-wide, 0.3], [-wide, length - 0.2], [-wide + 0.12, length], [-0.6, length],
                     [0.6, length], [wide - 0.12, length], [wide, length - 0.2], [wide, 0.3]])
    return front, spline(np.concatenate([_crown(half, top, -0.45), ends]), 5, closed=True)


def ear_outline(identity, side):
    """Outline of the ear on a side of the image (n x 2, face units)."""
    x, size, flare = identity.face_half_width, identity.ear_size, identity.ear_flare
    points = [[x - 0.08, -0.12], [x + flare + 0.05, -0.2], [x + flare + 0.11, 0.05],
              [x + flare + 0.03, size], [x - 0.02, size + 0.2], [x - 0.1, size]]
    return spline(_mirrored(points, side), 4, closed=True)


def body_outlines(identity):
    """Outlines of the neck and of the clothes (n x 2, face units)."""
    half, collar = identity.neck_half_width, 2.45
    neck = np.array([[-half, 0.6], [-half * 0.97, 2.2], [-half * 1.25, 2.8], [half * 1.25, 2.8],
                     [half * 0.97, 2.2], [half, 0.6]])
    clothes = np.array([[-half * 1.05, collar - 0.15], [-1.7, collar + 0.2], [-2.5, collar + 0.7],
                        [-2.6, 6.0], [2.6, 6.0], [2.5, collar + 0.7], [1.7, collar + 0.2],
                        [half * 1.05, collar - 0.15], [0, collar + 0.25]])
    return neck, spline(clothes, 5, closed=True)


def glasses_curves(identity):
    """Rims, bridge and temples of the subject's glasses: three lists of open curves (n x 2,
    face units)."""
    angle = np.linspace(0, 2 * np.pi, 33)
    cos, sin = np.cos(angle), np.sin(angle)
    power, height = (0.9, 0.31) if identity.glasses == "round" else (0.5, 0.24)
    rim = np.stack([0.38 * np.sign(cos) * np.abs(cos) ** power,
                    height * np.sign(sin) * np.abs(sin) ** power + 0.06], 1)
    x = identity.eye_x + 0.02
    temple = np.array([[x + 0.37, -0.02], [identity.face_half_width + 0.02, -0.06]])
    bridge = np.array([[0.37 - x, 0.0], [0, -0.04], [x - 0.37, 0.0]])
    return ([rim + [x, 0], rim - [x, 0]], [bridge],
            [_mirrored(temple, LEFT), _mirrored(temple, RIGHT)])
