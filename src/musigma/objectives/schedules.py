"""Weights that change over training, as functions of the optimizer step."""

from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from workbench.ranges import CHECKED, Count, Weight


@runtime_checkable
class Schedule(Protocol):
    """A weight as a function of the optimizer step."""

    @property
    def end(self) -> float:
        """The final weight."""

    def __call__(self, step: int) -> float:
        """The weight at optimizer step `step`, which counts from 0."""


@dataclass(frozen=True, config=CHECKED)
class Constant:
    """The same weight at every step."""

    end: Weight

    def __call__(self, step: int) -> float:
        return self.end


@dataclass(frozen=True, config=CHECKED)
class Linear:
    """From `start` to `end` in `steps` steps, then constant (Bowman et al. 2016, section 3.1)."""

    steps: Count
    start: Weight = 0.0
    end: Weight = 1.0

    def __call__(self, step: int) -> float:
        return self.start + (self.end - self.start) * min(step / self.steps, 1.0)


@dataclass(frozen=True, config=CHECKED)
class Cyclical:
    """`cycles` rises from `start` to `end` (Fu et al. 2019), then constant.

    Args:
        steps: the length of all cycles together.
        cycles: the number of cycles.
        ramp: the fraction of a cycle in which the weight rises; then it stays at `end`.
        start: the weight at the beginning of a cycle.
        end: the weight at the end of a cycle.
    """

    steps: Count
    cycles: Count = 4
    ramp: Annotated[float, Field(gt=0, le=1)] = 0.5
    start: Weight = 0.0
    end: Weight = 1.0

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.end
        phase = step * self.cycles / self.steps % 1.0
        return self.start + (self.end - self.start) * min(phase / self.ramp, 1.0)


def as_schedule(weight: "float | Schedule") -> Schedule:
    """A schedule, or a number as a constant schedule."""
    return Constant(float(weight)) if isinstance(weight, int | float) else weight


if TYPE_CHECKING:
    ScheduledWeight = Any
else:
    ScheduledWeight = Annotated[Weight | Schedule, AfterValidator(as_schedule)]
"""A weight, given as a number or a schedule; validation turns a number into a `Constant`."""
