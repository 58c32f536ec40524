"""Pipelines that take turns, an epoch each, in processes of their own."""

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from statistics import median
from typing import NamedTuple, TypeVar

import torch

import musigma  # noqa: F401  its project is handed over in each process
from workbench.console import set_up_logging


@dataclass
class Epoch:
    """What an epoch took.

    Args:
        seconds: from its beginning to that of the next.
        cpu: seconds of all threads of the process, which other load moves less.
        images: trained on.
        memory: the process's peak so far over what its imports took, in MiB; of a GPU's memory
            where there is one. Of streamed data that of its workers too.
        parts: seconds that went into named parts of it.
    """

    seconds: float
    cpu: float
    images: int
    memory: float
    parts: dict[str, float]


class Pace:
    """Where a pipeline waits for its turn.

    Args:
        pipe: to the process that gives the turns.
    """

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.parts: dict[str, float] = {}
        imports = _peak_memory()
        self.measure: Callable[[], float] = lambda: _peak_memory() - imports
        self._start: tuple[float, float] | None = None

    def next_epoch(self, images: int) -> None:
        """Report the epoch that has ended, with its images, and wait until the next may begin."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if self._start is not None:
            seconds, cpu = (now - then for now, then in zip(_clocks(), self._start, strict=True))
            self.pipe.send(Epoch(seconds, cpu, images, self.measure(), dict(self.parts)))
        self.pipe.recv()
        self.parts.clear()
        self._start = _clocks()


Key = TypeVar("Key", bound=Hashable)
Pipeline = Callable[[Pace], None]
"""Trains for ever, and calls `Pace.next_epoch` before each epoch."""


class Spread(NamedTuple):
    """Of several turns."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The spread of values, of which there is at least one."""
        known = sorted(values)
        return cls(known[0], median(known), known[-1])


@dataclass
class Row:
    """What a pipeline did in all its turns."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def seconds(self) -> Spread:
        """Of an epoch, by the clock."""
        return Spread.of(epoch.seconds for epoch in self.epochs)

    @property
    def cpu(self) -> Spread:
        """Of an epoch, seconds of all threads."""
        return Spread.of(epoch.cpu for epoch in self.epochs)

    @property
    def images_per_second(self) -> Spread:
        """Of an epoch."""
        return Spread.of(epoch.images / epoch.seconds for epoch in self.epochs)

    def ratios(self, base: "Row") -> Spread:
        """To another's epochs, turn by turn.

        A machine that others use changes its pace from minute to minute; in a turn it is the same.
        """
        turns = zip(self.epochs, base.epochs, strict=True)
        return Spread.of(ours.seconds / theirs.seconds for ours, theirs in turns)

    @property
    def memory(self) -> float:
        """The peak, in MiB."""
        return max(epoch.memory for epoch in self.epochs)

    @property
    def parts(self) -> dict[str, float]:
        """Seconds an epoch, medians by name."""
        names = {name for epoch in self.epochs for name in epoch.parts}
        return {
            name: median(epoch.parts.get(name, 0.0) for epoch in self.epochs)
            for name in sorted(names)
        }


def race(pipelines: Mapping[Key, Pipeline], rounds: int) -> dict[Key, Row]:
    """Let pipelines take turns, so that whatever else the machine does meets all of them.

    The first turn of each, which warms it up, does not count. One that is not at its turn sleeps.

    Args:
        pipelines: by name; they are pickled.
        rounds: turns that count.
    """
    context = multiprocessing.get_context("spawn")
    rows = {name: Row() for name in pipelines}
    pipes, processes = {}, []
    folder = tempfile.TemporaryDirectory()  # of processes that never end by themselves
    try:
        for name, pipeline in pipelines.items():
            pipes[name], theirs = context.Pipe()
            processes.append(context.Process(target=_run, args=(pipeline, theirs, folder.name)))
            processes[-1].start()
            theirs.close()
        for turn in range(rounds + 1):
            for name, row in rows.items():
                pipes[name].send("go")
                epoch = pipes[name].recv()
                if turn > 0:
                    row.epochs.append(epoch)
    finally:
        for process in processes:
            process.kill()
            process.join()
        folder.cleanup()
    return rows


def _run(pipeline: Pipeline, pipe: Connection, folder: str) -> None:
    tempfile.tempdir = folder
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    set_up_logging(first_process=False)
    multiprocessing.set_start_method(None, force=True)  # a script's, for workers of a loader
    pipeline(Pace(pipe))


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _peak_memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
