"""How torchcaffe tells a mistake: one line that names the file, layer or row, and the remedy."""


class CaffeError(RuntimeError):
    """A net, a solver, a file or a call is wrong; the message is one line for the user.

    A RuntimeError, since that is what scripts written for pycaffe catch.
    """


def layer_title(name, kind, place):
    """`layer conv1 (Convolution)`; one without a name is `layer #3 (Convolution)`, the third."""
    return f"layer {name or f'#{place}'} ({kind})"


def net_title(name):
    """`net LeNet`, or `net without a name`."""
    return f"net {name}" if name else "net without a name"
