"""The host's free memory."""

import math
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""The folder in which Linux tells a container what it may use."""


def free_host_memory() -> float:
    """The bytes of memory that this process may still take; infinity if they are not known."""
    found: list[float] = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        found.append(next(int(line.split()[1]) for line in lines if "MemAvailable" in line) * 1024)
    with suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text("utf-8"))
        found.append(limit - int((CGROUP / "memory.current").read_text("utf-8")))
    return min(found, default=math.inf)
