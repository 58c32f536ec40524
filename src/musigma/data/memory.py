"""Free memory of host and device, and copies from one to the other."""

import math
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

CGROUP = Path("/sys/fs/cgroup")
"""The folder in which Linux states the memory limit of a container."""


def free_host_memory() -> float:
    """The bytes of memory that this process may still allocate; infinity if unknown."""
    found: list[float] = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        found.append(next(int(line.split()[1]) for line in lines if "MemAvailable" in line) * 1024)
    with suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text("utf-8"))
        found.append(limit - int((CGROUP / "memory.current").read_text("utf-8")))
    return min(found, default=math.inf)


def free_memory(device: torch.device) -> int | None:
    """The free bytes of a GPU; None for devices that use the host's memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """A batch on `device`, copied to a GPU without making the host wait."""
    if device.type == "cuda" and batch.device.type == "cpu":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)
