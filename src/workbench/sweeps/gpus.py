"""Distribute the GPUs of a machine among the processes of its sweeps."""

import functools
import os
import platform
from pathlib import Path

import torch
from filelock import FileLock, Timeout


def take_gpu(locks: Path) -> None:
    """Restrict this process to one GPU, one that the fewest others have.

    Has no effect if there is at most one, or once this process has used CUDA.

    Args:
        locks: the folder of the locks by which processes see which GPUs others have.
    """
    if (gpus := torch.cuda.device_count()) > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else map(str, range(gpus))
        os.environ["CUDA_VISIBLE_DEVICES"], _ = deal(tuple(names), locks)


@functools.cache  # a process that asks again keeps what it has
def deal(gpus: tuple[str, ...], locks: Path) -> tuple[str, FileLock]:
    """One of `gpus`, and the lock by which this process has it until it ends."""
    locks.mkdir(parents=True, exist_ok=True)
    others = 0
    while True:
        for gpu in gpus:
            lock = FileLock(locks / f"{platform.node()}_{gpu}_{others}", thread_local=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            return gpu, lock
        others += 1
