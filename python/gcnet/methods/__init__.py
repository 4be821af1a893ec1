"""The methods: importing this registers their models and what is published of them.

A method is a package here with `models.py` (its Models), `published.py` (its papers' tables) and
whatever figures and experiments are its own. Nothing of gcnet outside of this package imports it.
"""

from gcnet.methods.gcnet import models  # noqa: F401 (registers)
