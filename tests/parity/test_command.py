"""The `caffe` command: scores and log lines as BVLC Caffe's, signals, resuming, and mistakes."""

import fcntl
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
import torch

from gcnet.train.caffe_log import CaffeLog
from parity.engines import (
    ENGINES,
    assert_close,
    command,
    environment,
    make_folder,
    run_jobs,
    write_solver,
)
from torchcaffe import protofile, weights
from torchcaffe.command import devices
from torchcaffe.command.__main__ import main
from torchcaffe.command.flags import parse
from torchcaffe.errors import CaffeError
from torchcaffe.schema import read
from torchcaffe.solver import Solver

# The expressions by which BVLC's tools/extra/parse_log.py finds what it wants.
PARSE_LOG = {
    "iteration": r"Iteration (\d+)",
    "train": r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)",
    "test": r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)",
    "rate": r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)",
}

GLOG = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.]+:\d+\] ")


@pytest.fixture(scope="module")
def folder(bvlc, tmp_path_factory):
    """With the data, the net and first.caffemodel."""
    folder = tmp_path_factory.mktemp("command")
    make_folder(folder)
    first = write_solver(folder, "first", "SGD")
    job = {"solver": first, "save": "first.caffemodel", "steps": []}
    run_jobs("BVLC Caffe", bvlc, folder, [job])
    return folder


def run(engine, bvlc, folder, *arguments, level="0"):
    """The finished process of a command."""
    return subprocess.run(
        [*command(engine, bvlc), *map(str, arguments)],
        cwd=folder,
        env=environment(GLOG_minloglevel=level),
        capture_output=True,
        text=True,
        timeout=120,
    )


def both(bvlc, folder, *arguments):
    """{engine: lines of the log without what stands before the message}"""
    lines = {}
    for engine in ENGINES:
        done = run(engine, bvlc, folder, *arguments)
        assert done.returncode == 0, f"{engine}: {done.stderr[-2000:]}"
        lines[engine] = done.stderr.splitlines()
    return lines


NUMBER = re.compile(r"(?<![\w#])-?\d+\.?\d*(?:[eE][-+]?\d+)?(?![\w/])")


def messages(lines, wanted):
    """Messages that begin with one of `wanted`, as (text without numbers, the numbers)."""
    found = []
    for line in lines:
        if match := GLOG.match(line):
            message = line[match.end() :]
            if message.strip().startswith(wanted):
                # How long it took differs from run to run.
                message = re.sub(r" \([-\w.+]+ iter/s, [-\w.+]+s/", " (0 iter/s, 0s/", message)
                found.append(
                    (NUMBER.sub("N", message), [float(each) for each in NUMBER.findall(message)])
                )
    return found


def assert_same_messages(ours, theirs, tolerance=1e-4):
    assert [text for text, _ in ours] == [text for text, _ in theirs]
    for (text, got), (_, expected) in zip(ours, theirs):
        assert got == pytest.approx(expected, rel=tolerance, abs=tolerance), text


def test_scores(bvlc, folder):
    net, model = "net.prototxt", "first.caffemodel"
    lines = both(bvlc, folder, "test", "-model", net, "-weights", model, "-iterations", 3)
    wanted = ("Running for", "Batch", "Loss:", "accuracy =", "loss =")
    ours, theirs = (messages(lines[engine], wanted) for engine in ENGINES)
    assert len(theirs) == 1 + 3 * 2 + 3
    assert_same_messages(ours, theirs)


@pytest.fixture(scope="module")
def logs(bvlc, folder):
    """{engine: the log of a training that shows all kinds of lines}"""
    fields = (
        "display: 2  test_iter: 3  test_interval: 5  max_iter: 10  average_loss: 3  "
        "debug_info: true  snapshot: 6  "
        'lr_policy: "multistep"  gamma: 0.5  stepvalue: 4  stepvalue: 7  '
        "clip_gradients: 0.3  weight_decay: 0.01  test_compute_loss: true"
    )
    write_solver(folder, "logged", "SGD", fields)
    return both(bvlc, folder, "train", "-solver", "logged.prototxt", "--weights=first.caffemodel")


def test_log_lines(logs):
    wanted = (
        "Creating training net", "Creating test net", "Solver scaffolding", "Finetuning from",
        "Starting Optimization", "Solving", "Learning Rate", "Iteration", "Test net", "Train net",
        "Test loss", "MultiStep", "Gradient clipping", "Snapshotting", "Optimization",
    )  # fmt: skip
    ours, theirs = (messages(logs[engine], wanted) for engine in ENGINES)
    assert len(theirs) > 50
    assert_same_messages(ours, theirs)


def test_lines_of_debug_info(logs):
    ours, theirs = (messages(logs[engine], ("[Forward]", "[Backward]")) for engine in ENGINES)
    assert len(theirs) > 100
    assert_same_messages(ours, theirs)


def test_nets_states_and_weights_of_a_solver(bvlc, folder):
    """train_net, several test nets, states by stage and level, weights in the solver."""
    staged = (
        (folder / "net.prototxt").read_text()
        + """
layer { name: "probability"  type: "Softmax"  bottom: "ip2"  top: "probability"
  include { phase: TEST  stage: "extra" } }
layer { name: "mean"  type: "Reduction"  bottom: "ip2"  top: "mean"
  reduction_param { operation: MEAN }  include { min_level: 2 } }
"""
    )
    (folder / "staged.prototxt").write_text(staged)
    name = write_solver(
        folder,
        "states",
        "Nesterov",
        """
train_net: "staged.prototxt"  test_net: "staged.prototxt"  test_net: "net.prototxt"
test_iter: 1  test_iter: 2  test_interval: 3  test_initialization: false
train_state { level: 2 }  test_state { stage: "extra" }  test_state { level: 3 }
weights: "first.caffemodel"  max_iter: 6  display: 3
""",
    )
    text = (folder / name).read_text().replace('net: "net.prototxt"', "", 1)
    (folder / name).write_text(text)
    lines = both(bvlc, folder, "train", "-solver", name, "-level", "2")
    wanted = ("Creating t", "Finetuning", "Iteration", "Test net", "Train net", "Opt")
    ours, theirs = (messages(lines[engine], wanted) for engine in ENGINES)
    assert any("mean" in text for text, _ in theirs)
    assert any("probability" in text for text, _ in theirs)
    assert_same_messages(ours, theirs)


def test_a_solver_without_a_mode_trains_on_the_cpu(bvlc, folder, monkeypatch):
    name = write_solver(folder, "no_mode", "SGD", "max_iter: 2")
    (folder / name).write_text((folder / name).read_text().replace("solver_mode: CPU", ""))
    for engine, lines in both(bvlc, folder, "train", "-solver", name).items():
        assert any(line.endswith("] Use CPU.") for line in lines), engine
    # Also where there is a GPU, which it would need -gpu for.
    monkeypatch.setattr(devices, "accelerator", lambda: "cuda")
    assert devices.for_training("", read.solver(folder / name)).type == "cpu"


@pytest.mark.skipif(torch.accelerator.is_available(), reason="for machines without a GPU")
def test_without_a_gpu(folder, capfd, monkeypatch):
    """solver_mode GPU trains on the CPU; -gpu is a mistake."""
    monkeypatch.chdir(folder)
    name = write_solver(folder, "gpu", "SGD", "max_iter: 2")
    (folder / name).write_text((folder / name).read_text().replace("mode: CPU", "mode: GPU"))
    assert main(["train", "-solver", name]) == 0
    assert "solver_mode is GPU, but PyTorch finds none here" in capfd.readouterr().err
    for gpu in ("0", "all", "0,1"):
        assert main(["train", "-solver", name, "-gpu", gpu]) == 1
        assert f"-gpu {gpu}: PyTorch finds no GPU here" in capfd.readouterr().err


def test_readers_of_logs_find_the_same(logs):
    found = []
    for engine in ENGINES:
        curves = CaffeLog(logs[engine])
        text = "\n".join(logs[engine])
        found.append(
            (curves.train, curves.test, {n: re.findall(e, text) for n, e in PARSE_LOG.items()})
        )
    ours, theirs = found
    for place in (0, 1):
        assert ours[place].keys() == theirs[place].keys() and len(theirs[place]) >= 2
        for name, curve in theirs[place].items():
            assert ours[place][name] == pytest.approx(curve, rel=1e-4)
    for name, expected in theirs[2].items():
        assert len(ours[2][name]) == len(expected) > 0, name


def test_a_snapshot_goes_on_as_if_unbroken(bvlc, folder):
    """-snapshot of either engine's state in either engine's command."""
    solver = write_solver(folder, "unbroken", "Adam", "max_iter: 30  snapshot: 15")
    last = folder / "unbroken_iter_30.caffemodel"
    anew = ["train", "-solver", solver, "-weights", "first.caffemodel"]
    resumed = ["train", f"--solver={solver}", "-snapshot=unbroken_iter_15.solverstate"]
    assert run("BVLC Caffe", bvlc, folder, *anew).returncode == 0
    expected = weights_in(last)
    for engine, arguments in (
        ("torchcaffe", resumed), ("torchcaffe", anew), ("BVLC Caffe", resumed),
    ):  # fmt: skip
        last.unlink()
        done = run(engine, bvlc, folder, *arguments)
        assert done.returncode == 0, done.stderr[-2000:]
        assert ("Resuming from unbroken_iter_15" in done.stderr) == (arguments is resumed)
        assert_close(weights_in(last), expected)


def weights_in(path):
    net = protofile.read(path, protofile.NetParameter, "a caffemodel")
    return {
        f"{layer.name} {place}": protofile.values(blob, "")
        for layer in net.layer
        for place, blob in enumerate(layer.blobs)
    }


def test_time(bvlc, folder):
    lines = both(bvlc, folder, "time", "-model", "net.prototxt", "-iterations", 4)
    patterns = {
        "layers": r"\] +(\w+)\t(forward|backward): [\d.e-]+ ms\.",
        "averages": r"\] (Average [\w-]+(?: pass)?|Total Time): [\d.e-]+ ms\.",
        "iterations": r"\] Iteration: (\d) forward-backward time: [\d.e-]+ ms\.",
    }
    for pattern in patterns.values():
        ours, theirs = (re.findall(pattern, "\n".join(lines[engine])) for engine in ENGINES)
        assert ours == theirs and len(theirs) >= 4
    numbers = dict(re.findall(r"\] (\w[\w -]+): ([\d.e-]+) ms\.", "\n".join(lines["torchcaffe"])))
    layers = re.findall(r"\t(forward|backward): ([\d.e-]+) ms", "\n".join(lines["torchcaffe"]))
    for direction in ("forward", "backward"):
        name = f"Average {direction.capitalize()} pass"
        total = sum(float(value) for which, value in layers if which == direction)
        assert total == pytest.approx(float(numbers[name]), rel=0.01) and total > 0


# ---- Signals


class Training:
    """A `caffe train` that runs until it is told to stop."""

    def __init__(self, folder, name, *arguments):
        write_solver(folder, name, "SGD", "max_iter: 100000000  display: 1")
        self.lines = []
        self.folder, self.name = folder, name
        # Shells start what they put in the background with SIGINT ignored.
        self.process = subprocess.Popen(
            [*command("torchcaffe", None), "train", "-solver", f"{name}.prototxt", *arguments],
            cwd=folder,
            env=environment(GLOG_minloglevel="0"),
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def wait_for(self, text):
        started = time.monotonic()
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return line
            assert time.monotonic() - started < 60, text
        raise AssertionError(f"ended without {text!r}: {''.join(self.lines)[-2000:]}")

    def snapshots(self):
        return sorted(path.name for path in self.folder.glob(f"{self.name}_iter_*.solverstate"))


def test_interrupt_stops_with_a_snapshot(folder):
    with Training(folder, "interrupted") as training:
        training.wait_for("Iteration 20 ")
        training.process.send_signal(signal.SIGINT)
        training.wait_for("Snapshotting solver state")
        training.wait_for("Optimization stopped early.")
        training.wait_for("Optimization Done.")
        assert training.process.wait(30) == 0
        assert len(training.snapshots()) == 1
        assert not any("Traceback" in line for line in training.lines)


def test_hangup_makes_a_snapshot_and_goes_on(folder):
    with Training(folder, "hung_up") as training:
        training.wait_for("Iteration 20 ")
        training.process.send_signal(signal.SIGHUP)
        training.wait_for("Snapshotting solver state")
        training.wait_for("Iteration ")
        training.wait_for("Iteration ")
        assert len(training.snapshots()) == 1
        training.process.send_signal(signal.SIGINT)
        training.wait_for("Optimization stopped early.")
        assert training.process.wait(30) == 0


def test_effects_of_signals_can_be_chosen(folder):
    with Training(folder, "chosen", "-sigint_effect", "none", "--sighup_effect=stop") as training:
        line = training.wait_for("Iteration 20 ")
        training.process.send_signal(signal.SIGINT)
        for _ in range(20):
            line = training.wait_for(", loss")
        assert int(re.search(r"Iteration (\d+)", line)[1]) >= 39 and not training.snapshots()
        training.process.send_signal(signal.SIGHUP)
        training.wait_for("Optimization stopped early.")
        assert training.process.wait(30) == 0 and len(training.snapshots()) == 1


# ---- What the user sees


def test_a_bar_on_a_terminal_and_none_in_logs(bvlc, folder):
    write_solver(folder, "shown", "SGD", "max_iter: 500  display: 100  snapshot_after_train: false")
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        [*command("torchcaffe", None), "train", "-solver", "shown.prototxt"],
        cwd=folder, env=environment(GLOG_minloglevel="0"), stderr=follower,
    )  # fmt: skip
    os.close(follower)
    shown = b""
    while True:
        try:
            more = os.read(leader, 4096)
        except OSError:
            break
        if not more:
            break
        shown += more
    os.close(leader)
    assert process.wait() == 0
    assert re.search(rb"/500 \[\d\d:\d\d<\d\d:\d\d, ", shown)
    done = run("torchcaffe", bvlc, folder, "train", "-solver", "shown.prototxt")
    assert done.returncode == 0 and "/500 [" not in done.stderr and "\r" not in done.stderr
    assert "Iteration 400" in done.stderr


def test_minloglevel_silences(folder, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    write_solver(folder, "silent", "SGD", "max_iter: 2  display: 1")
    monkeypatch.setenv("GLOG_minloglevel", "1")
    assert main(["train", "-solver", "silent.prototxt"]) == 0
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("GLOG_minloglevel", "0")
    assert main(["train", "-solver", "silent.prototxt", "-minloglevel=1"]) == 0
    assert capfd.readouterr().err == ""


def test_version_and_help(capfd):
    assert main(["--version"]) == 0
    assert re.fullmatch(
        r"torchcaffe [\d.]+ \(Caffe 1\.0 on PyTorch \S+\)\n", capfd.readouterr().out
    )
    assert main(["--help"]) == 0
    text = capfd.readouterr().out
    for part in ("train", "device_query", "-sighup_effect", "caffe train -solver", "-iterations"):
        assert part in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "-solver", "a b", "-iterations", "-3", "-nologtostderr"],
        ["--solver=a b", "train", "--iterations=-3", "--logtostderr=false"],
        ["-solver=a b", "--iterations", "-3", "--nologtostderr", "--", "train"],
    ],
)
def test_spellings_of_flags(arguments):
    values, rest = parse(arguments)
    assert rest == ["train"]
    assert (values.solver, values.iterations, values.logtostderr) == ("a b", -3, False)


# ---- Mistakes: one line, status 1


def broken(folder):
    """{what is wrong: (arguments, what the line has to say)}"""
    (folder / "cut.caffemodel").write_bytes((folder / "first.caffemodel").read_bytes()[:-5])
    net = (folder / "net.prototxt").read_text()
    (folder / "wide.prototxt").write_text(net.replace("num_output: 10", "num_output: 11"))
    write_solver(folder, "plain", "SGD", "max_iter: 2")
    wide = (folder / "plain.prototxt").read_text().replace("net.prototxt", "wide.prototxt")
    (folder / "wide_solver.prototxt").write_text(wide)
    for name, fields in {
        "policy": 'lr_policy: "multistp"',
        "prefix": 'snapshot: 5  snapshot_prefix: "nowhere/x"',
        "last_prefix": 'snapshot_prefix: "nowhere/x"',
        "rising": "base_lr: 1e30",
        "kind": 'weight_decay: 0.1  regularization_type: "L3"',
        "no_test_interval": "test_iter: 1",
        "state": "test_iter: 1  test_interval: 5  test_state { level: 1 }  test_state { level: 2 }",
    }.items():
        write_solver(folder, name, "SGD", fields)
    rising = (folder / "rising.prototxt").read_text().replace("base_lr: 0.05", "", 1)
    (folder / "rising.prototxt").write_text(rising)
    plain = (folder / "plain.prototxt").read_text()
    (folder / "type.prototxt").write_text(plain.replace('type: "SGD"', 'type: "Adaam"'))
    (folder / "momentum.prototxt").write_text(plain.replace('type: "SGD"', 'type: "AdaGrad"'))
    root = """layer { name: "root"  type: "Power"  bottom: "ip2"  top: "root"
  power_param { power: 0.5 } }
layer { name: "loss" """
    net = net.replace('layer { name: "loss" ', root)
    below_loss = 'bottom: "ip2"  bottom: "label"  top: "loss"'
    net = net.replace(below_loss, below_loss.replace("ip2", "root"))
    (folder / "root.prototxt").write_text(net)
    (folder / "root_solver.prototxt").write_text(plain.replace("net.prototxt", "root.prototxt"))
    train, test = ["train", "-solver"], ["test", "-model", "net.prototxt", "-weights"]
    return {
        "no solver": (["train"], "give -solver FILE"),
        "missing solver": ([*train, "none.prototxt"], "none.prototxt"),
        "missing weights": ([*test, "none.caffemodel"], "none.caffemodel: cannot be read: No such"),
        "cut weights": (
            [*test, "cut.caffemodel"],
            "cut.caffemodel: is not a caffemodel, or was cut",
        ),
        "cut weights in training": (
            [*train, "plain.prototxt", "-weights", "cut.caffemodel"],
            "cut.caffemodel: is not a caffemodel",
        ),
        "shapes": (
            [*train, "wide_solver.prototxt", "-weights", "first.caffemodel"],
            "cannot copy param 0 weights from layer 'ip1'; shape mismatch.  Source param shape is "
            "10 36 (360); target param shape is 11 36 (396). To learn",
        ),
        "missing snapshot": (
            [*train, "plain.prototxt", "-snapshot", "none.solverstate"],
            "none.solverstate: cannot be read",
        ),
        "caffemodel as snapshot": (
            [*train, "plain.prototxt", "-snapshot", "first.caffemodel"],
            "first.caffemodel: ",
        ),
        "both": (
            [*train, "plain.prototxt", "-snapshot", "a", "-weights", "b"],
            "but not both",
        ),
        "infinite loss": ([*train, "rising.prototxt"], "in iteration 1; it began in "),
        "nan in a top": (
            [*train, "root_solver.prototxt"],
            "the loss is nan in iteration 0; it began in top root of layer root;",
        ),
        "unknown flag": (
            [*train[:1],
            "-solvr", "x"], "unknown command line flag 'solvr'; did you mean 'solver'?",
        ),
        "no value": (["train", "-solver"], "flag 'solver' is missing its value"),
        "no number": (
            ["time", "-iterations", "many"],
            "flag 'iterations' is 'many'; give a whole number",
        ),
        "no iterations": (
            ["time", "-model", "net.prototxt", "-iterations", "0"],
            "-iterations is 0; give 1 or more",
        ),
        "unknown command": (["tarin"], "Unknown action: tarin; did you mean train?"),
        "no command": ([], "give one command, one of train, test, time, device_query"),
        "phase": (
            ["time", "-model", "net.prototxt", "-phase", "test"],
            "-phase is 'test'; give TRAIN or TEST",
        ),
        "effect": (
            [*train, "plain.prototxt", "-sigint_effect", "stopp"],
            "-sigint_effect is 'stopp'; give stop,",
        ),
        "policy": (
            [*train, "policy.prototxt"],
            "no lr_policy 'multistp'; did you mean 'multistep'?",
        ),
        "type": ([*train, "type.prototxt"], "no type 'Adaam'; did you mean 'Adam'?"),
        "momentum": ([*train, "momentum.prototxt"], "momentum is 0.9, but AdaGrad has none"),
        "regularization": (
            [*train, "kind.prototxt"],
            "no regularization_type 'L3'; give 'L1' or 'L2'",
        ),
        "prefix": ([*train, "prefix.prototxt"], "cannot write to snapshot_prefix 'nowhere/x'"),
        "prefix of the last": (
            [*train, "last_prefix.prototxt"],
            "cannot write to snapshot_prefix 'nowhere/x'",
        ),
        "test interval": (
            [*train, "no_test_interval.prototxt"],
            "test_iter is given but test_interval is not",
        ),
        "test states": ([*train, "state.prototxt"], "has 2 test_state for 1 test nets"),
    }  # fmt: skip


def test_mistakes_lead_to_one_line_and_status_1(folder, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GLOG_minloglevel", "2")
    for what, (arguments, expected) in broken(folder).items():
        status = main(arguments)
        printed = capfd.readouterr()
        assert status == 1, what
        assert printed.out == "" and printed.err.count("\n") == 1, f"{what}: {printed.err}"
        assert expected in printed.err, f"{what}: {printed.err}"
        assert GLOG.match(printed.err) or printed.err.startswith("ERROR: "), what


@pytest.mark.parametrize("engine", ENGINES)
def test_names_of_weights_are_trimmed(bvlc, folder, engine):
    write_solver(folder, "trimmed", "SGD", "max_iter: 1")
    names = "first.caffemodel, first.caffemodel"
    done = run(engine, bvlc, folder, "train", "-solver", "trimmed.prototxt", "-weights", names)
    assert done.returncode == 0, done.stderr
    if engine == "torchcaffe":
        scored = ["test", "-model", "net.prototxt", "-iterations", "1", "-weights", names]
        assert run(engine, bvlc, folder, *scored).returncode == 0


def test_out_of_memory_is_a_line(tmp_path, capfd, monkeypatch):
    """Of the CPU, whose limit here is what is used already and 1 GB."""
    monkeypatch.setenv("GLOG_minloglevel", "2")
    (tmp_path / "huge.prototxt").write_text("""layer { name: "x"  type: "DummyData"  top: "x"
  dummy_data_param { shape { dim: 2000000000 } } }""")
    arguments = ["time", "-model", str(tmp_path / "huge.prototxt"), "-iterations", "1"]
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    try:
        assert main(arguments) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1 and "out of memory; lower batch_size" in printed


def test_training_can_go_on_after_an_infinite_loss(folder, monkeypatch):
    """A script that catches the error can load weights and go on."""
    monkeypatch.chdir(folder)
    write_solver(folder, "rising2", "SGD")
    parameter = read.solver("rising2.prototxt")
    parameter.base_lr = 1e30
    solver = Solver(parameter)
    with pytest.raises(CaffeError, match="iteration 1"):
        solver.step(5)
    assert solver.iter == 1
    weights.copy_from(solver.net, "first.caffemodel")
    assert np.isfinite(float(solver.net.forward()))


def test_a_full_disk(folder, bvlc):
    """A limit of file sizes acts as a full disk does."""
    limited = f"ulimit -f 0; {sys.executable} -m torchcaffe.command train -solver plain.prototxt"
    write_solver(folder, "plain", "SGD", "max_iter: 2")
    for path in folder.glob("plain_iter_*"):
        path.unlink()
    done = subprocess.run(
        ["sh", "-c", limited], cwd=folder, env=environment(), capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "plain_iter_2.caffemodel: cannot be written: File too large" in done.stderr
    assert not list(folder.glob("plain_iter_*"))
