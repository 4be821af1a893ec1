"""Lets processes work off the items of a part, and outlives whatever happens to them."""

import collections
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time

FIRST_SECONDS = 120
"""Silence after which a process that has just started is given up: PyTorch and the device start."""


class Workers:
    """Processes that work off `items` of a module of this package.

    `job`: what worker.py's Place needs besides (device, folder, folds, rehearsal, threads), a dict.
    `silence`: seconds without a line after which a process is ended. An item in which a process
    ends or falls silent has failed, and another process goes on behind it.
    """

    def __init__(self, module, items, job, environment, log, processes=1, silence=120):
        self.module, self.job = module, {"module": module, **job}
        self.environment, self.log = environment, log
        self.silence = silence
        numbered = list(enumerate(items))
        self.shares = [numbered[first::processes] for first in range(processes)]
        self._lines = queue.SimpleQueue()

    def results(self, ends):
        """Yield (number of the item, result) as they come, until time.time() is `ends`."""
        self.job["ends"] = ends
        threads = [
            threading.Thread(target=self._share, args=(share, ends), daemon=True)
            for share in self.shares if share
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        open_shares = len(threads)
        while open_shares:
            line = self._lines.get()
            if line is None:
                open_shares -= 1
            else:
                yield line

    def _share(self, items, ends):
        try:
            left = collections.deque(items)
            while left and time.time() < ends:
                self._process(left, ends)
            for number, _ in left:
                self._lines.put((number, {"failure": "not begun: no time was left"}))
        except Exception as error:
            self._lines.put((items[0][0], {"failure": f"{type(error).__name__}: {error}"}))
        finally:
            self._lines.put(None)

    def _process(self, left, ends):
        """Take items from the front of `left` until the process ends, well or not."""
        process = subprocess.Popen(
            [sys.executable, "-m", "on_gpu.worker"], env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
        )  # fmt: skip
        lines = queue.SimpleQueue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        with contextlib.suppress(BrokenPipeError):  # it says nothing then, which is told below
            process.stdin.write(json.dumps({**self.job, "items": list(left)}) + "\n")
            process.stdin.flush()
        at_work, finished = False, 0
        why = ""
        while True:
            silence = self.silence if at_work else max(self.silence, FIRST_SECONDS)
            wait = min(silence, ends - time.time())
            try:
                line = lines.get(timeout=max(wait, 0.01))
            except queue.Empty:
                why = "it was ended: " + (
                    "no time was left" if time.time() >= ends else f"{silence:.0f} s without a sign"
                )
                break
            if line is None:
                process.wait()
                why = f"its process ended with status {process.returncode}"
                break
            if "begun" in line:
                at_work = True
            elif "done" in line:
                left.popleft()
                at_work, finished = False, finished + 1
            else:
                self._lines.put((line["item"], line["result"]))
        process.kill()
        process.wait()
        if left and (at_work or not finished):
            number, _ = left.popleft()
            self._lines.put((number, {"failure": why}))


def _read(stream, lines):
    for line in stream:
        with contextlib.suppress(ValueError):
            lines.put(json.loads(line))
    lines.put(None)


def environment(paths):
    """Variables for the processes, which find modules in `paths`."""
    return {
        **os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "GLOG_minloglevel": "2",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
