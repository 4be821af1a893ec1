"""Log lines on standard error in the form of glog, which readers of Caffe's logs know.

    I1122 05:11:49.123456 12345 training.py:218] Iteration 100, lr = 0.01

GLOG_minloglevel leaves out lines: 1 those of `info`, 2 of `warning` too, 3 of `error` too.
"""

import datetime
import os
import sys
import threading

_LEVELS = "IWEF"

bar = None
"""A tqdm bar at the foot of a terminal, which lines must not run into; or None."""


def info(message):
    """Write a line `I... ] message`."""
    _write(0, message)


def warning(message):
    """Write a line `W... ] message`."""
    _write(1, message)


def error(message):
    """Write a line `E... ] message`."""
    _write(2, message)


def fatal(message):
    """Write a line `F... ] message`. It does not end the process, as it does in glog."""
    _write(3, message)


def number(value):
    """A number as C++ streams write it: six significant digits."""
    return f"{float(value):g}"


def _least():
    text = os.environ.get("GLOG_minloglevel", "0")
    return int(text) if text.isdigit() else 0


def _write(level, message):
    # A fatal line is never left out; neither is it in glog.
    if level < min(_least(), 3):
        return
    frame = sys._getframe(2)
    place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
    now = datetime.datetime.now().strftime("%m%d %H:%M:%S.%f")
    line = f"{_LEVELS[level]}{now} {threading.get_native_id()} {place}] {message}\n"
    if bar is not None:
        bar.clear()
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError):
        # Whoever read the log has gone (a closed terminal, a full disk); training goes on.
        pass
    if bar is not None:
        bar.refresh()
