"""What an alignment has done, written down as it is done, so that nothing is done again."""

import fcntl
import json
import os
from typing import NamedTuple

from gcnet_base.atomic import naming
from gcnet_base.errors import InputError


class Task(NamedTuple):
    """An image to align. `key`: a digest of all that decides its outcome; `face`: the file that it
    gets, relative to the output folder."""

    key: str
    image: str
    file: str
    landmarks: tuple | None
    face: str


class Journal:
    """What has been done, appended to a file line by line: {face: [key, outcome]}, the last holds.

    By face and not by key alone, so that a face that another key has written over counts for that
    one. An outcome is the list of the ten landmark coordinates, or the reason for leaving the image
    out.
    """

    def __init__(self, path):
        self._done = {}
        self._file = open(path, "a+b")  # noqa: SIM115 (closed by __exit__)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{path.parent}: another align is writing into this folder; wait for its end"
            ) from None
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                self._done.update(json.loads(line))
            except ValueError:
                break
            whole += len(line)
        # The last line of a killed run may be half a line.
        self._file.truncate(whole)

    def outcome(self, task, out):
        """The task's outcome, None if it is not known or its face is not there."""
        key, outcome = self._done.get(task.face, (None, None))
        if key != task.key:
            return None
        if isinstance(outcome, list):
            try:
                # An empty file is what a power cut may leave of a face.
                return outcome if os.stat(f"{out}/{task.face}").st_size else None
            except FileNotFoundError:
                return None
        return outcome

    def forget(self, tasks):
        """What was done before for the faces of `tasks`, which are about to be written over."""
        self._append({task.face: (None, None) for task in tasks if task.face in self._done})

    def add(self, done):
        """`done`: (task, outcome) of tasks that are done."""
        self._append({task.face: (task.key, outcome) for task, outcome in done})

    def _append(self, entries):
        lines = "".join(json.dumps({face: entry}) + "\n" for face, entry in entries.items())
        with naming(self._file.name):
            self._file.write(lines.encode())
            self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with naming(self._file.name):
            self._file.close()
