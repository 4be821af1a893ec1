"""A base for Python layers whose mistakes reach the user.

BVLC Caffe aborts with a C++ stack trace when a Python layer raises and shows nothing of the
exception, so the layer itself prints the traceback and one line about itself first.
"""

import functools
import json
import sys
import traceback

import caffe

METHODS = ("setup", "reshape", "forward", "backward", "forward_tensors", "backward_tensors")


def shape_text(blob):
    """`64x96x8x8` for a blob of that shape."""
    return "x".join(str(size) for size in blob.shape)


def _reported(method):
    @functools.wraps(method)
    def wrapped(self, *arguments):
        try:
            return method(self, *arguments)
        except Exception as error:
            if getattr(error, "reported", False):  # by the setup of the base class
                raise
            error.reported = True
            traceback.print_exc()
            print(
                "error: Python layer {} ({}): {}".format(
                    getattr(self, "name", "of unknown name"), type(self).__name__, error
                ),
                file=sys.stderr,
            )
            sys.stderr.flush()
            raise

    return wrapped


class ReportedLayer(caffe.Layer):
    """A Python layer that prints its exceptions, with its name, before Caffe aborts.

    BVLC Caffe does not tell a Python layer its name, so `param_str` repeats it:
    `param_str: '{"name": "decoder1/unpool1"}'`. A subclass lists in `parameters` the other keys
    that its `param_str` may have, each with its default.

    Raises (printed first): ValueError for a `param_str` that is no JSON object or has a key that
    the layer does not know, and for a wrong number of bottoms or tops.
    """

    parameters = {}
    bottoms = ()

    def __init_subclass__(cls, **named):
        super().__init_subclass__(**named)
        for method in METHODS:
            if method in vars(cls):
                setattr(cls, method, _reported(vars(cls)[method]))

    @_reported
    def setup(self, bottom, top):
        self.name = "of unknown name"
        given = self._read_parameters()
        self.name = given.pop("name", self.name)
        unknown = sorted(set(given) - set(self.parameters))
        if unknown:
            raise ValueError(
                "param_str has {}, expected only {}".format(
                    unknown, sorted(["name", *self.parameters])
                )
            )
        for key, default in self.parameters.items():
            setattr(self, key, given.get(key, default))
        if len(bottom) != len(self.bottoms) or len(top) != 1:
            raise ValueError(
                "got {} bottoms and {} tops, expected the bottoms {} and one top".format(
                    len(bottom), len(top), " and ".join(self.bottoms)
                )
            )

    def _read_parameters(self):
        if not self.param_str:
            return {}
        try:
            given = json.loads(self.param_str)
        except ValueError as error:
            raise ValueError(
                "param_str {!r} is not JSON ({}), expected an object such as {{}}".format(
                    self.param_str, error
                )
            ) from None
        if not isinstance(given, dict):
            raise ValueError(
                "param_str {!r} is a {}, expected a JSON object".format(
                    self.param_str, type(given).__name__
                )
            )
        return given
