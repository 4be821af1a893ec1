"""The folder of one training: whether it is finished, and what it ended with."""

import json
from dataclasses import dataclass
from pathlib import Path

from gcnet.train.programs import Alternating, CaffeTrain
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.paths import portable, sha256


def digest_name(file):
    """What finished.json calls the digest of a prototxt file."""
    return f"{file.removesuffix('.prototxt')}_sha256"


@dataclass(frozen=True)
class TrainedFolder:
    """A folder in which a program trains: its solvers, log and snapshots, up to `max_iter`."""

    path: Path
    max_iter: int
    program: CaffeTrain | Alternating = CaffeTrain()

    @property
    def log(self):
        return self.path / "caffe.log"

    @property
    def final_caffemodel(self):
        return self.program.caffemodel(self.path, self.max_iter)

    def snapshots(self):
        """Iteration -> Path of the program's snapshot, the newest first."""
        return self.program.snapshots(self.path)

    def is_finished(self):
        return (self.path / "finished.json").is_file()

    def check_finished(self):
        """Raise InputError unless the final caffemodel is the one that finished.json tells of."""
        recorded = json.loads((self.path / "finished.json").read_text(encoding="utf-8"))
        model = self.final_caffemodel
        if not model.is_file() or sha256(model) != recorded["sha256"]:
            raise InputError(
                f"{portable(model)}: is not what the training ended with; delete "
                f"{portable(self.path)} and train again"
            )

    def mark_finished(self):
        """Write finished.json: which files the final caffemodel belongs to."""
        content = {
            "iteration": self.max_iter,
            "sha256": sha256(self.final_caffemodel),
            **{digest_name(name): sha256(self.path / name) for name in self.program.prototxt},
        }
        with replacing(self.path / "finished.json", encoding="utf-8") as file:
            file.write(json.dumps(content) + "\n")
