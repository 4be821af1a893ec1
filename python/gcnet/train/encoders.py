"""Pre-train the encoders on faces of many people (Section IV-A), and leave them as weights.

autoencoder   the encoder-decoder of Table I reconstructs the image: Encoder_1, the generator's
identity      the CNN tells identities apart: Encoder_2, the contrastive encoder

A pre-training works in `runs/pretrain/<part>-<database>-<key>/`, whose key stands for its settings
and faces: the same command resumes it, and another setting is another folder. What remains is the
encoder alone, `<name>.caffemodel`: the paper adopts "three convolutional layers in the encoder".
Beside it `<name>.json` says where it comes from.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data_prep.lmdbs import places
from data_prep.lmdbs.build import IDENTITY_COPIES, SEED, build_identities
from gcnet import engine as engines
from gcnet import prototxt, runs, sources
from gcnet.models import PROTOTXT
from gcnet.train import caffe_log, rendering, supervision
from gcnet.train.supervision import Training, say
from gcnet.train.trained_folder import TrainedFolder
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.paths import ROOT, database_name, portable, sha256
from torchcaffe.schema.caffe_pb2 import NetParameter

FOLDER = runs.RUNS / "pretrain"
"""Where the trainings are unless told otherwise."""

WEIGHTS = ROOT / "weights"
"""Where the encoders are unless told otherwise."""


@dataclass(frozen=True)
class Part:
    """What is pre-trained: the net and solver of prototxt/, and which of its layers are kept."""

    net: str
    encoder: str


PARTS = {
    "autoencoder": Part("pretrain_autoencoder", "encoder1"),
    "identity": Part("pretrain_identity", "encoder2"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides a pre-training's outcome. `max_iter`, `batch` None: what solver, net say."""

    part: str
    index: str
    max_iter: int | None = None
    batch: int | None = None
    copies: int = IDENTITY_COPIES
    seed: int = SEED
    engine: str | None = None
    prototxt: str = PROTOTXT


def pretrain(settings, command, output=WEIGHTS, work=FOLDER, device="cpu"):
    """Pre-train PARTS[settings.part] on the faces of an index; returns the path of the .caffemodel.

    `output` is the folder of the weights, `work` the folder for the trainings, `command` what the
    result says that it was made by; `device` is as cross_validation.train takes it. Every subject
    with two images or more is an identity, one image of each is for testing. Ctrl-C lets Caffe take
    a snapshot, from which the same call goes on.

    Raises InputError: an index that cannot be used, weights of other settings or of unknown origin
    at the place of the result, and as cross_validation.train does.
    """
    name, folder = settings.part, settings.prototxt
    part, caffe = PARTS[name], engines.find(settings.engine)
    gpu = caffe.gpu(device)
    paths = _paths(part, folder)
    messages = sources.read_messages(paths)
    settings = runs.checked_size(settings, paths, messages)
    index, copies, seed = settings.index, settings.copies, settings.seed
    runs.check_index(index)
    index_sha256 = sha256(index)
    lmdbs = places.of_identities(index, index_sha256, copies, seed)
    with places.building():
        data, _ = build_identities(index, lmdbs, copies=copies, seed=seed)
    made_with = {
        "part": name,
        "index": portable(index),
        "index_sha256": index_sha256,
        "faces_sha256": data["inputs"]["faces_sha256"],
        "max_iter": settings.max_iter,
        "batch": settings.batch,
        "copies": copies,
        "seed": seed,
        "engine": caffe.name,
        "prototxt_sha256": prototxt.digest(messages.values()),
    }
    weights = Path(output) / f"{part.encoder}.caffemodel"
    if _made_before(weights, made_with):
        say(f"{portable(weights)}: made before from the same settings")
        return weights

    key = hashlib.sha256(json.dumps(made_with).encode()).hexdigest()[:8]
    path = Path(work).resolve() / f"{name}-{database_name(index)}-{key}"
    trained = TrainedFolder(path, settings.max_iter)
    counts = {kind: data[kind]["records"] for kind in ("train", "test")}
    identities = len(data["class_names"])
    about = f"{counts['train']} faces of {identities} identities, {counts['test']} for testing"
    with supervision.locked(path) as lock, supervision.terminate_as_interrupt():
        started = _started(path, command)
        if not trained.is_finished():
            rendered = _rendered(paths, messages, made_with, path, lmdbs, data, device)
            for kind, text in rendered.items():
                supervision.write(path / f"{kind}.prototxt", text)
            training = Training(name, about, trained, (), portable(folder), gpu)
            supervision.train_side_by_side([training], caffe, 1, lock)
        trained.check_finished()
        description = {
            **started,
            "settings": made_with,
            "data": {
                "train": counts["train"],
                "test": counts["test"],
                "identities": identities,
                "left_out": len(data["left_out"]),
            },
            "result": _result(trained),
            "run": portable(path),
        }
        _keep_encoder(trained.final_caffemodel, part.encoder, weights, description)
    say(f"{portable(weights)}: written, with {weights.with_suffix('.json').name} beside it")
    return weights


def _started(path, command):
    """{"command", "revision", "date"} of the call that started a training, resumed or not."""
    recorded = path / "started.json"
    if not recorded.exists():
        started = {
            "command": command,
            "revision": runs.git_revision(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }
        supervision.write(recorded, json.dumps(started, indent=1) + "\n")
    return json.loads(recorded.read_text(encoding="utf-8"))


def _paths(part, folder):
    """{"net", "solver": Path} of what is pre-trained."""
    paths = {
        "net": Path(folder) / f"{part.net}.prototxt",
        "solver": Path(folder) / f"solver_{part.net}.prototxt",
    }
    for path in paths.values():
        if not path.is_file():
            raise InputError(f"{path}: no such file; give a folder with a copy of prototxt/")
    return paths


def _made_before(weights, settings):
    """Whether the weights are there, of these settings; raises InputError if of other ones."""
    description = _description(weights)
    if description is None:
        return False
    old = description["settings"]
    different = [key for key in settings if old.get(key) != settings[key]]
    if different:
        what = ", ".join(f"{key} {old.get(key)}, now {settings[key]}" for key in different)
        raise InputError(f"{weights}: was made with other settings ({what}); choose another -o")
    return True


def _description(weights):
    """What the JSON beside weights says, or None if there are no weights.

    Raises InputError if the JSON is missing, cannot be read or is of another file.
    """
    path = weights.with_suffix(".json")
    if not weights.is_file():
        return None
    if not path.is_file():
        raise InputError(
            f"{weights}: is there without {path.name}; move it away or choose another -o"
        )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        digest = description["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not readable ({error}); remove it and {weights}") from None
    if digest != sha256(weights):
        raise InputError(
            f"{path}: is of another file than {weights}; remove both and make them anew"
        )
    return description


def _rendered(paths, messages, settings, path, lmdbs, data, device):
    """{"net", "solver": text} with this training's data, size and places filled in.

    Changes the `messages` so.
    """
    net, solver = messages["net"], messages["solver"]
    with sources.naming(paths["net"]):
        for phase, kind in (("TRAIN", "train"), ("TEST", "test")):
            prototxt.set_value(net, "data_param.source", portable(lmdbs / kind), "data", phase)
        prototxt.set_value(net, "data_param.batch_size", settings["batch"], "data", "TRAIN")
        if any(layer.name == "identity/fc2" for layer in net.layer):
            identities = len(data["class_names"])
            prototxt.set_value(net, "inner_product_param.num_output", identities, "identity/fc2")
        test_batch = prototxt.value(net, "data_param.batch_size", "data", "TEST")
    test_iter = -(-data["test"]["records"] // test_batch)
    with sources.naming(paths["solver"]):
        rendering.fit_solver(
            solver, path, settings["max_iter"], test_iter, settings["seed"], device
        )
    return {name: prototxt.text(message, paths[name]) for name, message in messages.items()}


def _result(trained):
    """{"train", "test": {output: value}} as the log shows them last: of one batch, of all tests."""
    log = caffe_log.of_file(trained.log)
    return {
        kind: {name: values[max(values)] for name, values in outputs.items()}
        for kind, outputs in (("train", log.train), ("test", log.test))
    }


def _keep_encoder(caffemodel, encoder, weights, description):
    """Write the encoder's layers alone, and the description with the digest of that file."""
    net = NetParameter()
    net.ParseFromString(caffemodel.read_bytes())
    kept = [layer for layer in net.layer if layer.name.split("/")[0] == encoder and layer.blobs]
    small = NetParameter(name=f"{net.name}, {encoder}")
    small.layer.extend(kept)
    weights.parent.mkdir(parents=True, exist_ok=True)
    content = small.SerializeToString()
    description["sha256"] = hashlib.sha256(content).hexdigest()
    description["layers"] = [layer.name for layer in kept]
    # The description first: without the weights it counts for nothing, and they never lack it.
    with replacing(weights.with_suffix(".json"), encoding="utf-8") as file:
        file.write(json.dumps(description, indent=1) + "\n")
    with replacing(weights, "wb") as file:
        file.write(content)
