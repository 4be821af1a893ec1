"""How much of the machine this process may use."""

import os


def available_cores():
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0))
