"""gcnet's programs need Python 3.11; each imports this before anything that does.

In the images of BVLC Caffe `python3` is the Python 3.9 that pycaffe is compiled for. There the
environment variable GCNET_PYTHON names the Python of gcnet's programs, and what 3.9 is asked to run
is handed over to that. What runs inside Caffe's Python (gcnet.in_caffe and gcnet_layers) does
without this module.
"""

import os
import sys

NEEDED = (3, 11)


def hand_over():
    """Run this program anew with GCNET_PYTHON if the present Python is too old for it."""
    if sys.version_info >= NEEDED:
        return
    python = os.environ.pop("GCNET_PYTHON", None)  # so that an old one there is not asked again
    if python is None:
        needed, found = (".".join(map(str, version[:2])) for version in (NEEDED, sys.version_info))
        sys.exit(
            "error: this needs Python {} and is run by {}; . .venv/bin/activate (make setup) "
            "first".format(needed, found)
        )
    module = sys.modules["__main__"].__spec__  # None for a script
    program = sys.argv[:1] if module is None else ["-m", module.parent]
    try:
        os.execv(python, [python, *program, *sys.argv[1:]])
    except OSError as error:
        sys.exit("error: GCNET_PYTHON={}: {}".format(python, error.strerror))


hand_over()
