"""What the commands' options have in common."""

import argparse


def at_least(least):
    """An argparse type: a whole number, `least` or more."""

    def number(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"give a whole number, {least} or more")
        return value

    return number
