"""What Caffe does to a net's text before it builds the layers: rules of state, and splits."""

import difflib

from torchcaffe.errors import CaffeError, layer_title
from torchcaffe.schema import caffe_pb2


def filtered(net):
    """The NetParameter of the layers whose `include` and `exclude` rules its `state` meets.

    Also [their places among all layers, from 1]. Raises CaffeError for a layer that gives both
    kinds of rules.
    """
    kept = caffe_pb2.NetParameter()
    kept.CopyFrom(net)
    del kept.layer[:]
    places = []
    for place, layer in enumerate(net.layer, 1):
        if layer.include and layer.exclude:
            title = layer_title(layer.name, layer.type, place)
            raise CaffeError(f"{title}: has include and exclude rules; give one kind")
        included = (
            any(meets(net.state, rule) for rule in layer.include)
            if layer.include
            else not any(meets(net.state, rule) for rule in layer.exclude)
        )
        if included:
            kept.layer.add().CopyFrom(layer)
            places.append(place)
    return kept, places


def meets(state, rule):
    """Whether a NetState meets a NetStateRule."""
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )


def with_splits(net, places, whole):
    """The NetParameter with a Split layer after each top that several layers read, and its places.

    A top with a loss_weight that a layer also reads counts as read once more; its weight moves to
    the first top of the Split. Names are BVLC Caffe's, since they are seen in logs and caffemodels.
    The layer's other tops keep their weights, and a loss layer whose weight has moved counts once;
    BVLC Caffe clears all weights of the layer, which drops the others and gives a loss layer its
    default weight again, so that the loss that it logs is too great by the loss itself.
    `places`: of the layers in the net's text; the Splits' are None. `whole`: the net before its
    rules of state were followed, for a better message. Raises CaffeError for a bottom that no
    layer before it makes.
    """
    makers = {}  # blob -> (place of layer, place of top), as of the layer being read
    readers = {}
    weights = {}
    read_from = {}
    for i, layer in enumerate(net.layer):
        for j, bottom in enumerate(layer.bottom):
            if bottom not in makers:
                raise CaffeError(_no_maker(net, i, bottom, places, whole))
            read_from[i, j] = makers[bottom]
            readers[makers[bottom]] = readers.get(makers[bottom], 0) + 1
        for j, top in enumerate(layer.top):
            makers[top] = (i, j)
            if j < len(layer.loss_weight) and layer.loss_weight[j]:
                weights[i, j] = layer.loss_weight[j]
    count = {top: number + (top in weights) for top, number in readers.items()}
    used = {}
    split = caffe_pb2.NetParameter()
    split.CopyFrom(net)
    del split.layer[:]
    new_places = []
    for i, layer in enumerate(net.layer):
        new_places.append(places[i])
        new = split.layer.add()
        new.CopyFrom(layer)
        for j in range(len(layer.bottom)):
            top = read_from[i, j]
            if count[top] > 1:
                made = net.layer[top[0]]
                new.bottom[j] = _split_top(made, top[1], used[top])
                used[top] += 1
        for j, name in enumerate(layer.top):
            if count.get((i, j), 0) > 1:
                added = split.layer.add(name=_split_name(layer, j), type="Split")
                new_places.append(None)
                added.bottom.append(name)
                for number in range(count[i, j]):
                    added.top.append(_split_top(layer, j, number))
                used[i, j] = 0
                if (i, j) in weights:
                    added.loss_weight.extend([weights[i, j]] + [0] * (count[i, j] - 1))
                    new.loss_weight[j] = 0
                    used[i, j] = 1
    return split, new_places


def _split_name(layer, place):
    return f"{layer.top[place]}_{layer.name}_{place}_split"


def _split_top(layer, place, number):
    return f"{_split_name(layer, place)}_{number}"


def _no_maker(net, place, bottom, places, whole):
    layer = net.layer[place]
    start = f"{layer_title(layer.name, layer.type, places[place])}: "
    later = [
        layer_title(other.name, other.type, where)
        for other, where in zip(net.layer[place + 1 :], places[place + 1 :])
        if bottom in other.top
    ]
    if later:
        return (
            f"{start}its bottom {bottom!r} is made only later, by {later[0]}; "
            "put that layer before this one (a net has no loops)"
        )
    left_out = [
        layer_title(other.name, other.type, where)
        for where, other in enumerate(whole.layer, 1)
        if bottom in other.top and where not in places
    ]
    if left_out:
        return (
            f"{start}its bottom {bottom!r} is made by {left_out[0]}, which its include or "
            "exclude rules leave out here; give both layers the same rules"
        )
    made = [top for other in net.layer if other is not layer for top in other.top]
    near = difflib.get_close_matches(bottom, made, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{start}no layer makes its bottom {bottom!r}{hint}"
