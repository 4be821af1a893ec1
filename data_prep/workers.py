"""Worker processes, as all of data preparation starts them, and work spread over them in order."""

import collections
import itertools
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2

from gcnet.errors import InputError

# Tasks of each worker that are handed out and not yet taken back: one at work, one waiting.
_IN_FLIGHT = 2


def cpus():
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


class Workers:
    """`count` worker processes, ended when the `with` block ends; with 1 there is none.

    They are started by the first tasks, which takes half a second each for their imports.
    """

    def __init__(self, count):
        self._count = count
        self._pool = None
        if count > 1:
            self._pool = ProcessPoolExecutor(
                count, multiprocessing.get_context("spawn"), initializer=start_worker
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function, tasks):
        """Yield `function(task)` of each of `tasks` in their order; `tasks` is read as needed.

        `function` is one that pickle can name. What it raises is raised here. Raises InputError
        if a worker is killed.
        """
        if not self._pool:
            yield from map(function, tasks)
            return
        tasks = iter(tasks)
        pending = collections.deque()
        try:
            while True:
                room = _IN_FLIGHT * self._count - len(pending)
                for task in itertools.islice(tasks, room):
                    pending.append(self._pool.submit(function, task))
                if not pending:
                    return
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise InputError(
                "a worker process ended abruptly; run the command again, with fewer --workers if "
                "memory is short"
            ) from None


def start_worker():
    """Set up a worker process: the initializer of a pool.

    Workers are as many as CPUs, each with one thread. Ctrl-C is the parent's affair, and a parent
    that was killed takes its workers along.
    """
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
