"""Where an expression makes a face darker or lighter: the folds and bulges of skin, as shades.

On real faces an expression is broad: of CK+'s change from neutral to apex 46 % is left after a blur
of two pixels of 64, and half of it lies round the mouth (data_prep/statistics/references). What
each action unit bulges and folds follows the FACS manual; how dark is tuned to those figures.
"""

import numpy as np

LEFT, RIGHT = 0, 1


def shades(identity, au, shape, flare, wing_y):
    """Rows (x, y, sigma_x, sigma_y, depth), float32: Gaussians in face units.

    The light on the skin is multiplied by exp(-sum of depth x Gaussian): positive is darker.
    """
    mouth_y, drop, chin_y = identity.mouth_y, shape.jaw_drop, float(shape.chin[1])
    lower_lip_y = float(shape.outer_lip[1][6, 1])
    stretched = 1 - 0.5 * au(27)
    rows = [
        # The fold under the lower lip, and the chin that AU17 pushes up below it.
        (0.0, lower_lip_y + 0.07, 0.26, 0.07, 0.15 + 0.35 * au(17) + 0.2 * au(24) + 0.15 * au(12)),
        (0.0, chin_y - 0.17, 0.24, 0.12, -0.10 - 0.25 * au(17)),
        (0.0, chin_y + 0.02, 0.45, 0.07, 0.25),
        # The root of the nose and the glabella.
        (0.0, identity.brow_y + 0.06, 0.12, 0.14, 0.42 * au(4) + 0.10 * au(9)),
        (0.0, 0.08, 0.16, 0.10, 0.32 * au(9)),
        (0.0, identity.brow_y - 0.22, 0.42, 0.10, 0.08 * max(au(1), au(2))),
        (0.0, identity.brow_y - 0.46, 0.42, 0.08, 0.05 * max(au(1), au(2))),
        (0.0, identity.brow_y - 0.30, 0.12, 0.16, 0.10 * max(0.0, au(1) - au(2))),
        (0.0, wing_y[0] + 0.17, 0.30, 0.06, 0.15 * (au(10) + au(9))),
        # Pressed lips push up the skin above them.
        (0.0, mouth_y - 0.16, 0.30, 0.05, -0.15 * au(24)),
    ]
    for side, sign in ((LEFT, -1.0), (RIGHT, 1.0)):
        corner_x, corner_y = np.abs(shape.mouth_corners[side]).tolist()
        smile, sneer = au(12, side), max(au(9, side), au(10, side))
        raised, stretch = au(6, side), au(20, side)
        brow_y = float(shape.brow_centre[side][2, 1])
        # The fold from the nose to beyond the corner, deep where the cheek is pushed over it.
        fold = min(1.2, 0.9 * smile + 0.55 * sneer + 0.15 * stretch + 0.2 * au(15, side))
        top = np.array([flare[side] * 1.05, wing_y[side] - 0.02])
        end = np.array([corner_x + 0.13, corner_y + 0.02])
        bow = np.array([0.05 + 0.05 * smile, -0.04])
        for t in (0.0, 0.25, 0.5, 0.75, 1.0):
            x, y = (1 - t) * top + t * end + 4 * t * (1 - t) * bow
            rows.append((sign * x, y, 0.085, 0.10, 0.05 + 0.20 * fold * stretched))
        rows += [
            (sign * 0.60, 0.58 - 0.06 * smile, 0.19, 0.13, -0.38 * smile - 0.15 * raised),
            (sign * 0.86, 0.98, 0.12, 0.26, 0.30 * smile + 0.2 * au(27)),
            (sign * 0.55, 1.02 + 0.4 * drop, 0.12, 0.22, 0.35 * au(27) + 0.2 * au(26)),
            (sign * 0.5, 0.21, 0.22, 0.05, 0.10 + 0.25 * max(raised, 0.7 * au(7, side))),
            (sign * 0.86, 0.02, 0.10, 0.10, 0.25 * raised),
            # Corners: dimples, what AU15 draws down, what AU20 draws out.
            (sign * (corner_x + 0.04), corner_y, 0.08, 0.09,
             0.08 + 0.12 * smile + 0.28 * au(14, side) + 0.15 * stretch),
            (sign * (corner_x + 0.04), corner_y + 0.14, 0.10, 0.14, 0.35 * au(15, side)),
            (sign * (corner_x + 0.12), corner_y + 0.12, 0.12, 0.20, 0.12 * stretch),
            # Beside the nose: wrinkled flanks, and the lifted triangle of the cheek.
            (sign * 0.22, 0.38, 0.07, 0.16, 0.32 * au(9, side) + 0.2 * au(10, side)),
            (sign * 0.44, 0.46, 0.14, 0.12, -0.18 * sneer),
            # The lowered brow shades the inner socket; a raised one opens it to the light.
            (sign * 0.27, brow_y + 0.17, 0.16, 0.09, 0.50 * au(4, side) + 0.1 * au(9, side)),
            (sign * 0.50, -0.20, 0.24, 0.07,
             -0.30 * max(au(1, side), au(2, side)) - 0.15 * au(5, side) + 0.2 * au(4, side)),
            (sign * 0.62, identity.brow_y - 0.12, 0.22, 0.08, 0.12 * au(2, side)),
            # Sadness: the lids under the slanted brow lie in its shade.
            (sign * 0.45, -0.08, 0.24, 0.10,
             0.90 * min(au(1, side), au(4, side)) * (1 - 0.5 * au(5, side))),
        ]  # fmt: skip
    return np.array([row for row in rows if abs(row[4]) > 0.01], np.float32)
