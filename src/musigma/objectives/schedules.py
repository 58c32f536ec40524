"""Weights that change over training, as functions of the optimizer step."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Schedule(Protocol):
    """A weight for each optimizer step, and the one that it ends with."""

    @property
    def end(self) -> float:
        """The last weight."""

    def __call__(self, step: int) -> float:
        """The weight at optimizer step `step`, which counts from 0."""


@dataclass(frozen=True)
class Constant:
    """The same weight always."""

    end: float

    def __call__(self, step: int) -> float:
        """`end`."""
        return self.end


@dataclass(frozen=True)
class Linear:
    """From `start` to `end` in `steps` steps, then constant (Bowman et al. 2016, section 3.1).

    Raises:
        ValueError: if `steps` is not positive or a weight is negative.
    """

    steps: int
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        _check(self.start, self.end, self.steps)

    def __call__(self, step: int) -> float:
        """The weight at `step`."""
        return self.start + (self.end - self.start) * min(step / self.steps, 1.0)


@dataclass(frozen=True)
class Cyclical:
    """`cycles` times from `start` to `end` (Fu et al. 2019), then constant.

    Args:
        steps: of all cycles together.
        cycles: how many there are.
        ramp: the part of a cycle that the rise takes; the rest stays at `end`.
        start: the weight at the beginning of a cycle.
        end: the weight at its end.

    Raises:
        ValueError: if a count is not positive, a weight negative, or `ramp` not in (0, 1].
    """

    steps: int
    cycles: int = 4
    ramp: float = 0.5
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        _check(self.start, self.end, min(self.steps, self.cycles))
        if not 0 < self.ramp <= 1:
            raise ValueError(f"ramp must be in (0, 1], got {self.ramp}")

    def __call__(self, step: int) -> float:
        """The weight at `step`."""
        if step >= self.steps:
            return self.end
        place = step * self.cycles / self.steps % 1.0
        return self.start + (self.end - self.start) * min(place / self.ramp, 1.0)


def as_schedule(weight: "float | Schedule") -> Schedule:
    """A number as a schedule that stays there.

    Raises:
        ValueError: if it is negative or not a number.
    """
    if isinstance(weight, int | float):
        if not weight >= 0:
            raise ValueError(f"a weight must not be negative, got {weight}")
        return Constant(float(weight))
    return weight


def _check(start: float, end: float, count: int) -> None:
    if count < 1:
        raise ValueError(f"steps and cycles must be at least 1, got {count}")
    if not (start >= 0 and end >= 0):
        raise ValueError(f"weights must not be negative, got start={start}, end={end}")
