"""Layers that are written in Python: those that BVLC Caffe loads, and their tensor forms."""

import importlib
import sys
import traceback

from torchcaffe import as_caffe
from torchcaffe.arrays import Blob, upload
from torchcaffe.errors import CaffeError
from torchcaffe.layers import python_base
from torchcaffe.layers.base import Layer, layer


@layer("Python")
class PythonLayer(Layer):
    """An object of the class `layer` in the Python module `module`, with `param_str`.

    As in BVLC Caffe `setup` runs once, `reshape` before each forward pass, and the methods see the
    net's blobs as numpy arrays; `import caffe` in the module gives torchcaffe. A class that has
    forward_tensors and backward_tensors computes on tensors (see python_base.py). What goes wrong
    in the module is a CaffeError that names the layer, after the traceback on standard error; BVLC
    Caffe aborts.
    """

    bottoms = (0, None)
    tops = (0, None)

    def setup(self, shapes):
        as_caffe.install()
        given = self.parameter.python_param
        self.instance = self._class()(self)
        self.instance.param_str = given.param_str
        self._bottom = [Blob(blob) for blob in self.bottom_blobs]
        self._top = [Blob(blob) for blob in self.top_blobs]
        self._on_tensors = all(
            callable(getattr(self.instance, name, None))
            for name in ("forward_tensors", "backward_tensors")
        )
        self._call("setup", self._bottom, self._top)

    @property
    def takes_index_mask(self):
        return self._on_tensors and getattr(self.instance, "takes_index_mask", False)

    def _class(self):
        """The class that the prototxt names."""
        given = self.parameter.python_param
        try:
            module = importlib.import_module(given.module)
        except Exception as error:
            if not (isinstance(error, ModuleNotFoundError) and error.name == given.module):
                traceback.print_exc()
            self._fail(f"cannot import its module {given.module!r}: {_told(error)}; is its "
                       "folder on PYTHONPATH?", error)  # fmt: skip
        found = getattr(module, given.layer, None)
        if not _is_layer_class(found):
            there = sorted(name for name, value in vars(module).items() if _is_layer_class(value))
            what = "has no class" if found is None else "has no subclass of caffe.Layer called"
            self.fail(
                f"the module {given.module} {what} {given.layer!r}; it has {', '.join(there)}"
            )
        return found

    def reshape(self, shapes):
        self._call("reshape", self._bottom, self._top)
        return [blob.shape for blob in self.top_blobs]

    def forward(self, bottoms, keep):
        if self._on_tensors:
            tops = self._tensors("forward_tensors", len(self.top_blobs), list(bottoms))
            for place, (top, blob) in enumerate(zip(tops, self.top_blobs)):
                self._check_shape(f"top {place} of forward_tensors", top, blob.shape)
            return tops
        self._call("reshape", self._bottom, self._top)
        self._call("forward", self._bottom, self._top)
        return [blob.data for blob in self.top_blobs]

    def backward(self, top_diffs, propagate_down):
        wanted = [bool(want) for want in propagate_down]
        if self._on_tensors:
            diffs = self._tensors("backward_tensors", len(wanted), list(top_diffs), wanted)
            for place, (diff, blob) in enumerate(zip(diffs, self.bottom_blobs)):
                if not wanted[place]:
                    diffs[place] = None
                elif diff is None:
                    # As a numpy layer that writes no gradient.
                    diffs[place] = blob.diff
                else:
                    self._check_shape(f"gradient {place} of backward_tensors", diff, blob.shape)
            return diffs
        self._call("backward", self._top, wanted, self._bottom)
        return [blob.diff if want else None for blob, want in zip(self.bottom_blobs, wanted)]

    def _tensors(self, method, count, *arguments):
        found = self._call(method, *arguments)
        found = list(found) if isinstance(found, list | tuple) else [found]
        if len(found) != count:
            self.fail(f"{method} returns {len(found)} tensors, expected {count}")
        return found

    def _check_shape(self, what, tensor, shape):
        got = getattr(tensor, "shape", None)
        if got != shape:
            text = type(tensor).__name__ if got is None else tuple(got)
            self.fail(f"{what} is {text}, expected a tensor of {tuple(shape)}")

    def _call(self, method, *arguments):
        try:
            result = getattr(self.instance, method)(*arguments)
        except Exception as error:
            if not getattr(error, "reported", False):
                traceback.print_exc()
                sys.stderr.flush()
            self._fail(f"{self.parameter.python_param.layer}.{method}: {_told(error)}", error)
        upload()
        return result

    def _fail(self, message, error):
        try:
            self.fail(message)
        except CaffeError as failure:
            # Its traceback has been printed; it would only come a second time.
            raise failure from None


def _is_layer_class(value):
    base = python_base.Layer
    return isinstance(value, type) and issubclass(value, base) and value is not base


def _told(error):
    return " ".join(f"{type(error).__name__}: {error}".split())
