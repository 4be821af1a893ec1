"""Solvers: what trains a net.

policies.py   the learning rate of an iteration
updates.py    what each solver type makes of a gradient
training.py   the loop: steps, tests, display, snapshots
"""

from torchcaffe.solver.training import Solver

__all__ = ["Solver"]
