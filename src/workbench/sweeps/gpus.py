"""Share the GPUs of a machine evenly among processes that train jobs of sweeps."""

import functools
import os
import platform
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from workbench.project import Config


def take_one_gpu(config: Config) -> None:
    """Restrict this process to the least used GPU, if the job trains on one of several.

    It has no effect once this process has used CUDA.
    """
    trainer = config["trainer"]
    if trainer.get("devices") != 1 or trainer.get("accelerator") == "cpu":
        return
    if (gpus := torch.cuda.device_count()) > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else map(str, range(gpus))
        locks = Path(config["log_dir"]) / ".gpus"
        os.environ["CUDA_VISIBLE_DEVICES"], _ = lock_gpu(tuple(names), locks)


@functools.cache  # a process that asks again keeps its GPU
def lock_gpu(gpus: tuple[str, ...], locks: Path) -> tuple[str, FileLock]:
    """The least used of `gpus`, and a lock that marks it as used until this process ends."""
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
