"""Recurrent layers: RNN and LSTM over a whole sequence, LSTMUnit for one timestep."""

import math

import torch

from torchcaffe.layers.base import ComputedLayer, layer

linear = torch.nn.functional.linear


class _Forget(torch.autograd.Function):
    """cont sigmoid(x), with BVLC Caffe's gradient f (1 - f) of the product f.

    It is the derivative where cont is 0 or 1. No gradient for cont.
    """

    @staticmethod
    def forward(context, x, cont):
        gate = torch.where(cont == 0, 0.0, cont * torch.sigmoid(x))
        context.save_for_backward(gate)
        return gate

    @staticmethod
    def backward(context, diff):
        (gate,) = context.saved_tensors
        return diff * gate * (1 - gate), None


def _unit(cell, gates, cont):
    """One timestep of an LSTM: (cell, hidden); the gates are input, forget, output and cell's."""
    size = cell.shape[-1]
    add, forget, show, new = gates.split(size, -1)
    cell = _Forget.apply(forget, cont.unsqueeze(-1)) * cell + torch.sigmoid(add) * torch.tanh(new)
    return cell, torch.sigmoid(show) * torch.tanh(cell)


@layer("LSTMUnit")
class LSTMUnit(ComputedLayer):
    """c, gates, cont -> c, h for one timestep: 1 x N x D, 1 x N x 4 D, 1 x N -> twice 1 x N x D.

    The gates come in the order input, forget, output, cell. `cont` multiplies the forget gate; the
    gradient of the forget gate is BVLC Caffe's, exact for a cont of 0 or 1.
    """

    bottoms = (3, 3)
    tops = (2, 2)
    ignored_by_force_backward = (2,)

    def reshape(self, shapes):
        cell, gates, cont = shapes
        self.check(
            len(cell) == 3 and cell[0] == 1, f"its first bottom is {cell}, expected 1 x N x D"
        )
        expected = (1, cell[1], 4 * cell[2])
        self.check(gates == expected, f"its second bottom is {gates}, expected {expected}")
        self.check(cont == cell[:2], f"its third bottom is {cont}, expected {cell[:2]}")
        return [cell, cell]

    def compute(self, bottoms, params):
        return _unit(*bottoms)

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[2], "has no gradient for its third bottom, cont")
        return super().backward(top_diffs, propagate_down)


class Recurrent(ComputedLayer):
    """x (T x N x ...), cont (T x N) and maybe x_static (N x ...) -> T x N x num_output.

    N streams of T timesteps; T stays what it was when the net was built. The hidden state is
    multiplied by cont before each timestep, so that 0 starts a sequence and 1 goes on.

    Without `expose_hidden` a pass starts from the hidden state in which the last one ended, zeros
    at first, in both phases; gradients do not reach back over the pass. With more streams than ever
    before it starts from zeros, with fewer from those of the first, as BVLC Caffe's memory has it.
    With `expose_hidden` the first hidden state is given by further bottoms and the last one is
    further tops; as in BVLC Caffe no gradient flows through either.
    """

    ignored_by_force_backward = (1,)
    states = 0
    """How many blobs the hidden state is."""

    def __init__(self, parameter, phase, device):
        super().__init__(parameter, phase, device)
        self._exposed = self.states if parameter.recurrent_param.expose_hidden else 0
        self.bottoms = (2 + self._exposed, 3 + self._exposed)
        self.tops = (1 + self._exposed,) * 2

    def setup(self, shapes):
        given = self.parameter.recurrent_param
        self.check(given.num_output > 0, "num_output is 0, expected 1 or more")
        self._static = len(shapes) > 2 + self._exposed
        x = shapes[0]
        self.check(len(x) >= 3, f"its first bottom is {tuple(x)}, expected T x N x ...")
        self._times = x[0]
        self._x_size = math.prod(x[2:])
        if self._static:
            self.check(
                len(shapes[2]) >= 2,
                f"its third bottom, x_static, is {tuple(shapes[2])}, expected N x ...",
            )
            self._static_size = math.prod(shapes[2][1:])
        self._memory = [torch.zeros(0, device=self.device)] * self.states
        self._last = None
        self.make_parameters(given)

    def reshape(self, shapes):
        shapes = [tuple(shape) for shape in shapes]
        x, cont = shapes[:2]
        self.check(
            len(x) >= 3 and x[0] == self._times,
            f"its first bottom is {x}, expected {self._times} timesteps x N x ...; "
            "their number cannot change after the net is built",
        )
        self.check(
            math.prod(x[2:]) == self._x_size,
            f"its first bottom has {math.prod(x[2:])} values a timestep, expected {self._x_size}",
        )
        expected = tuple(x[:2])
        self.check(cont == expected, f"its second bottom, cont, is {cont}, expected {expected}")
        if self._static:
            static = shapes[2]
            self.check(
                static[:1] == x[1:2] and math.prod(static[1:]) == self._static_size,
                f"its third bottom, x_static, is {static}, expected {x[1]} x {self._static_size}",
            )
        state = (1, x[1], self.parameter.recurrent_param.num_output)
        for place in range(self._exposed):
            place += 2 + self._static
            self.check(
                shapes[place] == state,
                f"its bottom {place}, the hidden state, is {shapes[place]}, expected {state}",
            )
        self._state = state
        for place, memory in enumerate(self._memory):
            if memory.numel() < math.prod(state):
                self._memory[place] = torch.zeros(math.prod(state), device=self.device)
        return [(*x[:2], state[2]), *[state] * self._exposed]

    def forward(self, bottoms, keep):
        if self._exposed:
            # `.data` and not `.detach()`: pycaffe writes a GPU's blobs anew before `backward`.
            self._start = [bottom.data for bottom in bottoms[2 + self._static :]]
            return super().forward(bottoms, keep)
        count = math.prod(self._state)
        self._start = self._last = [memory[:count].reshape(self._state) for memory in self._memory]
        results = super().forward(bottoms, keep)
        # Not in place: the start of this pass may be asked for again.
        self._memory = [
            torch.cat([end.detach().flatten(), memory[count:]])
            for end, memory in zip(self._end, self._memory)
        ]
        return results

    def forget_last_pass(self):
        if self._last is not None:
            self._memory = [
                torch.cat([start.flatten(), memory[start.numel() :]])
                for start, memory in zip(self._last, self._memory)
            ]

    def compute(self, bottoms, params):
        cont = bottoms[1].detach()
        static = bottoms[2].flatten(1) if self._static else None
        top, self._end = self.unroll(bottoms[0].flatten(2), cont, static, params, self._start)
        return [top, *(state.detach() for state in self._end[: self._exposed])]

    def backward(self, top_diffs, propagate_down):
        self.check(not propagate_down[1], "has no gradient for its second bottom, cont")
        return super().backward(top_diffs, propagate_down)

    def make_parameters(self, given):
        raise NotImplementedError

    def unroll(self, x, cont, static, params, states):
        """(top, states at the end) for x (T x N x D), cont (T x N), static (N x S or None)."""
        raise NotImplementedError


@layer("LSTM")
class LSTM(Recurrent):
    """LSTM; the state is h and c.

    Parameters in order: W_xc (4 D x inputs), b_c (4 D), W_xc_static (4 D x static inputs, with
    x_static only), W_hc (4 D x D); the four gates as in LSTMUnit.
    """

    states = 2

    def make_parameters(self, given):
        size = given.num_output
        self.add_parameter((4 * size, self._x_size), given.weight_filler)
        self.add_parameter((4 * size,), given.bias_filler)
        if self._static:
            self.add_parameter((4 * size, self._static_size), given.weight_filler)
        self.add_parameter((4 * size, size), given.weight_filler)

    def unroll(self, x, cont, static, params, states):
        w_x, b, *w_static, w_h = params
        given = linear(x, w_x, b)
        if w_static:
            given = given + linear(static, w_static[0])
        h, c = states
        hs = []
        for t in range(self._times):
            now = cont[t : t + 1]
            gates = linear(h * now.unsqueeze(-1), w_h) + given[t : t + 1]
            c, h = _unit(c, gates, now)
            hs.append(h)
        return torch.cat(hs), [h, c]


@layer("RNN")
class RNN(Recurrent):
    """h_t = tanh(W_hh h + W_xh x + b_h), top o_t = tanh(W_ho h_t + b_o); the state is h.

    Parameters in order: W_xh (D x inputs), b_h (D), W_xh_static (D x static inputs, with x_static
    only), W_hh (D x D), W_ho (D x D), b_o (D).
    """

    states = 1

    def make_parameters(self, given):
        size = given.num_output
        self.add_parameter((size, self._x_size), given.weight_filler)
        self.add_parameter((size,), given.bias_filler)
        if self._static:
            self.add_parameter((size, self._static_size), given.weight_filler)
        self.add_parameter((size, size), given.weight_filler)
        self.add_parameter((size, size), given.weight_filler)
        self.add_parameter((size,), given.bias_filler)

    def unroll(self, x, cont, static, params, states):
        w_x, b, *w_static, w_h, w_o, b_o = params
        given = linear(x, w_x, b)
        if w_static:
            given = given + linear(static, w_static[0])
        (h,) = states
        hs = []
        for t in range(self._times):
            before = h * cont[t : t + 1].unsqueeze(-1)
            h = torch.tanh(linear(before, w_h) + given[t : t + 1])
            hs.append(h)
        return torch.tanh(linear(torch.cat(hs), w_o, b_o)), [h]
