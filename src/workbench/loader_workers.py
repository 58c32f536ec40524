"""The worker processes of DataLoaders: their number, and their end with the main process."""

import contextlib
import ctypes
import gc
import os
import signal
import sys

MOST_WORKERS = 8
"""More workers read data no faster."""

PR_SET_PDEATHSIG = 1
"""Linux's option of `prctl` for a signal to a process whose parent ends."""


def default_workers() -> int:
    """The number of cores that this process may use, up to `MOST_WORKERS`."""
    cores = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return min(len(cores), MOST_WORKERS)


def init_worker(_: int) -> None:
    """Leave signals to the main process, and end when it does.

    The main process's garbage is not collected here: it may hold the workers of other loaders,
    which only their parent can end, and collecting it would copy its memory.
    """
    gc.freeze()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
