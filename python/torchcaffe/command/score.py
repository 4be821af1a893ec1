"""The commands test and time, which run a net without training it."""

import time

import torch

from torchcaffe import log, weights
from torchcaffe.command import devices
from torchcaffe.errors import CaffeError
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2, read
from torchcaffe.solver.training import loss_weights, output_text


def test(flags):
    """Log the outputs of -model with -weights on each of -iterations batches, and their means."""
    if not flags.model:
        raise CaffeError("Need a model definition to score: give -model FILE")
    if not flags.weights:
        raise CaffeError("Need model weights to score: give -weights FILE")
    count = _iterations(flags)
    net = _net(flags, caffe_pb2.TEST)
    for path in map(str.strip, flags.weights.split(",")):
        weights.copy_from(net, path)
    log.info(f"Running for {count} iterations.")
    sums, loss = [], 0.0
    for batch in range(count):
        loss += float(net.forward(keep=False))
        results = [net.blobs[name].data.flatten().clone() for name in net.outputs]
        for name, values in zip(net.outputs, results):
            for value in values.tolist():
                log.info(f"Batch {batch}, {name} = {log.number(value)}")
        sums = [a + b for a, b in zip(sums, results)] if sums else results
    log.info(f"Loss: {log.number(loss / count)}")
    weighted = loss_weights(net)
    for name, values in zip(net.outputs, sums):
        for value in (values / count).tolist():
            log.info(output_text(name, value, weighted.get(name)))


def measure(flags):
    """The command time: log how long each layer of -model takes, forward and backward.

    Layers that the net runs as one step are timed as one: the time stands in the line of the
    first, the others' lines say 0, and a line before says which they are.
    """
    if not flags.model:
        raise CaffeError("Need a model definition to time: give -model FILE")
    phases = {"": caffe_pb2.TRAIN, "TRAIN": caffe_pb2.TRAIN, "TEST": caffe_pb2.TEST}
    if flags.phase not in phases:
        raise CaffeError(f"-phase is {flags.phase!r}; give TRAIN or TEST")
    count = _iterations(flags)
    net = _net(flags, phases[flags.phase])
    for path in filter(None, map(str.strip, flags.weights.split(","))):
        weights.copy_from(net, path)
    log.info("Performing Forward")
    log.info(f"Initial loss: {log.number(net.forward(keep=True))}")
    log.info("Performing Backward")
    net.backward()
    log.info("*** Benchmark begins ***")
    log.info(f"Testing for {count} iterations.")
    forward, backward = [0.0] * len(net.nodes), [0.0] * len(net.nodes)
    watch = _Watch(net.device)
    started = time.perf_counter()
    with torch.no_grad():
        for number in range(count):
            before = sum(forward) + sum(backward)
            for step in net.steps:
                watch.start()
                step.forward(True)
                forward[step.nodes[0].place] += watch.milliseconds()
            for step in reversed(net.steps):
                watch.start()
                step.backward()
                backward[step.nodes[0].place] += watch.milliseconds()
            took = sum(forward) + sum(backward) - before
            log.info(f"Iteration: {number + 1} forward-backward time: {log.number(took)} ms.")
    total = (time.perf_counter() - started) * 1000
    for step in net.steps:
        if len(step.nodes) > 1:
            names = [node.layer.shown for node in step.nodes]
            log.info(f"Run as one step, timed in the lines of {names[0]}: {', '.join(names)}")
    log.info("Average time per layer: ")
    for layer, there, back in zip(net.layers, forward, backward):
        log.info(f"{layer.shown:>10}\tforward: {log.number(there / count)} ms.")
        log.info(f"{layer.shown:>10}\tbackward: {log.number(back / count)} ms.")
    log.info(f"Average Forward pass: {log.number(sum(forward) / count)} ms.")
    log.info(f"Average Backward pass: {log.number(sum(backward) / count)} ms.")
    log.info(f"Average Forward-Backward: {log.number(total / count)} ms.")
    log.info(f"Total Time: {log.number(total)} ms.")
    log.info("*** Benchmark ends ***")


class _Watch:
    """A clock that waits for the device."""

    def __init__(self, device):
        self._device = device

    def start(self):
        devices.wait(self._device)
        self._started = time.perf_counter()

    def milliseconds(self):
        devices.wait(self._device)
        return (time.perf_counter() - self._started) * 1000


def _iterations(flags):
    if flags.iterations < 1:
        raise CaffeError(f"-iterations is {flags.iterations}; give 1 or more")
    return flags.iterations


def _net(flags, phase):
    parameter = read.net(flags.model)
    device = devices.for_scoring(flags.gpu)
    parameter.state.phase = phase
    parameter.state.level = flags.level
    parameter.state.stage.extend(stage for stage in flags.stage.split(",") if stage)
    return Net(parameter, device)
