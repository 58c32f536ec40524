"""Controlled capacity: a rate that is told how large to be."""

from dataclasses import dataclass
from typing import ClassVar

from musigma.objectives.objective import Draw, Loss, check_samples, common_terms, monitor_of
from musigma.objectives.schedules import Schedule, as_schedule


@dataclass(frozen=True)
class Capacity:
    """Minimises D + γ·|R − C|, with R averaged over the batch (Burgess et al. 2018, equation 8).

    Args:
        capacity: C, in nats per image, or a schedule of it.
        gamma: γ, the weight of the distance.
        samples: K, the draws of z for each image.

    Raises:
        ValueError: if `capacity` or `gamma` is negative, or `samples` not positive.
    """

    capacity: float | Schedule = 10.0
    gamma: float = 10.0
    samples: int = 1
    needs_rate: ClassVar[bool] = True
    uses_prior: ClassVar[bool] = True

    def __post_init__(self) -> None:
        as_schedule(self.capacity)
        if not self.gamma >= 0:
            raise ValueError(f"gamma must not be negative, got {self.gamma}")
        check_samples(self.samples)

    @property
    def monitor(self) -> str:
        """`target` where C changes."""
        return monitor_of(as_schedule(self.capacity))

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D averaged over the batch, plus γ·|R − C|."""
        schedule = as_schedule(self.capacity)
        capacity = schedule(step)
        terms = common_terms(draw)
        rate = terms["rate"].mean()
        loss = terms["distortion"].mean() + self.gamma * (rate - capacity).abs()
        if self.monitor == "target":
            distance = (rate - schedule.end).abs()
            terms["target"] = terms["distortion"] + self.gamma * distance
        return Loss(loss, terms, {"capacity": capacity})
