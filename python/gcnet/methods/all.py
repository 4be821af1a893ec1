"""Importing this registers the models of all methods."""

from gcnet.methods.gcnet import models  # noqa: F401
