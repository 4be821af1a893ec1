"""How torchcaffe tells a mistake: one line that names the file, layer or row, and the remedy."""


class CaffeError(Exception):
    """A net, a solver, a file or a call is wrong; the message is one line for the user."""
