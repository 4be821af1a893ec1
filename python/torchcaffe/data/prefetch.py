"""Making batches in the background."""

import atexit
import os
import queue
import threading
import weakref

import torch

from torchcaffe.errors import CaffeError

_POLL = 0.2
"""Seconds after which an idle thread looks whether it is still wanted."""


class Prefetcher:
    """Takes batches from an iterator in a thread, up to `depth` of them ahead of the reader.

    `batches`: an iterator over sequences of numpy arrays; it must not refer to the Prefetcher's
    owner, so that dropping the owner ends the thread. `pin`: whether to put them into page-locked
    memory, from which a GPU copies while it computes.

    The thread ends with `close`, when nobody has the Prefetcher any more, and before the
    interpreter ends. An error in the iterator reaches the reader in place of the batch that it was
    met at.
    """

    def __init__(self, batches, depth, pin=False):
        self._process = os.getpid()
        self._error = None
        self._worker = _Worker(batches, depth, pin)
        weakref.finalize(self, self._worker.abandon).atexit = False
        self._worker.thread.start()

    def next(self):
        """The next batch, a list of tensors in CPU memory.

        Raises the CaffeError of the iterator (each time from then on); another exception becomes a
        CaffeError with its text.
        """
        if self._error is not None:
            raise CaffeError(self._error)
        if os.getpid() != self._process:
            raise CaffeError("was set up before a fork, whose child lacks its thread; fork first")
        made = self._worker.ready.get()
        if isinstance(made, str):
            self._error = made
            raise CaffeError(made)
        self._worker.free.release()
        return made

    @property
    def waiting(self):
        """How many batches are ready."""
        return self._worker.ready.qsize()

    def close(self):
        """End the thread."""
        self._error = "is closed"
        self._worker.stop()


class _Worker:
    """The thread and what it shares with its Prefetcher, which it does not know."""

    def __init__(self, batches, depth, pin):
        self.batches, self.pin = batches, pin
        self.ready = queue.SimpleQueue()
        self.free = threading.Semaphore(depth)
        self.wanted = True
        self.thread = threading.Thread(target=self.run, name="torchcaffe data", daemon=True)
        _workers.add(self)

    def run(self):
        try:
            while self.wanted:
                # Polled: a garbage collection may end this at any moment, when taking the
                # semaphore's lock could wait for itself.
                if self.free.acquire(timeout=_POLL) and self.wanted:
                    tensors = [torch.from_numpy(array) for array in next(self.batches)]
                    if self.pin:
                        tensors = [tensor.pin_memory() for tensor in tensors]
                    self.ready.put(tensors)
        except CaffeError as error:
            self.ready.put(str(error))
        except BaseException as error:
            self.ready.put(f"reading failed ({type(error).__name__}: {error})")
        finally:
            self.batches = None

    def abandon(self):
        self.wanted = False

    def stop(self):
        self.wanted = False
        self.free.release()
        if self.thread is not threading.current_thread():
            self.thread.join(timeout=5)


_workers = weakref.WeakSet()


@atexit.register
def _stop_all():
    """A thread that runs while the interpreter is taken down may crash in a library."""
    workers = list(_workers)
    for worker in workers:
        worker.abandon()
    for worker in workers:
        worker.stop()


os.register_at_fork(after_in_child=_workers.clear)
