"""How a mistake in the user's input is told: one line, exit status 1."""

import functools
import sys


class InputError(Exception):
    """Something the user gave is wrong; the message names file, row or layer, and remedy."""


def one_line_errors(main):
    """Wrap a command's `main`: InputError and OSError become one line on standard error, status 1.

    Ctrl-C ends with status 130, as a shell reports it.
    """

    @functools.wraps(main)
    def wrapped(*arguments, **named):
        try:
            return main(*arguments, **named) or 0
        except (InputError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130

    return wrapped
