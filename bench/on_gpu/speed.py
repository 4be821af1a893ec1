"""Training and inference of S1R1, CNN and autoencoder: torchcaffe beside PyTorch by hand.

An item is a measurement: engines take turns in rounds, in one process, on batches that lie on the
device before. The device is waited for before and after each round. Or it is a profile of some
iterations of one engine.
"""

import contextlib
import statistics
import time

import numpy as np
import plain_pytorch
import torch
import workspace

from gcnet_base.paths import ROOT
from torchcaffe import solver as solvers
from torchcaffe import weights
from torchcaffe.net import Net
from torchcaffe.schema import caffe_pb2, read

NETS = ("s1r1", "cnn", "autoencoder")
TASKS = ("training", "inference")
BATCHES = (64, 256)
ALL = {"training": ("torchcaffe", "reading", "eager", "channels_last"),
       "inference": ("torchcaffe", "eager", "channels_last")}  # fmt: skip
COMPILED = ("torchcaffe", "eager", "compile", "cudagraphs")

ROUNDS, WARM_UPS, PROFILED = 11, 5, 5
ROUND_SECONDS = 0.06
SECONDS_TO_COMPILE = 45
"""With less time left torch.compile is not begun."""
BATCHES_IN_TURN = 8
SHOWN_KERNELS = 15
WAITS = (
    "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpyAsync",
)  # fmt: skip
"""Calls in which the host waits for the device; the last one where it copies from it."""


def items(rehearsal):
    def measurements(batches, engines_of):
        return [
            {"kind": "measure", "net": net, "task": task, "batch": batch,
             "engines": engines_of(task)}
            for batch in batches for task in TASKS for net in NETS
        ]  # fmt: skip

    profiles = [
        {"kind": "profile", "net": net, "task": "training", "batch": 64, "engine": engine}
        for net, engine in (("s1r1", "reading"), ("s1r1", "torchcaffe"), ("s1r1", "eager"))
    ]
    if rehearsal:
        small = measurements((2,), lambda task: [*ALL[task], *COMPILED[2:]])
        return [*small, {**profiles[0], "batch": 2}]
    first, *more = BATCHES
    return [
        *measurements((first,), ALL.get), *profiles, *measurements(more, ALL.get),
        *measurements(BATCHES, lambda task: COMPILED),
    ]  # fmt: skip


def work(item, place):
    made = Engines(item["net"], item["task"], item["batch"], place)
    if item["kind"] == "profile":
        return profile(made.step(item["engine"]), place)
    return measure(made, item["engines"], place)


# ---- What is run


class Engines:
    """The engines of a measurement, each as a function that runs one iteration."""

    def __init__(self, net, task, batch, place):
        self.net, self.task, self.batch, self.place = net, task, batch, place
        self.outputs = {}
        """{engine: function that gives its outputs for one of the batches, a list of tensors}"""
        random = torch.Generator().manual_seed(0)
        shape = (BATCHES_IN_TURN, batch, 2, 64, 64)
        self.pairs = torch.rand(shape, generator=random).to(place.device)
        self.images = self.pairs[:, :, :1].contiguous()
        self.labels = torch.randint(7, shape[:2], generator=random).to(place.device)

    def step(self, engine):
        """Raises whatever the engine raises when it is built."""
        if engine in ("torchcaffe", "reading"):
            if self.task == "training":
                return self._caffe_training(engine == "reading")
            return self._caffe_inference()
        return self._plain_training(engine) if self.task == "training" else self._plain_inference(
            engine)  # fmt: skip

    def _caffe_training(self, reading):
        from caffe_net import SOLVERS

        if reading:
            for database in ("lmdb", "webface"):
                (self.place.folder / "data" / database).mkdir(parents=True)
            workspace.write_faces(self.place.folder / "data", records=4 * self.batch)
        parameter = read.solver(ROOT / SOLVERS[self.net])
        net = read.net(ROOT / parameter.net)
        tops = []
        for layer in net.layer:
            if layer.type == "Data":
                layer.data_param.batch_size = self.batch
                if not reading:
                    tops = self._into_input(layer)
        for field in ("net", "test_iter", "test_interval", "test_state", "snapshot", "display"):
            parameter.ClearField(field)
        parameter.net_param.CopyFrom(net)
        solver = solvers.Solver(parameter, self.place.device)
        turns = _turns()
        given = {"pair": self.pairs, "image": self.images, "label": self.labels.float()}

        def iteration():
            turn = next(turns)
            for top in tops:
                solver.net.blobs[top].set_data(given[top][turn])
            solver.step(1)

        return iteration

    def _into_input(self, layer):
        layer.type = "Input"
        layer.ClearField("data_param")
        layer.ClearField("transform_param")
        for top in layer.top:
            channels = 1 if top == "image" else 2
            shape = [self.batch] if top == "label" else [self.batch, channels, 64, 64]
            layer.input_param.shape.add(dim=shape)
        return list(layer.top)

    def _caffe_inference(self):
        from caffe_net import OUTPUTS

        path = self._deploy_net()
        parameter = read.net(path)
        parameter.state.phase = caffe_pb2.TEST
        net = Net(parameter, self.place.device)
        weights.copy_from(net, path.with_suffix(".caffemodel"))

        def outputs(turn):
            net.blobs["image"].set_data(self.images[turn])
            net.forward(keep=False)
            return [net.blobs[blob].data for blob in OUTPUTS[self.net]]

        return self._inference("torchcaffe", outputs)

    def _inference(self, engine, outputs):
        """The function that runs one iteration, for the one that gives a batch's outputs."""
        self.outputs[engine] = outputs
        turns = _turns()
        return lambda: outputs(next(turns))

    def _deploy_net(self):
        """The path of a deploy net; beside it are weights, as .caffemodel and as .npz."""
        import caffe
        import reference

        folder = self.place.folder / "deploy"
        path = folder / f"{self.net}.prototxt"
        if not folder.exists():
            folder.mkdir()
            workspace.write_nets(folder)
            self.place.compute_on_cpu()
            net = caffe.Net(str(path), caffe.TEST)
            reference.fill(net, np.random.RandomState(0))
            net.save(str(path.with_suffix(".caffemodel")))
            arrays = {
                f"{layer}/{number}": blob.data
                for layer, blobs in net.params.items()
                for number, blob in enumerate(blobs)
            }
            np.savez(path.with_suffix(".npz"), **arrays)
        return path

    def _plain(self, engine):
        """(the net, what is called in its place, the memory format)."""
        torch.manual_seed(0)
        order = torch.channels_last if engine == "channels_last" else torch.contiguous_format
        net = plain_pytorch.NETS[self.net]().to(self.place.device, memory_format=order)
        return net, order

    def _compiled(self, function, engine):
        if engine not in ("compile", "cudagraphs"):
            return function
        if self.place.rehearsal:
            return torch.compile(function, backend="eager")
        if self.place.seconds_left < SECONDS_TO_COMPILE:
            raise TimeoutError("no time was left to compile")
        torch._dynamo.reset()
        backend = "inductor" if engine == "compile" else "cudagraphs"
        return torch.compile(function, backend=backend)

    def _plain_training(self, engine):
        net, order = self._plain(engine)
        optimizer = plain_pytorch.optimizer(net)
        loss_of = self._compiled(net, engine)
        faces = [
            [self.pairs[turn, :, place : place + 1].contiguous(memory_format=order)
             for place in range(2)]
            for turn in range(BATCHES_IN_TURN)
        ]  # fmt: skip
        turns = _turns()

        def iteration():
            turn = next(turns)
            optimizer.zero_grad()
            loss_of(*faces[turn], self.labels[turn]).backward()
            optimizer.step()

        return iteration

    def _plain_inference(self, engine):
        net, order = self._plain(engine)
        with np.load(self._deploy_net().with_suffix(".npz")) as arrays:
            plain_pytorch.load(net, dict(arrays))
        net.eval().requires_grad_(False)
        outputs_of = self._compiled(net.outputs, engine)
        images = [batch.contiguous(memory_format=order) for batch in self.images]

        @torch.no_grad()
        def outputs(turn):
            return list(outputs_of(images[turn]))

        return self._inference(engine, outputs)


def _turns():
    """0, 1, ... round and round, for one of the batches in turn."""
    number = 0
    while True:
        yield number % BATCHES_IN_TURN
        number += 1


# ---- Measuring


def measure(made, names, place):
    """Yields one result: {engine: medians, or its failure}."""
    steps, results = {}, {}
    for name in names:
        results[name] = {}
        with _failure_kept(results[name]):
            before = _allocated(place)
            step = made.step(name)
            for _ in range(1 if place.rehearsal else WARM_UPS):
                step()
            place.wait()
            if before is not None:
                own = _allocated(place) - before
                torch.cuda.reset_peak_memory_stats(place.device)
                started = _allocated(place)
                step()
                place.wait()
                peak = own + torch.cuda.max_memory_allocated(place.device) - started
                results[name]["peak MB"] = round(peak / 1e6, 1)
            steps[name] = step
    seconds = {name: [] for name in steps}
    repeats = {name: _repeats(step, place) for name, step in steps.items()}
    for _ in range(1 if place.rehearsal else ROUNDS):
        if place.seconds_left < 2:
            break
        for name in list(steps):
            with _failure_kept(results[name]):
                seconds[name].append(_timed(steps[name], repeats[name], place))
    for name, found in seconds.items():
        if found:
            results[name]["ms"] = round(1000 * statistics.median(found), 3)
            results[name]["least ms"] = round(1000 * min(found), 3)
            results[name]["iterations"] = len(found) * repeats[name]
    _compare_outputs(made.outputs, results)
    yield {"engines": results}


def _timed(step, repeats, place):
    """Seconds of an iteration, the mean of some between two waits for the device."""
    place.wait()
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    place.wait()
    return (time.perf_counter() - start) / repeats


def _repeats(step, place):
    """As many iterations as take ROUND_SECONDS, 50 at most."""
    return 1 if place.rehearsal else max(1, min(50, int(ROUND_SECONDS / _timed(step, 1, place))))


def _compare_outputs(outputs, results):
    """Put into each engine's result how far its outputs are from eager's, of the largest."""
    if "eager" not in outputs:
        return
    expected = [tensor.clone() for tensor in outputs["eager"](0)]
    for name, outputs_of in outputs.items():
        if name != "eager" and "failure" not in results[name]:
            with _failure_kept(results[name]):
                pairs = zip(outputs_of(0), expected)
                off = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
                results[name]["outputs off"] = float(f"{off:.2g}")


def _allocated(place):
    if place.device.type != "cuda":
        return None
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated(place.device)


@contextlib.contextmanager
def _failure_kept(result):
    from on_gpu.worker import failure

    try:
        yield
    except Exception as error:
        result["failure"] = failure(error)[:500]


def profile(step, place):
    """Yields one result: what the device and the host did in an iteration, the longest first."""
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU]
    if place.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    iterations = 1 if place.rehearsal else PROFILED
    for _ in range(1 if place.rehearsal else WARM_UPS):
        step()
    place.wait()
    with torch.profiler.profile(activities=activities) as profiler:
        start = time.perf_counter()
        for _ in range(iterations):
            step()
        place.wait()
        wall = time.perf_counter() - start
    events = [e for e in profiler.key_averages() if not getattr(e, "is_user_annotation", False)]
    if place.is_gpu:
        ran = [(e.key, e.count, e.self_device_time_total) for e in events
               if e.device_type != torch.autograd.DeviceType.CPU]  # fmt: skip
    else:
        ran = [(e.key, e.count, e.self_cpu_time_total) for e in events]
    ran.sort(key=lambda entry: -entry[2])
    host = {e.key: (e.count, e.self_cpu_time_total) for e in events
            if e.device_type == torch.autograd.DeviceType.CPU}  # fmt: skip

    def of(count, microseconds):
        return {"times": count / iterations, "ms": round(microseconds / 1000 / iterations, 4)}

    launches = [entry for key, entry in host.items() if "LaunchKernel" in key]
    yield {
        "ms an iteration, with the profiler": round(1000 * wall / iterations, 3),
        "device busy, ms": round(sum(entry[2] for entry in ran) / 1000 / iterations, 3),
        "kernels": {key[:100]: of(count, time) for key, count, time in ran[:SHOWN_KERNELS]},
        "kernels in all": sum(entry[1] for entry in ran) / iterations,
        "launching": of(*(sum(part) for part in zip(*launches))) if launches else None,
        "host waits": {key: of(*host[key]) for key in WAITS if key in host},
    }
