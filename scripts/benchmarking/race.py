"""Run pipelines in turns of one epoch, each in a process of its own."""

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

import musigma  # noqa: F401  hands over its project, in each process
from workbench.console import set_up_logging


@dataclass
class Epoch:
    """The cost of an epoch.

    Args:
        seconds: wall time from the start of the epoch to the start of the next.
        cpu: CPU seconds of all threads of the process, which depend less on other load.
        images: the number of images trained on.
        memory: the process's peak so far, without its imports, in MiB: of the GPU if there is one,
            else of the process, with its workers if data are streamed.
        parts: seconds spent in parts of the epoch, by name.
    """

    seconds: float
    cpu: float
    images: int
    memory: float
    parts: dict[str, float]


class Pace:
    """Lets a pipeline wait for its turns, and reports its epochs.

    Args:
        pipe: the connection to the process that gives the turns.
    """

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.parts: dict[str, float] = {}
        imports = _peak_memory()
        self.measure: Callable[[], float] = lambda: _peak_memory() - imports
        self._start: tuple[float, float] | None = None

    def next_epoch(self, images: int) -> None:
        """Report the epoch that has ended, on that many images, and wait for the next turn."""
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
"""Trains without end, and calls `Pace.next_epoch` before each epoch."""


class Spread(NamedTuple):
    """The smallest, the median and the largest value of several turns."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The spread of one or more values."""
        ordered = sorted(values)
        return cls(ordered[0], median(ordered), ordered[-1])


@dataclass
class Row:
    """The epochs of a pipeline in all of its turns."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def seconds(self) -> Spread:
        """Wall time per epoch."""
        return Spread.of(epoch.seconds for epoch in self.epochs)

    @property
    def cpu(self) -> Spread:
        """CPU seconds per epoch."""
        return Spread.of(epoch.cpu for epoch in self.epochs)

    @property
    def images_per_second(self) -> Spread:
        """Images per second of wall time."""
        return Spread.of(epoch.images / epoch.seconds for epoch in self.epochs)

    def ratios(self, base: "Row") -> Spread:
        """Wall times as ratios to another pipeline's, turn by turn.

        On a shared machine the speed changes from minute to minute, and hardly within a turn.
        """
        turns = zip(self.epochs, base.epochs, strict=True)
        return Spread.of(epoch.seconds / other.seconds for epoch, other in turns)

    @property
    def memory(self) -> float:
        """Peak memory in MiB."""
        return max(epoch.memory for epoch in self.epochs)

    @property
    def parts(self) -> dict[str, float]:
        """Median seconds per epoch of each part."""
        names = {name for epoch in self.epochs for name in epoch.parts}
        return {
            name: median(epoch.parts.get(name, 0.0) for epoch in self.epochs)
            for name in sorted(names)
        }


def race(pipelines: Mapping[Key, Pipeline], rounds: int) -> dict[Key, Row]:
    """Run pipelines in turns, so that other load on the machine affects all of them.

    The first turn of each is a warm-up. Pipelines sleep until their turn.

    Args:
        pipelines: the pipelines by name; they are pickled.
        rounds: the number of turns after the warm-up.
    """
    context = multiprocessing.get_context("spawn")
    rows = {name: Row() for name in pipelines}
    pipes, processes = {}, []
    folder = tempfile.TemporaryDirectory()  # the processes are killed, and clean up nothing
    try:
        for name, pipeline in pipelines.items():
            pipes[name], other_end = context.Pipe()
            processes.append(context.Process(target=_run, args=(pipeline, other_end, folder.name)))
            processes[-1].start()
            other_end.close()
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
    """Run a pipeline in this process, without output, with temporary files in `folder`."""
    tempfile.tempdir = folder
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    set_up_logging(first_process=False)
    multiprocessing.set_start_method(None, force=True)  # workers start as those of a script do
    pipeline(Pace(pipe))


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _peak_memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
