"""The worker processes of DataLoaders: their number, and their end with the main process."""

import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from torch.multiprocessing import reductions

from workbench.errors import DataError, one_line

MOST_WORKERS = 8
"""More workers read data no faster."""

PR_SET_PDEATHSIG = 1
"""Linux's option of `prctl` for a signal to a process whose parent ends."""


@contextmanager
def naming_lost_workers(
    settings: str = "the number of workers or the size of batches",
) -> Iterator[None]:
    """Turn torch's errors about a worker process that has ended into a DataError.

    Torch notices it, or fails to receive a tensor from it.

    Args:
        settings: that help if memory is short.

    Raises:
        DataError: if a worker has ended.
    """
    try:
        yield
    except (EOFError, OSError, RuntimeError) as error:
        files = {frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)}
        is_refused = not isinstance(error, RuntimeError) and reductions.__file__ in files
        if not (is_refused or str(error).startswith("DataLoader worker")):
            raise
        raise DataError(
            f"a worker process that reads data has ended ({one_line(error)}).\n"
            "Its code may have ended it: without workers, you see where. If it was killed for lack "
            f"of memory, set {settings} lower."
        ) from error


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
