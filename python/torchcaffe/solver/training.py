"""Solver: the loop that trains a net, as BVLC Caffe's Solver and SGDSolver run it."""

import os
import time

import torch

from torchcaffe import log, random_state, snapshot, weights
from torchcaffe.errors import CaffeError, net_title
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2, read
from torchcaffe.solver import debug, policies, updates


class Solver:
    """A train net, its test nets, and the state of the training, as a SolverParameter says.

    net, test_nets   Net, [Net]
    iter             how many updates the parameters have had
    current_step     which step of lr_policy `step` or `multistep` it is in
    history          tensors, in the order of solverstates
    callbacks        [(on_start, on_gradients_ready)], called in each iteration without arguments
    action_function  called in each iteration; returns "stop", "snapshot" or None
    after_iteration  called after each iteration, for showing progress; or None

    `device`: where the nets live. Raises CaffeError for a parameter that is wrong.

    Differences from BVLC Caffe: a loss that is not finite ends the training with a CaffeError
    that says where it began (BVLC goes on with NaN); a net in which no loss reaches a parameter is
    not trained; test nets share the train net's parameters
    from the start, not from their first test; what cannot work (an unknown lr_policy or
    regularization_type, a folder for snapshots that is not there) is told before training.
    """

    def __init__(self, parameter, device="cpu"):
        self.param = caffe_pb2.SolverParameter()
        self.param.CopyFrom(parameter)
        self.device = torch.device(device)
        self.callbacks = []
        self.action_function = None
        self.after_iteration = None
        log.info(f"Initializing solver from parameters: \n{self.param}")
        self._check()
        self._update = updates.make(self.param)
        if self.param.random_seed >= 0:
            random_state.seed(self.param.random_seed)
        self.net = self._train_net()
        if self.param.snapshot and self.param.snapshot_format == self.param.HDF5:
            weights.check_hdf5_names(self.net)
        self.test_nets = self._test_nets()
        self.history = [
            torch.zeros(one.blob.shape, device=self.device)
            for _ in range(self._update.histories)
            for one in self.net.learnable
        ]
        self.iter = 0
        self.current_step = 0
        self._losses, self._smoothed_loss = [], 0.0
        self._stopping = False
        log.info("Solver scaffolding done.")

    # ---- Building

    def _check(self):
        p = self.param
        policies.check(p)
        if p.weight_decay and p.regularization_type not in ("L1", "L2"):
            raise CaffeError(
                f"solver: no regularization_type {p.regularization_type!r}; give 'L1' or 'L2'"
            )
        for name in ("average_loss", "iter_size"):
            if getattr(p, name) < 1:
                raise CaffeError(f"solver: {name} is {getattr(p, name)}; give 1 or more")
        for name in ("display", "snapshot", "test_interval"):
            if getattr(p, name) < 0:
                raise CaffeError(f"solver: {name} is {getattr(p, name)}; give 0 or more")
        if p.snapshot:
            if not p.HasField("snapshot_prefix"):
                raise CaffeError("solver: snapshot is given but snapshot_prefix is not; give both")
            self._check_snapshot_folder()

    def _check_snapshot_folder(self):
        folder = os.path.dirname(self.param.snapshot_prefix) or "."
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise CaffeError(
                f"solver: cannot write to snapshot_prefix {self.param.snapshot_prefix!r}; make "
                f"sure that the folder {folder!r} exists and can be written to"
            )

    def _train_net(self):
        p = self.param
        fields = ("net", "net_param", "train_net", "train_net_param")
        given = [name for name in fields if p.HasField(name)]
        if len(given) != 1:
            raise CaffeError(
                f"solver: has {', '.join(given) or 'no train net'}; give one of {', '.join(fields)}"
            )
        if given[0].endswith("_param"):
            log.info(f"Creating training net specified in {given[0]}.")
            net = getattr(p, given[0])
        else:
            path = getattr(p, given[0])
            log.info(f"Creating training net from {given[0]} file: {path}")
            net = read.net(path)
        return self._net(net, caffe_pb2.TRAIN, p.train_state)

    def _test_nets(self):
        p = self.param
        given = [("test_net_param", net) for net in p.test_net_param]
        given += [(f"test_net file: {path}", path) for path in p.test_net]
        generic = None
        if p.HasField("net_param"):
            generic = ("net_param", p.net_param)
        elif p.HasField("net"):
            generic = (f"net file: {p.net}", p.net)
        if len(p.test_iter) < len(given) or (not generic and len(p.test_iter) > len(given)):
            raise CaffeError(
                f"solver: has {len(p.test_iter)} test_iter for {len(given)} test nets; "
                "give one for each"
            )
        given += [generic] * (len(p.test_iter) - len(given))
        if p.test_state and len(p.test_state) != len(given):
            raise CaffeError(
                f"solver: has {len(p.test_state)} test_state for {len(given)} test nets; "
                "give one for each or none"
            )
        if given and not p.test_interval:
            raise CaffeError("solver: test_iter is given but test_interval is not; give both")
        nets = []
        for number, (source, net) in enumerate(given):
            log.info(f"Creating test net (#{number}) specified by {source}")
            state = p.test_state[number] if p.test_state else None
            net = read.net(net) if isinstance(net, str) else net
            nets.append(self._net(net, caffe_pb2.TEST, state))
            weights.share(nets[-1], self.net)
        return nets

    def _net(self, parameter, phase, state):
        """The Net; its state is the phase's, over it the net's own, over it the solver's."""
        net = caffe_pb2.NetParameter()
        net.CopyFrom(parameter)
        merged = caffe_pb2.NetState(phase=phase)
        merged.MergeFrom(net.state)
        if state is not None:
            merged.MergeFrom(state)
        net.state.CopyFrom(merged)
        net = Net(net, self.device)
        for paths in self.param.weights:
            for path in map(str.strip, paths.split(",")):
                log.info(f"Finetuning from {path}")
                weights.copy_from(net, path)
        return net

    # ---- Training

    def solve(self, resume_file=None):
        """Train up to max_iter, or until action_function stops it."""
        p = self.param
        log.info(f"Solving {self.net.name}")
        log.info(f"Learning Rate Policy: {p.lr_policy}")
        self._stopping = False
        if p.snapshot_after_train:
            self._check_snapshot_folder()
        if resume_file:
            log.info(f"Restoring previous solver status from {resume_file}")
            self.restore(resume_file)
        start = self.iter
        self.step(p.max_iter - self.iter)
        if p.snapshot_after_train and not (p.snapshot and self.iter % p.snapshot == 0):
            self.snapshot()
        if self._stopping:
            log.info("Optimization stopped early.")
            return
        if p.display and self.iter % p.display == 0:
            self._smooth(float(self.net.forward(keep=False)), start)
            log.info(f"Iteration {self.iter}, loss = {log.number(self._smoothed_loss)}")
        if p.test_interval and self.iter % p.test_interval == 0:
            self.test_all()
        log.info("Optimization Done.")

    def _check_nets(self):
        """Raise CaffeError for nets that have nothing to train or to test."""
        for what, net in [("train", self.net), *(("test", net) for net in self.test_nets)]:
            if not net.nodes:
                raise CaffeError(
                    f"solver: the {what} {net_title(net.name)} has no layers; write some, or "
                    "change their include and exclude rules"
                )
        # Callbacks may give parameters their gradients.
        if not self.callbacks and not _a_loss_reaches_a_parameter(self.net):
            raise CaffeError(
                f"solver: in the train {net_title(self.net.name)} no loss reaches a parameter, so "
                "that nothing would be learned; add a loss, or give a top loss_weight: 1 (of a "
                "Python layer that is a loss, too)"
            )

    def step(self, count):
        """Run `count` iterations.

        Raises CaffeError for nets in which nothing can be learned, and for a loss that is not
        finite.
        """
        self._check_nets()
        p = self.param
        start, stop = self.iter, self.iter + count
        self._losses, self._smoothed_loss = [], 0.0
        started, displayed = time.monotonic(), self.iter
        while self.iter < stop:
            self.net.clear_diffs()
            if (
                p.test_interval
                and self.iter % p.test_interval == 0
                and (self.iter > 0 or p.test_initialization)
            ):
                self.test_all()
                if self._stopping:
                    break
            for on_start, _ in self.callbacks:
                on_start()
            display = p.display and self.iter % p.display == 0
            loss = 0.0
            for _ in range(p.iter_size):
                loss += self._forward_backward(display and p.debug_info)
            self._smooth(loss / p.iter_size, start)
            if display:
                now = time.monotonic()
                self._display(now - started, self.iter - displayed)
                started, displayed = now, self.iter
            for _, on_gradients_ready in self.callbacks:
                on_gradients_ready()
            self.apply_update()
            action = self._action()
            if action == "snapshot" or (p.snapshot and self.iter % p.snapshot == 0):
                self.snapshot()
            if self.after_iteration:
                self.after_iteration(self)
            if action == "stop":
                self._stopping = True
                break

    def _action(self):
        return self.action_function() if self.action_function else None

    def _forward_backward(self, with_debug_info):
        if with_debug_info:
            loss = float(debug.forward(self.net))
        else:
            loss = float(self.net.forward(keep=True))
        # Only the loss is looked at in each iteration; NaN in a net reaches it.
        if loss - loss != 0:
            raise CaffeError(
                f"the loss is {log.number(loss)} in iteration {self.iter}; "
                f"{_where_it_began(self.net)}; lower base_lr, give clip_gradients or check the data"
            )
        if with_debug_info:
            debug.backward(self.net)
        else:
            self.net.backward()
        return loss

    def _smooth(self, loss, start):
        """Keep the mean of the last `average_loss` losses."""
        length = self.param.average_loss
        if len(self._losses) < length:
            self._losses.append(loss)
            count = len(self._losses)
            self._smoothed_loss = (self._smoothed_loss * (count - 1) + loss) / count
        else:
            place = (self.iter - start) % length
            self._smoothed_loss += (loss - self._losses[place]) / length
            self._losses[place] = loss

    @property
    def smoothed_loss(self):
        """The mean of the last `average_loss` losses."""
        return self._smoothed_loss

    def _display(self, seconds, iterations):
        log.info(
            f"Iteration {self.iter} ({log.number(iterations / (seconds or 1))} iter/s, "
            f"{log.number(seconds)}s/{self.param.display} iters), "
            f"loss = {log.number(self._smoothed_loss)}"
        )
        outputs = [(name, self.net.blobs[name].data.flatten()) for name in self.net.outputs]
        _log_outputs("Train", self.net, outputs)

    # ---- Updating

    @property
    def rate(self):
        """The learning rate of this iteration."""
        step = policies.next_step(self.param, self.iter, self.current_step)
        return policies.rate(self.param, self.iter, step)

    @torch.no_grad()
    def apply_update(self):
        """Change the parameters by their gradients, which then hold what was taken off.

        It ends the iteration, also of a loop that is not `step`: `iter` is one more afterwards.
        """
        p = self.param
        step = policies.next_step(p, self.iter, self.current_step)
        if p.lr_policy == "multistep" and step != self.current_step:
            log.info(f"MultiStep Status: Iteration {self.iter}, step = {step}")
        self.current_step = step
        rate = policies.rate(p, self.iter, step)
        if p.display and self.iter % p.display == 0:
            log.info(f"Iteration {self.iter}, lr = {log.number(rate)}")
        if self.net.learnable:
            self._change_parameters(rate)
        self.iter += 1

    def _change_parameters(self, rate):
        blobs = [one.blob for one in self.net.learnable]
        gradients = [blob.diff for blob in blobs]
        self._clip(gradients)
        if self.param.iter_size > 1:
            torch._foreach_mul_(gradients, 1 / self.param.iter_size)
        self._regularize(gradients)
        rates = [rate * one.lr_mult for one in self.net.learnable]
        taken_off = self._update(gradients, self.history, rates, self.iter)
        torch._foreach_sub_([blob.data for blob in blobs], taken_off)
        for blob, values in zip(blobs, taken_off):
            # BVLC leaves this in diff. It is copied only for who looks: it may be the history.
            blob.set_diff(values.clone)

    def _clip(self, gradients):
        """Scale down to clip_gradients the L2 norm over all parameters."""
        most = self.param.clip_gradients
        if most < 0:
            return
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        if norm > most:
            factor = most / norm
            log.info(
                f"Gradient clipping: scaling down gradients (L2 norm {log.number(norm)} > "
                f"{log.number(most)}) by scale factor {log.number(factor)}"
            )
            torch._foreach_mul_(gradients, factor)

    def _regularize(self, gradients):
        """Add the gradient of weight_decay times half the squares (L2) or the magnitudes (L1)."""
        decays = [self.param.weight_decay * one.decay_mult for one in self.net.learnable]
        places = [place for place, decay in enumerate(decays) if decay]
        if not places:
            return
        data = [self.net.learnable[place].blob.data for place in places]
        if self.param.regularization_type == "L1":
            data = torch._foreach_sign(data)
        updates.add_scaled(
            [gradients[place] for place in places], data, [decays[place] for place in places]
        )

    # ---- Testing

    def test_all(self):
        """Score every test net; stops between them when asked to."""
        for number in range(len(self.test_nets)):
            if not self._stopping:
                self.test(number)

    def test(self, number):
        """Run test net `number` over its test_iter batches and log the mean of its outputs."""
        p, net = self.param, self.test_nets[number]
        log.info(f"Iteration {self.iter}, Testing net (#{number})")
        weights.share(net, self.net)
        count = p.test_iter[number]
        sums, loss = [], 0.0
        for _ in range(count):
            while (action := self._action()) is not None:
                if action == "snapshot":
                    self.snapshot()
                else:
                    self._stopping = True
                    break
            if self._stopping:
                log.info("Test interrupted.")
                return
            batch_loss = debug.forward(net, False) if p.debug_info else net.forward(keep=False)
            if p.test_compute_loss:
                loss += float(batch_loss)
            results = [net.blobs[name].data.flatten() for name in net.outputs]
            sums = [a + b for a, b in zip(sums, results)] if sums else [r.clone() for r in results]
        if p.test_compute_loss:
            log.info(f"Test loss: {log.number(loss / count if count else float('nan'))}")
        _log_outputs("Test", net, [(name, each / count) for name, each in zip(net.outputs, sums)])

    # ---- Snapshots

    def snapshot(self):
        """Write the parameters and the solver's state; returns the two paths."""
        return snapshot.save(self)

    def restore(self, path):
        """Go on from a .solverstate or .solverstate.h5 file and the parameters that it names."""
        snapshot.restore(self, path)


def _a_loss_reaches_a_parameter(net):
    """Whether a layer with parameters, frozen ones too, is a loss or below one."""
    under_loss = set()
    for node in reversed(net.nodes):
        if any(node.loss_weights) or not under_loss.isdisjoint(node.tops):
            if node.layer.params:
                return True
            under_loss.update(node.bottoms)
    return False


def loss_weights(net):
    """{top: its loss_weight} of a net, for those that have one."""
    return {
        top: weight
        for node in net.nodes
        for top, weight in zip(node.tops, node.loss_weights)
        if weight
    }


def output_text(name, value, weight):
    """`loss = 0.5 (* 2 = 1 loss)`, or without the bracket for what is no loss."""
    text = f"{name} = {log.number(value)}"
    if weight:
        text += f" (* {log.number(weight)} = {log.number(weight * value)} loss)"
    return text


def _log_outputs(which, net, outputs):
    weighted = loss_weights(net)
    number = 0
    for name, values in outputs:
        for value in values.tolist():
            text = output_text(name, value, weighted.get(name))
            log.info(f"    {which} net output #{number}: {text}")
            number += 1


def _where_it_began(net):
    """The first parameter or top, in the order of layers, that has values which are not finite."""
    for node in net.nodes:
        layer = node.layer
        for place, blob in enumerate(layer.params):
            if not torch.isfinite(blob.data).all():
                return f"it began in param {place} of layer {layer.shown}, at an earlier update"
        for name, blob in zip(node.tops, layer.top_blobs):
            if not torch.isfinite(blob.data).all():
                users = [
                    other.layer.shown
                    for other in net.nodes
                    if name in other.tops and other is not node
                ]
                in_place = f" (or in place, of {', '.join(users)})" if users else ""
                return f"it began in top {name} of layer {layer.shown}{in_place}"
    return "all tops are finite, their sum is not"
