"""Expressions as facial action units (AU), and how they unfold in time.

The combinations are the prototypes and major variants of P. Ekman, W. V. Friesen and
J. C. Hager, "Facial Action Coding System: Investigator's Guide", 2002 (the emotion prediction
table that EMFACS uses), and of the criteria by which CK+ was labelled (P. Lucey et al., "The
Extended Cohn-Kanade Dataset (CK+)", CVPR Workshops 2010, Table 1: anger needs AU23 or AU24,
disgust AU9 or AU10, fear AU1+2+4, happiness AU12, sadness AU1+4+15 or AU11, surprise AU1+2 or
AU5, contempt AU14).
"""

import numpy as np

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 23, 24, 25, 26, 27)
EXPRESSIONS = (
    "neutral",
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
)

# Each expression: variants of {AU: (lowest, highest) share of the sequence's apex intensity}.
_VARIANTS = {
    "anger": (
        {4: (0.7, 0.85), 7: (0.7, 1.0), 24: (0.3, 0.6), 17: (0.8, 1.0), 15: (0.2, 0.3)},
        {
            4: (0.75, 0.9),
            7: (0.6, 0.9),
            10: (0.6, 0.75),
            16: (0.1, 0.4),
            25: (0.6, 0.8),
            26: (0.4, 0.5),
        },
        {
            4: (0.65, 0.8),
            7: (0.7, 1.0),
            9: (0.3, 0.45),
            10: (0.35, 0.5),
            25: (0.6, 0.8),
            26: (0.4, 0.5),
        },
        {
            4: (0.7, 0.85),
            7: (0.6, 0.9),
            9: (0.2, 0.3),
            10: (0.5, 0.65),
            25: (0.6, 0.8),
            26: (0.4, 0.5),
        },
    ),
    "contempt": (
        {"one_sided": True, 12: (0.3, 0.45), 14: (0.7, 0.9)},
        {"one_sided": True, 14: (0.9, 1.0), 12: (0.2, 0.35), 24: (0.1, 0.4)},
    ),
    "disgust": (
        {
            9: (0.7, 0.9),
            10: (0.7, 0.9),
            4: (0.6, 0.8),
            7: (0.5, 0.9),
            15: (0.3, 0.45),
            17: (0.4, 0.8),
        },
        {
            9: (0.6, 0.8),
            10: (0.6, 0.8),
            4: (0.4, 0.6),
            7: (0.4, 0.8),
            25: (0.6, 0.8),
            26: (0.35, 0.5),
        },
        {
            10: (0.8, 0.9),
            9: (0.5, 0.7),
            4: (0.4, 0.6),
            7: (0.4, 0.8),
            15: (0.4, 0.6),
            17: (0.3, 0.6),
        },
    ),
    "fear": (
        {
            1: (1.0, 1.2),
            2: (0.0, 0.2),
            4: (0.6, 0.8),
            5: (0.8, 1.0),
            20: (0.7, 0.9),
            25: (0.8, 1.0),
            26: (0.2, 0.5),
        },
        {
            1: (1.0, 1.2),
            2: (0.0, 0.2),
            4: (0.6, 0.8),
            5: (0.8, 1.0),
            20: (0.7, 0.9),
            25: (0.7, 0.9),
            15: (0.1, 0.3),
            26: (0.0, 0.3),
        },
    ),
    "happiness": (
        {6: (0.5, 0.9), 12: (0.9, 1.1), 25: (0.6, 1.0)},
        {6: (0.6, 1.0), 12: (0.9, 1.1), 25: (0.7, 1.0), 26: (0.3, 0.6)},
        {6: (0.4, 0.8), 12: (0.9, 1.1), 25: (0.4, 0.7)},
        {6: (0.7, 1.0), 12: (0.9, 1.1), 25: (0.8, 1.0), 26: (0.7, 1.0)},
        {6: (0.2, 0.5), 12: (1.0, 1.2), 25: (0.5, 0.9)},
    ),
    "sadness": (
        {1: (0.7, 1.0), 4: (0.7, 1.0), 15: (0.12, 0.27), 17: (0.2, 0.4), 7: (0.2, 0.5)},
        {1: (0.7, 1.0), 4: (0.8, 1.0), 15: (0.12, 0.27), 7: (0.3, 0.6)},
    ),
    "surprise": (
        {1: (0.6, 0.9), 2: (0.6, 0.9), 5: (0.6, 1.0), 25: (0.8, 1.0), 27: (0.7, 1.0)},
        {1: (0.6, 0.9), 2: (0.6, 0.9), 5: (0.5, 0.9), 25: (0.8, 1.0), 27: (0.9, 1.1)},
        {1: (0.6, 0.9), 2: (0.6, 0.9), 5: (0.7, 1.0), 25: (0.9, 1.0), 26: (0.9, 1.1)},
    ),
}


def sample_expression(rng, expression, weakest):
    """Draw an apex: {AU: (left, right)}, intensities in 0..1 (0.2 is FACS A, 1 is FACS E).

    `expression` is one of EXPRESSIONS; left is the image's left. The apex intensity is drawn
    between `weakest` and 1 for the whole face, so a weak smile moves the mouth's corners less than
    they differ between two subjects at rest; the shape of the change still tells what it is.
    """
    if expression == "neutral":
        return {}
    variants = _VARIANTS[expression]
    variant = variants[int(rng.integers(len(variants)))]
    apex = rng.uniform(weakest, 1.0)
    one_sided = variant.get("one_sided", False)
    strong_side = int(rng.integers(2))
    action_units = {}
    for unit, (low, high) in ((u, r) for u, r in variant.items() if u != "one_sided"):
        intensity = apex * rng.uniform(low, high)
        sides = intensity * (1 + rng.normal(0, 0.06, 2))
        if one_sided and unit in (12, 14):
            # One-sided action is what tells contempt from a smile: keep it well visible.
            sides[strong_side] = max(sides[strong_side], 0.5)
            sides[1 - strong_side] = 0.0
        action_units[unit] = tuple(float(side) for side in np.clip(sides, 0, 1.1))
    # A mouth that happens to be a little open says nothing.
    if expression in ("happiness", "surprise") and rng.random() < 0.35:
        for unit, high in ((25, 0.7), (26, 0.45)):
            level = float(rng.uniform(0.1, high))
            action_units[unit] = tuple(
                max(level, side) for side in action_units.get(unit, (0.0, 0.0))
            )
    return action_units


def sample_apex(rng, expression, conditions):
    """Draw the apex of `expression` as identity.Conditions have it, {AU: (left, right)}."""
    weakest = conditions.weakest_apex
    apex = scaled(
        sample_expression(rng, expression, weakest), conditions.strength.get(expression, 1.0)
    )
    if conditions.mixture and expression != "neutral":
        share = float(rng.uniform(0, conditions.mixture))
        other = sample_expression(rng, str(rng.choice(EXPRESSIONS[1:])), weakest)
        for unit, sides in scaled(other, share).items():
            left, right = apex.get(unit, (0.0, 0.0))
            apex[unit] = (max(left, sides[0]), max(right, sides[1]))
    return apex


def sample_action_units(rng):
    """Draw two or three action units that make no prototype: a sequence without an emotion label.

    CK+ has 266 such sequences of 593: its subjects were asked for single units and combinations.
    """
    chosen = rng.choice(
        [1, 2, 4, 6, 17, 20, 24, 25, 26], size=int(rng.integers(2, 4)), replace=False
    )
    return {
        int(unit): (float(level), float(level))
        for unit, level in zip(chosen, rng.uniform(0.3, 0.9, len(chosen)))
    }


def time_course(rng, frames):
    """Share of the apex reached at each frame: `frames` values from 0 (neutral) to 1 (apex).

    Smooth onset of varying start and speed; the first frame is neutral and the last the apex,
    as in CK+.
    """
    start, end = rng.uniform(0.0, 0.2), rng.uniform(0.5, 0.75)
    t = np.linspace(0, 1, frames)
    progress = np.clip((t - start) / (end - start), 0, 1)
    return progress * progress * (3 - 2 * progress)


def scaled(action_units, share):
    """The same action units at `share` (0..1) of their intensity."""
    return {unit: (left * share, right * share) for unit, (left, right) in action_units.items()}
