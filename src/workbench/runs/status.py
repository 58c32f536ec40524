"""The status of a run, read without writing into its folder."""

import sys
from collections.abc import Mapping
from typing import Any

from workbench.runs.folder import RunFolder


def status_of(folder: RunFolder, metrics: Mapping[str, Any]) -> str:
    """The status of a run: `completed`, `pruned`, `failed`, `interrupted`, `running` or `killed`.

    A run is `killed` if its process ended without recording how.

    Args:
        folder: the run folder.
        metrics: the entries of its `metrics.json`.
    """
    status = str(metrics.get("status") or "running")
    return "killed" if status == "running" and not _is_running(folder) else status


def _is_running(folder: RunFolder) -> bool:
    lock = folder.path / ".lock"
    if sys.platform == "win32":
        return lock.exists() and folder.is_claimed()
    import fcntl

    try:
        with lock.open("rb") as file:  # claiming it would write
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
