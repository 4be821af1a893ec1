"""Worker processes, as all of data preparation starts them, and work spread over them in order."""

import collections
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2

from gcnet_base.errors import InputError

# Tasks of each worker that are handed out and not yet taken back: one at work, one waiting.
_IN_FLIGHT = 2


class Workers:
    """`count` worker processes, ended when the `with` block ends; `map` with 1 needs none.

    They are started by the first tasks, which takes half a second each for their imports.
    """

    def __init__(self, count):
        self._count = count
        self._pool = ProcessPoolExecutor(
            count, multiprocessing.get_context("spawn"), initializer=start_worker
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pool.shutdown(cancel_futures=True)

    def submit(self, function, *arguments):
        """A future of `function(*arguments)`, which is one that pickle can name."""
        with _without_ctrl_c(), _worker_errors():
            return self._pool.submit(function, *arguments)

    def result(self, future):
        """What the function of a future returned; what it raised is raised here.

        Raises InputError if a worker was killed.
        """
        with _worker_errors():
            return future.result()

    def map(self, function, tasks):
        """Yield `function(task)` of each of `tasks` in their order; `tasks` is read as needed."""
        if self._count == 1:
            yield from map(function, tasks)
            return
        tasks = iter(tasks)
        pending = collections.deque()
        while True:
            room = _IN_FLIGHT * self._count - len(pending)
            for task in itertools.islice(tasks, room):
                pending.append(self.submit(function, task))
            if not pending:
                return
            yield self.result(pending.popleft())


@contextlib.contextmanager
def _worker_errors():
    try:
        yield
    except BrokenProcessPool:
        raise InputError(
            "a worker process ended abruptly; run the command again, with fewer --workers if "
            "memory is short"
        ) from None


@contextlib.contextmanager
def _without_ctrl_c():
    """Hold Ctrl-C back until the block ends; a worker that starts in it never gets any."""
    held = []
    # Blocked for the children, which inherit it. The handler, because another thread of this
    # process (OpenBLAS has some) takes the signal that the main thread blocks.
    handler = signal.signal(signal.SIGINT, lambda *_: held.append(True))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if held:
        raise KeyboardInterrupt


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
