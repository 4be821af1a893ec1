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


def size(text):
    """An argparse type: "320x240" as (320, 240), each from 16 to 4096 pixels."""
    try:
        width, height = map(int, text.split("x"))
    except ValueError:
        width = height = 0
    if not (16 <= width <= 4096 and 16 <= height <= 4096):
        raise argparse.ArgumentTypeError("give pixels as 320x240, each from 16 to 4096")
    return width, height
