"""How torchcaffe tells a mistake: one line that names the file, layer or row, and the remedy."""


class CaffeError(RuntimeError):
    """A net, a solver, a file or a call is wrong; the message is one line for the user.

    A RuntimeError, since that is what scripts written for pycaffe catch.
    """
