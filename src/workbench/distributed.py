"""One run in several processes: the others join the first.

Lightning starts those of one machine itself, once the first has made the run's folder. torchrun and
Slurm start them all, on one machine or several, and they agree before anything is written.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities import rank_zero

from workbench.errors import ConfigError, RunError

FOLDER = "WORKBENCH_RUN_FOLDER"

STOPPED = "workbench/stopped"
"""In the store once a process was stopped while it waited for the others."""

LAUNCHERS = (TorchElasticEnvironment, SLURMEnvironment)
"""Launchers that may start the processes of a run, in the order in which Lightning asks."""

MEETING = timedelta(minutes=5)
"""The time that processes which a launcher starts together wait for one another."""

PATIENCE = timedelta(minutes=30)
"""The time that they wait for one that prepares the run: torch's own limit for a collective."""

SEEN_WITHIN = timedelta(minutes=1)
"""After so long a network file system shows what another node has made."""


def folder_to_join() -> Path | None:
    """In the processes that Lightning starts, the run folder of rank 0; otherwise None."""
    is_other = int(os.environ.get("LOCAL_RANK", "0")) > 0
    return Path(os.environ[FOLDER]) if is_other and FOLDER in os.environ else None


class Processes:
    """The processes that prepare a run together; without a store, this one alone.

    Args:
        rank: of this one.
        size: how many there are.
        store: one of `torch.distributed`, which all reach.
        launcher: has started them.
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
        """The plain values of all, by rank; all must call it.

        Raises:
            RunError: if one of them has ended, or takes longer than `PATIENCE`.
            KeyboardInterrupt: if one was stopped while it waited.
        """
        if self._store is None:
            return [value]
        try:
            self._say(value)
            values = [json.loads(self._heard(rank)) for rank in range(self.size)]
            self._say(None)
            for rank in range(self.size if self.rank == 0 else 0):  # it may hold the store
                self._heard(rank)
        except torch.distributed.DistError:
            raise RunError("process 0 of this run has ended, and says why") from None
        except KeyboardInterrupt:
            with suppress(RuntimeError):  # if the store has ended too
                self._store.set(STOPPED, "")
            raise
        return values

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """Fail in all processes if one fails: the first that does says why, the others just end.

        Raises:
            SystemExit: with status 2, if another has failed.
            KeyboardInterrupt: if another was stopped.
        """
        try:
            yield
        except Exception:
            if self.gather("failed").index("failed") == self.rank:
                raise
            raise SystemExit(2) from None
        except BaseException:
            with suppress(RuntimeError):  # if the store has ended too
                self._say("stopped")
                self._say(None)  # as `gather` does when it has read
            raise
        outcomes = self.gather(None)
        if "failed" in outcomes:
            raise SystemExit(2)
        if "stopped" in outcomes:
            raise KeyboardInterrupt

    def _say(self, value: Any) -> None:
        self._round += 1
        if self._store is not None:
            self._store.set(self._key(self.rank), json.dumps(value))

    def _heard(self, rank: int) -> bytes:
        key, end = self._key(rank), time.monotonic() + PATIENCE.total_seconds()
        while not self._store.check([key]):  # unlike `get`, this can be interrupted
            if self._store.check([STOPPED]):
                raise KeyboardInterrupt
            if time.monotonic() > end:
                raise RunError(f"process {rank} of {self.size} has not answered for {PATIENCE}")
            time.sleep(0.02)
        return self._store.get(key)

    def _key(self, rank: int) -> str:
        return f"workbench/{self._round}/{rank}"


def launcher() -> ClusterEnvironment | None:
    """The launcher that has started this process as one of several; None if there is none."""
    kind = next((kind for kind in LAUNCHERS if kind.detect()), None)
    try:
        found = kind() if kind else None
    except RuntimeError as error:  # Slurm's variables contradict one another
        raise ConfigError(str(error)) from error
    return found if found and found.world_size() > 1 else None


def alone() -> Processes:
    """This process by itself, whatever has started others beside it."""
    if folder_to_join() is None:
        rank_zero.rank_zero_only.rank = 0  # type: ignore[attr-defined]  # or Lightning's loggers would log nothing
    return Processes()


@cache
def meet() -> Processes:
    """The processes that the launcher of this one has started; without one, this alone.

    Raises:
        RunError: if not all of them come.
    """
    found = launcher()
    if found is None:
        return Processes()
    from torch.distributed.rendezvous import rendezvous  # which not every build of torch has

    rank, size = found.global_rank(), found.world_size()
    os.environ["MASTER_ADDR"] = found.main_address
    os.environ["MASTER_PORT"] = str(found.main_port)
    try:
        store, _, _ = next(rendezvous("env://", rank, size, timeout=MEETING))
    except torch.distributed.DistError as error:
        raise RunError(
            f"The {size} processes of this run have not met at {found.main_address}:"
            f"{found.main_port} within {MEETING}: start the same command on every node, with "
            f"torchrun or srun, at an address and port that all of them reach ({error})"
        ) from error
    return Processes(rank, size, store, found)


def check_alike(settings: Sequence[Mapping[str, Any]]) -> None:
    """Check that the processes of a run have been given the same settings.

    Args:
        settings: of each process, by dotted names.

    Raises:
        ConfigError: if they have not.
    """
    first = settings[0]
    for rank, other in enumerate(settings):
        differing = [n for n in {**first, **other} if first.get(n) != other.get(n)]
        if differing:
            told = [f"{n}: {first.get(n)} in the first, {other.get(n)}" for n in differing]
            raise ConfigError(
                f"Process {rank} of {len(settings)} was given other settings than the first; give "
                "all nodes the same command:\n  " + "\n  ".join(told)
            )


def check_shared(folder: Path) -> None:
    """Check that this node sees the run folder which the first process has made.

    Raises:
        RunError: if it does not.
    """
    end = time.monotonic() + SEEN_WITHIN.total_seconds()
    while not (folder / "checkpoints").is_dir():
        if time.monotonic() > end:
            raise RunError(
                f"{platform.node()} does not see {folder}, which the first process has made: "
                "put log_dir=... on a file system that all nodes share"
            )
        time.sleep(0.1)


@contextmanager
def ending_silently(*, joined: bool) -> Iterator[None]:
    """In ranks above 0, leave it to rank 0 to say that the run was stopped.

    Args:
        joined: whether Lightning has started this process.

    Raises:
        SystemExit: with status 130, or 0 in a process that Lightning has started: it kills rank 0
            at once, whatever that has still to write, if one of those ends otherwise.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(0 if joined else 130) from None


@contextmanager
def others_join(folder: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Let the processes that Lightning starts run this one job, in its folder.

    Lightning starts them with this process's own command line, which in a sweep is the whole
    sweep; so that is replaced by this job's. Its process group is destroyed for the next job.
    """
    arguments, environment = sys.argv[1:], dict(os.environ)
    sys.argv[1:] = list(overrides)
    os.environ[FOLDER] = str(folder)
    try:
        yield
    finally:
        sys.argv[1:] = arguments
        os.environ.clear()
        os.environ.update(environment)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
