"""The learning curves of a run, read from TensorBoard's event files."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import (
    DEFAULT_SIZE_GUIDANCE,
    SCALARS,
    EventAccumulator,
)
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

Curves = dict[str, tuple[list[int], list[float]]]
"""Name → steps and values."""


def read_curves(folder: Path) -> Curves:
    """All scalars that a run logged to TensorBoard."""
    # All scalars, and as little as possible of everything else.
    sizes = {**dict.fromkeys(DEFAULT_SIZE_GUIDANCE, 1), SCALARS: 0}
    events = EventAccumulator(str(folder), size_guidance=sizes)
    try:
        events._generator = _EventsInOrder(folder)
        events.Reload()
    except (OSError, ValueError):  # a folder named like an event file, or a name that is not text
        return {}
    return {
        tag: ([e.step for e in events.Scalars(tag)], [e.value for e in events.Scalars(tag)])
        for tag in events.Tags()[SCALARS]
    }


class _EventsInOrder:
    """The events of a folder's files, in the order of their first events.

    TensorBoard orders files by name: by the second, and then `.10` before `.9`.
    """

    def __init__(self, folder: Path) -> None:
        self.files = sorted(filter(Path.is_file, folder.glob("*tfevents*")), key=_start_time)

    def Load(self) -> Iterator[Any]:  # noqa: N802 - TensorBoard's name
        for file in self.files:
            yield from LegacyEventFileLoader(str(file)).Load()


def _start_time(file: Path) -> float:
    """The time of a file's first event; infinity if it has none."""
    first: Any = next(LegacyEventFileLoader(str(file)).Load(), None)
    return math.inf if first is None else first.wall_time
