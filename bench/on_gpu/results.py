"""The results folder: a few files that are whole at every moment."""

import json
import time

from gcnet_base.atomic import replacing
from on_gpu import report

SECONDS_BETWEEN = 1.0


class Results:
    """Writes results.json, report.md and reproductions.md into a folder as results come.

    content   {"machine": {...}, "parts": {name: {"items": [...], "results": [...], ...}}}
    """

    def __init__(self, folder):
        self.folder = folder
        self.content = {"machine": {}, "parts": {}}
        self._written = 0.0

    def begin(self, part, items):
        self.content["parts"][part] = {"items": items, "results": []}
        self.write()

    def add(self, part, number, result):
        self.content["parts"][part]["results"].append([number, result])
        if time.monotonic() - self._written > SECONDS_BETWEEN:
            self.write()

    def fail(self, part, failure):
        self.content["parts"].setdefault(part, {"items": [], "results": []})["failure"] = failure
        self.write()

    def write(self):
        self._written = time.monotonic()
        for name, text in (
            ("results.json", json.dumps(self.content, indent=1)),
            ("report.md", report.markdown(self.content)),
            ("reproductions.md", report.reproductions(self.content)),
        ):
            with replacing(self.folder / name) as file:
                file.write(text)
