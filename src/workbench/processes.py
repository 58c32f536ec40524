"""The processes of a run that torchrun or Slurm has started, and what they agree on."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities import rank_zero

from workbench.child_processes import folder_to_join
from workbench.errors import ConfigError, RunError

STOPPED_KEY = "workbench/stopped"
"""Set in the store once a process was stopped while it waited for the others."""

LAUNCHERS = (TorchElasticEnvironment, SLURMEnvironment)
"""Launchers that may start the processes of a run, in the order in which Lightning detects them."""

CONNECT_TIMEOUT = timedelta(minutes=5)
"""How long the processes that a launcher starts wait for one another to connect."""

ANSWER_TIMEOUT = timedelta(minutes=30)
"""How long they wait for one that prepares the run: torch's own limit for a collective."""


class Processes:
    """The processes that prepare a run together; without a store, this one alone.

    Args:
        rank: the rank of this process.
        size: the number of processes.
        store: a store of `torch.distributed` that all of them reach.
        launcher: what started them.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        store: Any = None,
        launcher: ClusterEnvironment | None = None,
    ) -> None:
        self.rank = rank
        self.size = size
        self.launcher = launcher
        self._store = store
        self._round = 0

    def gather(self, value: Any) -> list[Any]:
        """The plain values that all processes give, by rank; every process must call it.

        Raises:
            RunError: if a process has ended, or takes longer than `ANSWER_TIMEOUT`.
            KeyboardInterrupt: if a process was stopped while it waited.
        """
        if self._store is None:
            return [value]
        try:
            self._send(value)
            values = [json.loads(self._receive(rank)) for rank in range(self.size)]
            self._send(None)  # has read all
            for rank in range(self.size if self.rank == 0 else 0):  # rank 0 may hold the store
                self._receive(rank)
        except torch.distributed.DistError:
            raise RunError("process 0 of this run has ended; its own message says why") from None
        except KeyboardInterrupt:
            with suppress(RuntimeError):  # if the store has ended too
                self._store.set(STOPPED_KEY, "")
            raise
        return values

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Fail in all processes if any fails; the lowest rank that does raises its error.

        Raises:
            SystemExit: with status 2, if another process reports the error.
            KeyboardInterrupt: if another process was stopped.
        """
        try:
            yield
        except Exception:
            if self.gather("failed").index("failed") == self.rank:
                raise
            raise SystemExit(2) from None
        except BaseException:
            with suppress(RuntimeError):  # if the store has ended too
                self._send("stopped")
                self._send(None)  # as `gather` does when it has read all
            raise
        outcomes = self.gather(None)
        if "failed" in outcomes:
            raise SystemExit(2)
        if "stopped" in outcomes:
            raise KeyboardInterrupt

    def _send(self, value: Any) -> None:
        self._round += 1
        if self._store is not None:
            self._store.set(self._key(self.rank), json.dumps(value))

    def _receive(self, rank: int) -> bytes:
        key, end = self._key(rank), time.monotonic() + ANSWER_TIMEOUT.total_seconds()
        while not self._store.check([key]):  # unlike `get`, this can be interrupted
            if self._store.check([STOPPED_KEY]):
                raise KeyboardInterrupt
            if time.monotonic() > end:
                raise RunError(
                    f"process {rank} of {self.size} has not answered for {ANSWER_TIMEOUT}"
                )
            time.sleep(0.02)
        return self._store.get(key)

    def _key(self, rank: int) -> str:
        return f"workbench/{self._round}/{rank}"


def launcher() -> ClusterEnvironment | None:
    """The launcher that started this process as one of several; None if there is none."""
    kind = next((kind for kind in LAUNCHERS if kind.detect()), None)
    try:
        found = kind() if kind else None
    except RuntimeError as error:  # Slurm's variables contradict one another
        raise ConfigError(str(error)) from error
    return found if found and found.world_size() > 1 else None


def single_process() -> Processes:
    """This process alone, even if a launcher has started others."""
    if folder_to_join() is None:
        rank_zero.rank_zero_only.rank = 0  # type: ignore[attr-defined]  # or Lightning's loggers would log nothing
    return Processes()


@cache
def connected_processes() -> Processes:
    """All processes that the launcher has started, connected; this one alone without a launcher.

    Raises:
        RunError: if they do not all connect in time.
    """
    found = launcher()
    if found is None:
        return Processes()
    from torch.distributed.rendezvous import rendezvous  # which not every build of torch has

    rank, size = found.global_rank(), found.world_size()
    os.environ["MASTER_ADDR"] = found.main_address
    os.environ["MASTER_PORT"] = str(found.main_port)
    try:
        store, _, _ = next(rendezvous("env://", rank, size, timeout=CONNECT_TIMEOUT))
    except torch.distributed.DistError as error:
        raise RunError(
            f"The {size} processes of this run have not connected at {found.main_address}:"
            f"{found.main_port} within {CONNECT_TIMEOUT}: start the same command on every node, "
            f"with torchrun or srun, at an address and port that all of them reach ({error})"
        ) from error
    return Processes(rank, size, store, found)


def check_same_settings(settings: Sequence[Mapping[str, Any]]) -> None:
    """Raise a ConfigError if the settings of the processes of a run, one entry each, differ."""
    first = settings[0]
    for rank, other in enumerate(settings):
        differing = [n for n in {**first, **other} if first.get(n) != other.get(n)]
        if differing:
            lines = [f"{n}: {first.get(n)} in the first, {other.get(n)}" for n in differing]
            raise ConfigError(
                f"Process {rank} of {len(settings)} was given other settings than the first; give "
                "all nodes the same command:\n  " + "\n  ".join(lines)
            )
