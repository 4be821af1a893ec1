"""Worker processes, as all of data preparation starts them."""

import multiprocessing
import os
import signal
import threading

import cv2


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
