"""Nets written in Python: `n = NetSpec(); n.conv = layers.Convolution(n.data, num_output=3)`.

`layers` makes tops by the names of layer types, `params` has the enums of their parameters
(`params.Pooling.MAX`), `to_proto` gives the NetParameter. Layers that nobody names are called as
in BVLC Caffe: the type and a number.
"""

import collections
import difflib

from torchcaffe.schema import caffe_pb2


def param_name_dict():
    """{layer type: its field of LayerParameter without `_param`}, for instance Pooling: pooling."""
    fields = [field for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields if field.message_type]
    return {
        field.message_type.name.removesuffix("Parameter"): field.name.removesuffix("_param")
        for field in fields
        if field.name.endswith("_param")
    }


_FIELDS = param_name_dict()


def to_proto(*tops):
    """The NetParameter of all layers that the tops need."""
    net = _Writer()
    for top in tops:
        net.add(top.fn)
    return net.proto()


def assign_proto(message, name, value):
    """Set a field of a message from a Python value: dicts fill messages, lists repeated fields.

    A single value for a repeated field counts as a list of one.
    """
    if name not in message.DESCRIPTOR.fields_by_name:
        near = difflib.get_close_matches(name, message.DESCRIPTOR.fields_by_name, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"{message.DESCRIPTOR.name} has no field {name!r}{hint}")
    field = getattr(message, name)
    if hasattr(field, "extend"):
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, dict):
                _assign_all(field.add(), item)
            else:
                field.append(item)
    elif isinstance(value, dict):
        # Also an empty dict makes the message present.
        field.SetInParent()
        _assign_all(field, value)
    elif isinstance(value, list | tuple):
        field.extend(value)
    else:
        setattr(message, name, value)


def _assign_all(message, values):
    for name, value in values.items():
        assign_proto(message, name, value)


class Top:
    """A blob: the top `n` of the layer `fn`."""

    def __init__(self, fn, n):
        self.fn = fn
        self.n = n

    def to_proto(self):
        """The NetParameter of all layers that this top needs."""
        return to_proto(self)


class Function:
    """A layer: its type, the Tops that it reads, and its parameters.

    `ntop` (1) is how many tops it makes, `in_place` (False) says that they are its bottoms.
    """

    def __init__(self, type_name, inputs, params):
        self.type_name = type_name
        for place, top in enumerate(inputs):
            if not isinstance(top, Top):
                raise TypeError(f"{type_name} input {place} is not a Top (type is {type(top)})")
        self.inputs = inputs
        self.params = params
        self.ntop = params.pop("ntop", 1)
        self.in_place = params.pop("in_place", False)
        self.tops = tuple(Top(self, place) for place in range(self.ntop))

    def fill(self, layer):
        """Set the parameters of a LayerParameter."""
        own = f"{_FIELDS.get(self.type_name)}_param"
        for name, value in self.params.items():
            target = layer
            if not name.endswith("param") and own in layer.DESCRIPTOR.fields_by_name:
                fields = layer.DESCRIPTOR.fields_by_name[own].message_type.fields_by_name
                if name in fields or name not in layer.DESCRIPTOR.fields_by_name:
                    target = getattr(layer, own)
            assign_proto(target, name, value)


class _Writer:
    """Writes the layers of a net in the order in which they are needed, and names them."""

    def __init__(self, names=None):
        self.names = dict(names or {})  # Top or Function -> name
        self.layers = {}  # Function -> LayerParameter
        self.counts = collections.Counter()

    def add(self, fn):
        # A stack of its own: nets may be deeper than Python's recursion goes.
        stack = [fn]
        while stack:
            fn = stack[-1]
            waiting = [top.fn for top in fn.inputs if top.fn not in self.layers]
            if fn in self.layers:
                stack.pop()
            elif waiting:
                stack.append(waiting[0])
            else:
                self.layers[fn] = self._layer(fn)
                stack.pop()

    def _layer(self, fn):
        layer = caffe_pb2.LayerParameter(type=fn.type_name)
        layer.bottom.extend(self.layers[top.fn].top[top.n] for top in fn.inputs)
        if fn.in_place:
            layer.top.extend(layer.bottom)
        else:
            layer.top.extend(self._name(top, fn) for top in fn.tops)
        layer.name = self._name(fn.tops[0], fn) if fn.tops else self._name(fn, fn)
        fn.fill(layer)
        return layer

    def _name(self, what, fn):
        if what not in self.names:
            self.counts[fn.type_name] += 1
            self.names[what] = f"{fn.type_name}{self.counts[fn.type_name]}"
        return self.names[what]

    def proto(self):
        net = caffe_pb2.NetParameter()
        net.layer.extend(self.layers.values())
        return net


class NetSpec:
    """A net whose tops are its attributes (or items); their names name blobs and layers."""

    def __init__(self):
        super().__setattr__("tops", collections.OrderedDict())

    def __setattr__(self, name, top):
        self.tops[name] = top

    def __getattr__(self, name):
        if name.startswith("__") or name not in self.tops:
            raise AttributeError(f"the net has no top {name!r}")
        return self.tops[name]

    def __setitem__(self, name, top):
        self.tops[name] = top

    def __getitem__(self, name):
        return self.tops[name]

    def to_proto(self):
        """The NetParameter of all tops and of what they need."""
        net = _Writer({top: name for name, top in self.tops.items()})
        for top in self.tops.values():
            net.add(top if isinstance(top, Function) else top.fn)
        return net.proto()


class Layers:
    """`layers.Pooling(bottom, pool=params.Pooling.MAX)`: a Top, several Tops, or with ntop=0 the
    layer itself."""

    def __getattr__(self, type_name):
        if type_name.startswith("__"):
            raise AttributeError(type_name)

        def make(*bottoms, **params):
            fn = Function(type_name, bottoms, params)
            return fn if fn.ntop == 0 else fn.tops[0] if fn.ntop == 1 else fn.tops

        return make


class Parameters:
    """`params.Pooling.MAX`: the values of the enums of PoolingParameter, and so on."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(caffe_pb2, f"{name}Parameter")


layers = Layers()
params = Parameters()
