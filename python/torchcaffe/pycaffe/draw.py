"""Pictures of nets: `draw_net_to_file(net, "net.dot", "TB")`, net a NetParameter.

The text that Graphviz draws (.dot, .gv, .raw) needs nothing else; pictures (.png, .svg, .pdf) need
Graphviz's program `dot`.
"""

import os
import shutil
import subprocess

from torchcaffe.errors import CaffeError
from torchcaffe.graph import meets
from torchcaffe.schema import caffe_pb2

TEXT = ("dot", "gv", "raw")

_COLORS = {
    "Convolution": "#e8a0a0",
    "Deconvolution": "#e8a0a0",
    "Pooling": "#f0c890",
    "InnerProduct": "#d0b0e8",
}


def get_pooling_types_dict():
    """{number: name} of the pooling methods."""
    return {number: name for name, number in caffe_pb2.PoolingParameter.PoolMethod.items()}


def get_edge_label(layer):
    """What an edge to a top says: the batch size of Data, else num_output where there is one."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return ""


def get_layer_lr_mult(layer):
    """(lr_mult of the weights, of the bias) of a layer with both."""
    if layer.type not in ("Convolution", "Deconvolution", "InnerProduct"):
        raise ValueError(f"{layer.type} layers have no weights and bias")
    rates = [spec.lr_mult for spec in layer.param] + [1.0, 1.0]
    return rates[0], rates[1]


def get_layer_label(layer, rankdir, display_lrm=False):
    """What the node of a layer says: name, type, kernel; with display_lrm the lr_mult."""
    kind = layer.type
    lines = []
    if kind == "Pooling":
        given = layer.pooling_param
        kind += f" {get_pooling_types_dict()[given.pool]}"
        lines.append(_kernel(given.kernel_size, given.stride, given.pad))
    elif kind in ("Convolution", "Deconvolution"):
        given = layer.convolution_param
        first = [values[0] if values else default for values, default in (
            (given.kernel_size, 1), (given.stride, 1), (given.pad, 0))]  # fmt: skip
        lines.append(_kernel(*first))
    if display_lrm and layer.type in ("Convolution", "Deconvolution", "InnerProduct"):
        lines.append("lr mult: {:.1f}, {:.1f}".format(*get_layer_lr_mult(layer)))
    return (" " if rankdir in ("TB", "BT") else "\n").join([layer.name, f"({kind})", *lines])


def _kernel(size, stride, pad):
    return f"kernel size: {size} stride: {stride} pad: {pad}"


def dot_text(net, rankdir="LR", label_edges=True, phase=None, display_lrm=False):
    """The graph of a NetParameter in Graphviz's language: layers as boxes, blobs as octagons.

    rankdir: LR, TB or BT, where the graph grows to; phase: only layers of that phase.
    """
    nodes, edges = {}, []
    for layer in net.layer:
        if phase is not None and not _is_in(layer, phase):
            continue
        node = f"layer {layer.name} {layer.type}"
        if node in nodes:  # of several of one name, or without one
            node += f" {len(nodes)}"
        in_place = len(layer.bottom) == len(layer.top) == 1 and layer.bottom[0] == layer.top[0]
        color = "#a0d8a0" if in_place else _COLORS.get(layer.type, "#a0b8e8")
        label = get_layer_label(layer, rankdir, display_lrm)
        style = f"shape=box style=filled fillcolor={_quoted(color)}"
        nodes[node] = f"label={_quoted(label)} {style}"
        for blob in (*layer.bottom, *layer.top):
            nodes[f"blob {blob}"] = (
                f'label={_quoted(blob)} shape=octagon style=filled fillcolor="#e0e0e0"'
            )
        edges += [(f"blob {bottom}", node, "") for bottom in layer.bottom]
        label = get_edge_label(layer) if label_edges else ""
        edges += [(node, f"blob {top}", label) for top in layer.top]
    lines = [f"  {_quoted(node)} [{how}];" for node, how in nodes.items()]
    lines += [
        f"  {_quoted(start)} -> {_quoted(end)} [label={_quoted(label)}];"
        for start, end, label in edges
    ]
    head = f"digraph {_quoted(net.name or 'Net')} {{\n  rankdir={_quoted(rankdir)};\n"
    return head + "\n".join(lines) + "\n}\n"


def _is_in(layer, phase):
    state = caffe_pb2.NetState(phase=phase)
    rules = [
        caffe_pb2.NetStateRule(**({"phase": rule.phase} if rule.HasField("phase") else {}))
        for rule in (*layer.include, *layer.exclude)
    ]
    met = [meets(state, rule) for rule in rules]
    return any(met) if layer.include else not any(met)


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def get_pydot_graph(caffe_net, rankdir, label_edges=True, phase=None, display_lrm=False):
    """The graph as pydot's; needs that package."""
    try:
        import pydot
    except ImportError as error:
        raise CaffeError("get_pydot_graph needs pydot: pip install pydot") from error
    text = dot_text(caffe_net, rankdir, label_edges, phase, display_lrm)
    return pydot.graph_from_dot_data(text)[0]


def draw_net(caffe_net, rankdir, ext="png", phase=None, display_lrm=False):
    """The picture (or for dot, gv, raw the text) as bytes. Raises CaffeError without Graphviz."""
    text = dot_text(caffe_net, rankdir, True, phase, display_lrm).encode()
    if ext in TEXT:
        return text
    program = shutil.which("dot")
    if program is None:
        raise CaffeError(
            f"a .{ext} picture needs Graphviz (apt-get install graphviz); a .dot file does not"
        )
    drawn = subprocess.run([program, f"-T{ext}"], input=text, capture_output=True)
    if drawn.returncode:
        raise CaffeError(f"Graphviz: {drawn.stderr.decode(errors='replace').strip()}")
    return drawn.stdout


def draw_net_to_file(caffe_net, filename, rankdir="LR", phase=None, display_lrm=False):
    """Write the picture in the form that the file's ending says."""
    ext = os.path.splitext(filename)[1].removeprefix(".")
    picture = draw_net(caffe_net, rankdir, ext or "dot", phase, display_lrm)
    with open(filename, "wb") as file:
        file.write(picture)
