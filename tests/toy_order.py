"""The order of the toy pair, for both engines' Python. What it draws depends on the iteration."""

import numpy as np

SHARING = [("generator", "discriminator")]

BATCH = 8


def draws(iteration):
    """What iteration `iteration` trains on, {blob: array}."""
    random = np.random.RandomState(iteration)
    return {
        "real": random.normal(1, 1, (BATCH, 3)),
        "z": random.normal(0, 1, (BATCH, 2)),
        "target": random.normal(0.5, 1, (BATCH, 3)),
    }


def iteration(solvers, memory):
    """A step of the discriminator, one of the generator and, if the other gains, one more."""
    generator, discriminator = solvers["generator"], solvers["discriminator"]
    steps = memory.setdefault("steps", [])
    drawn = draws(len(steps))
    for name in ("z", "target"):
        generator.net.blobs[name].data[...] = drawn[name]
    generator.net.forward()
    discriminator.net.blobs["real"].data[...] = drawn["real"]
    discriminator.net.blobs["fake"].data[...] = generator.net.blobs["fake"].data
    discriminator.step()
    gains = discriminator.loss < memory.get("before", 0)
    memory["before"] = discriminator.loss
    steps.append(2 if gains else 1)
    for _ in range(steps[-1]):
        generator.step()
