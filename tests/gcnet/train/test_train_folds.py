"""Training with BVLC Caffe: resuming, stopping, starting from weights, and what can go wrong."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny

from data_prep.lmdbs import places
from gcnet import engine, prototxt, runs
from gcnet.report import of_runs
from gcnet.train import cross_validation, rendering, supervision
from gcnet.train.caffe_log import CaffeLog
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT

pytestmark = pytest.mark.usefixtures("bvlc")

BATCH = 21
EPOCH = 3  # iterations: 63 training pairs
MAX_ITER = 2 * EPOCH


def often_displayed(name, message):
    if name.startswith("solver_"):
        prototxt.set_value(message, "display", 2)


def without_chance(name, message):
    """The CNN without dropout and random crops, so that two trainings can be compared.

    Uncropped faces of 66x66 make more features than the deploy net has. A small classifier makes
    quick snapshots.
    """
    if name in ("cnn.prototxt", "deploy_cnn.prototxt"):
        prototxt.set_value(message, "inner_product_param.num_output", 16, "classifier/fc1")
    if name == "cnn.prototxt":
        prototxt.set_value(message, "transform_param.crop_size", 66, "data")
        prototxt.set_value(message, "dropout_param.dropout_ratio", 0, "classifier/dropout")
    often_displayed(name, message)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return tiny.write_database(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folds = tmp_path_factory.mktemp("lmdbs")
        patch.setattr(places, "LMDBS", folds)
        patch.setenv("GCNET_FOLDS", str(folds))  # of the commands
        patch.setenv("OPENBLAS_NUM_THREADS", "1")  # more only wait for each other on tiny nets
        yield


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    return tiny.write_prototxt(
        tmp_path_factory.mktemp("nets") / "prototxt", "cnn", batch=BATCH, edit=without_chance
    )


@pytest.fixture(scope="module")
def unbroken(index, nets, tmp_path_factory):
    """A run of two folds, side by side, trained to the end in one go."""
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    return tiny.train(folder, index, "cnn", nets, folds=[0, 1], jobs=2, max_iter=MAX_ITER)


@pytest.fixture(scope="module")
def stopped_once(unbroken, tmp_path_factory):
    """The same run, fold 0 as Caffe leaves it when stopped after an epoch: 3 snapshots."""
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    shutil.copytree(unbroken.folder, folder)
    run = runs.load(folder)
    fold = run.fold_folder(0)
    for path in [fold / "finished.json", fold / "caffe.log", *fold.glob("snapshot_*")]:
        path.unlink()
    half = fold / "solver_half.prototxt"
    half.write_text(rendering.render(run, 0, 14, "cpu")["solver"])
    tiny.set_value(half, "max_iter", EPOCH)
    caffe = engine.find()
    with open(fold / "caffe.log", "w") as log:
        subprocess.run(
            [*caffe.caffe, "train", "-solver", half],
            env=caffe.environment(), cwd=ROOT, stderr=log, check=True,
        )  # fmt: skip
    assert list(run.snapshots(0)) == [3, 2, 1]
    return run


@pytest.fixture
def stopped(stopped_once):
    """`stopped_once` for a test that trains on; put back afterwards."""
    kept = stopped_once.folder.with_name("kept")
    shutil.copytree(stopped_once.folder, kept)
    yield stopped_once
    shutil.rmtree(stopped_once.folder)
    kept.rename(stopped_once.folder)


def losses(run, fold=0):
    with open(run.fold_folder(fold) / "caffe.log") as lines:
        return CaffeLog(lines).train["loss_classification"]


def resume(run, index, nets, **changes):
    return tiny.train(run.folder, index, "cnn", nets, **{"max_iter": MAX_ITER, **changes})


def test_a_finished_fold_has_all_its_files_and_is_not_trained_again(unbroken, index, nets, capsys):
    fold = unbroken.fold_folder(0)
    assert sorted(path.name for path in fold.iterdir()) == [
        "caffe.log", "deploy.prototxt", "finished.json", "fold.json", "net.prototxt",
        f"snapshot_iter_{MAX_ITER}.caffemodel", f"snapshot_iter_{MAX_ITER}.solverstate",
        "solver.prototxt",
    ]  # fmt: skip
    log = (fold / "caffe.log").read_bytes()
    resume(unbroken, index, nets)
    assert "fold 0: finished before" in capsys.readouterr().out
    assert (fold / "caffe.log").read_bytes() == log


def test_folds_side_by_side_are_those_trained_alone(unbroken, index, nets, tmp_path):
    assert unbroken.is_finished(0) and unbroken.is_finished(1)
    alone = tiny.train(tmp_path / "run", index, "cnn", nets, folds=[1], max_iter=MAX_ITER)
    assert losses(unbroken, 1) == pytest.approx(losses(alone, 1), rel=1e-3)
    assert losses(unbroken, 1) != pytest.approx(losses(unbroken, 0), rel=1e-3)


def test_resuming_continues_the_unbroken_loss_curve(unbroken, stopped, index, nets, capsys):
    resume(stopped, index, nets)
    assert f"resumes at iteration {EPOCH} of {MAX_ITER}" in capsys.readouterr().out
    expected, got = losses(unbroken), losses(stopped)
    assert list(got) == list(range(MAX_ITER))
    assert got == pytest.approx(expected, rel=1e-3)
    assert abs(expected[EPOCH] - expected[0]) > 0.05  # so starting anew would have been seen


def test_resuming_falls_back_over_truncated_snapshots(stopped, index, nets, capsys):
    newest, second, *_ = stopped.snapshots(0).values()
    os.truncate(newest, newest.stat().st_size // 2)
    model = second.with_suffix(".caffemodel")
    os.truncate(model, model.stat().st_size - 100)
    resume(stopped, index, nets)
    said = capsys.readouterr().out
    assert said.count("left out a broken snapshot") == 2
    assert f"resumes at iteration {EPOCH - 2} of" in said
    assert stopped.is_finished(0)


def test_a_run_folder_refuses_other_settings(unbroken, index, nets):
    with pytest.raises(InputError, match=f"max_iter {MAX_ITER}, now 5"):
        resume(unbroken, index, nets, max_iter=5)


def test_another_net_is_told_and_not_that_its_files_are_others(unbroken):
    wanted = replace(unbroken.settings, net="s1r1", prototxt_sha256="of other files")
    with pytest.raises(InputError, match=r"\(net cnn, now s1r1\)"):
        runs.open_or_new(unbroken.folder, wanted, "", "")


def test_a_folder_without_the_nets_is_named(index, tmp_path):
    with pytest.raises(InputError, match="nowhere/solver_cnn.prototxt: .* give as --prototxt"):
        tiny.train(tmp_path / "run", index, "cnn", tmp_path / "nowhere")


def test_a_changed_net_is_another_setting_and_a_changed_comment_is_not(unbroken, index, nets):
    folder = nets.with_name("kept")
    shutil.copytree(nets, folder)
    try:
        with open(nets / "cnn.prototxt", "a") as file:
            file.write("# a remark\n")
        resume(unbroken, index, nets)
        with open(nets / "cnn.prototxt", "a") as file:
            file.write("force_backward: true\n")
        with pytest.raises(InputError, match="the content of prototxt has changed"):
            resume(unbroken, index, nets)
    finally:
        shutil.rmtree(nets)
        folder.rename(nets)


def test_an_index_that_cannot_be_trained_on_leaves_no_run_behind(index, nets, tmp_path):
    lines = index.read_text().splitlines(keepends=True)
    few = index.with_name("few.csv")
    few.write_text("".join(lines[: 1 + 8 * 3]))
    with pytest.raises(InputError, match="10 folds need at least 10 subjects, here are 3"):
        tiny.train(tmp_path / "run", few, "cnn", nets)
    assert not (tmp_path / "run").exists()


def test_another_nets_caffemodel_is_told_with_layer_and_shapes(unbroken):
    # 96 x 9 x 9 values of an uncropped face, while the deploy net takes 64x64.
    expected = r"layer classifier/fc1 is 16x7776 \+ 16, expected 16x6144"
    with pytest.raises(InputError, match=f"snapshot_iter_6.caffemodel: {expected}"):
        of_runs.evaluate(unbroken)


def test_weights_are_taken_by_name_and_checked(unbroken, index, nets, tmp_path, capsys):
    model = unbroken.final_caffemodel(0)
    tiny.train(tmp_path / "run", index, "cnn", nets, weights=[model])
    # 3 x (convolution 1, BatchNorm 3, Scale 2) + 2 x 2
    assert f"fold 0: 22 blobs taken from {model}" in capsys.readouterr().out
    warm = losses(runs.load(tmp_path / "run"))
    assert warm[0] < 0.9 * losses(unbroken)[0]

    with pytest.raises(InputError, match="layer classifier/fc2 is 7x16 .* expected 8x16"):
        tiny.train(tmp_path / "eight", index, "cnn", nets, classes="8", weights=[model])
    empty = tmp_path / "empty.caffemodel"
    empty.touch()
    with pytest.raises(InputError, match=r"empty.caffemodel: is empty \(0 bytes\)"):
        tiny.train(tmp_path / "empty", index, "cnn", nets, weights=[empty])
    assert not (tmp_path / "eight").exists() and not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    "classes, part, told",
    [
        (
            "8",
            1,
            r"layer classifier/fc2 is 7x16 \+ 7, expected 8x16 \+ 8; it is a caffemodel of .*",
        ),
        ("7", 0.5, "truncated or no NetParameter file; train or copy it again"),
    ],
)
def test_the_command_tells_wrong_weights_in_one_line(
    unbroken, index, nets, tmp_path, classes, part, told
):
    model = tmp_path / "given.caffemodel"
    content = unbroken.final_caffemodel(0).read_bytes()
    model.write_bytes(content[: int(part * len(content))])
    done = subprocess.run(
        [sys.executable, ROOT / "python" / "train_folds.py", "--index", index, "--net", "cnn",
         "--folds", "0", "--classes", classes, "--copies", "0", "--max-iter", "1",
         "--prototxt", nets, "--weights", model, "--run", tmp_path / "run"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(f"error: {re.escape(str(model))}: {told}\n", done.stderr)
    assert not (tmp_path / "run").exists()


def test_another_start_in_a_new_folder_meanwhile_is_seen(index, nets, tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def other_start(run, caffe, fold, description):
        runs.save(replace(run, settings=replace(run.settings, seed=99)))

    monkeypatch.setattr(cross_validation, "_check_start", other_start)
    with pytest.raises(InputError, match="seed 99, now 1"):
        tiny.train(folder, index, "cnn", nets)
    assert not (folder / "fold0").exists()


def test_weights_of_which_nothing_matches_are_an_error(index, nets, tmp_path):
    net, model = tmp_path / "other.prototxt", tmp_path / "other.caffemodel"
    net.write_text(
        'layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 1 dim: 2 } } }\n'
        'layer { name: "foreign" type: "InnerProduct" bottom: "in" top: "out"\n'
        "        inner_product_param { num_output: 2 } }\n"
    )
    caffe = engine.find()
    code = f"import caffe; caffe.Net({str(net)!r}, caffe.TEST).save({str(model)!r})"
    subprocess.run([*caffe.python, "-c", code], env=caffe.environment(2), check=True)
    with pytest.raises(InputError, match="has no layer of this net; it holds .*foreign"):
        tiny.train(tmp_path / "run", index, "cnn", nets, weights=[model])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name, told",
    [
        ("bvlc", r"the loss is (-?nan|inf) at iteration \d+ \(log: .*caffe.log\)"),
        ("torch", r"the loss is (-?nan|inf) in iteration \d+; it began in .* \(log: .*caffe.log\)"),
    ],
)
def test_a_loss_that_is_no_number_ends_the_training(index, tmp_path, name, told):
    def explode(name, message):
        if name.startswith("solver_"):
            prototxt.set_value(message, "base_lr", 1e30)

    nets = tiny.write_prototxt(tmp_path / "prototxt", "cnn", edit=explode)
    with pytest.raises(InputError, match=told):
        tiny.train(tmp_path / "run", index, "cnn", nets, max_iter=100, engine=name)
    assert not runs.load(tmp_path / "run").is_finished(0)


def test_a_broken_python_layer_is_told_by_its_own_line(index, tmp_path):
    def misspell(name, message):
        if name == "gcnet.prototxt":
            prototxt.set_value(message, "python_param.param_str", '{"nmae": "delta"}', "delta")

    nets = tiny.write_prototxt(tmp_path / "prototxt", "gcnet", edit=misspell)
    with pytest.raises(InputError, match=r"Python layer .*\(NormalizedDistance\): .*nmae"):
        tiny.train(tmp_path / "run", index, "s0r0", nets)


def once_all_train(run_folder, act):
    """Call `act` from a thread as soon as the logs of folds 0 and 1 show a loss, then one more."""
    logs = [run_folder / f"fold{fold}" / "caffe.log" for fold in (0, 1)]

    def shown(log):
        return len(re.findall(r"Iteration \d+ \(.*loss", log.read_text())) if log.exists() else 0

    def watch():
        while min(map(shown, logs)) < 2:
            time.sleep(0.1)
        act()

    threading.Thread(target=watch, daemon=True).start()
    return logs


def assert_stopped_with_a_snapshot(run, fold):
    log = run.fold_folder(fold) / "caffe.log"
    assert log.read_text().count("Optimization stopped early") == 1
    assert run.snapshots(fold) and not run.is_finished(fold)


def assert_no_caffe_is_left(run):
    with supervision.locked(run.folder):  # every Caffe holds the lock
        pass


def test_ctrl_c_leaves_snapshots_and_no_caffe_behind(index, tmp_path, monkeypatch, capsys, request):
    # S1R1, whose Python layers bring an interpreter with signal handlers of its own into Caffe.
    nets = tiny.write_prototxt(tmp_path / "prototxt", "gcnet", batch=2, edit=often_displayed)
    monkeypatch.setattr(supervision, "SECONDS_BETWEEN_LINES", 0)

    def interrupt():
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    # In the background of a shell SIGINT is ignored from the start, and Python leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    once_all_train(tmp_path / "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tiny.train(tmp_path / "run", index, "s1r1", nets, folds=[0, 1, 2], jobs=2, max_iter=100000)
    run = runs.load(tmp_path / "run")
    for fold in (0, 1):
        assert_stopped_with_a_snapshot(run, fold)
    assert not (run.fold_folder(2) / "caffe.log").exists()
    assert_no_caffe_is_left(run)

    said = capsys.readouterr()
    assert "fold 0, fold 1: takes a snapshot and stops" in said.out
    position = r"\d+/100000 loss [\d.]+"
    left = r"1 waiting, [\d:]+ left"
    assert re.search(f"^fold 0: {position}, fold 1: {position}, {left}$", said.err, re.MULTILINE)


def test_a_fold_that_fails_stops_the_others_with_a_snapshot(index, nets, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    for module in (cross_validation, supervision):
        monkeypatch.setattr(module, "available_cores", lambda: 5)
    threads = []

    def kill():
        for log in logs:
            process = int(re.search(r"^I\d+ \S+ +(\d+) ", log.read_text(), re.MULTILINE)[1])
            environment = Path(f"/proc/{process}/environ").read_text().split("\0")
            threads.extend(line for line in environment if line.startswith("OPENBLAS_NUM_THREADS"))
        os.kill(process, signal.SIGKILL)

    logs = once_all_train(tmp_path / "run", kill)
    with pytest.raises(InputError, match="fold 1: Caffe failed: it was killed"):
        tiny.train(tmp_path / "run", index, "cnn", nets, folds=[0, 1], max_iter=100000)
    assert threads == 2 * ["OPENBLAS_NUM_THREADS=2"]
    run = runs.load(tmp_path / "run")
    assert_stopped_with_a_snapshot(run, 0)
    assert_no_caffe_is_left(run)


def test_time_left_lets_each_waiting_fold_start_where_one_ends():
    running = [
        SimpleNamespace(iterations_left=10, seconds_per_iteration=2.0),
        SimpleNamespace(iterations_left=50, seconds_per_iteration=2.0),
    ]
    assert supervision._seconds_left(running, []) == 100
    assert supervision._seconds_left(running, [30, 30]) == 140  # one ends at 20, 80 and 140
    running[0].seconds_per_iteration = None
    assert supervision._seconds_left(running, [60]) == 140
    assert supervision._seconds_left(running[:1], []) is None


def test_no_jobs_are_told(index, nets, tmp_path):
    with pytest.raises(InputError, match="--jobs 0: give 1 or more"):
        tiny.train(tmp_path / "run", index, "cnn", nets, jobs=0)


def test_a_run_that_is_being_trained_is_left_alone(unbroken, index, nets):
    with (
        supervision.locked(unbroken.folder),
        pytest.raises(InputError, match="being trained by another"),
    ):
        resume(unbroken, index, nets)


@pytest.mark.parametrize(
    "text, folds", [("0-9", list(range(10))), ("3,0", [0, 3]), ("1-2,2", [1, 2])]
)
def test_folds_are_read_as_typed(text, folds):
    assert cross_validation.parse_folds(text) == folds


@pytest.mark.parametrize("text", ["", "10", "0-10", "a", "3-", "-1", "5-3"])
def test_folds_that_do_not_exist_are_told(text):
    with pytest.raises(InputError, match="folds"):
        cross_validation.parse_folds(text)
