"""Controlled capacity: a rate that is told how large to be."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from musigma.objectives.objective import Draw, Loss, common_terms, monitor_of
from musigma.objectives.schedules import Schedule, as_schedule
from workbench.ranges import CHECKED, Count, Weight


@dataclass(frozen=True, config=CHECKED)
class Capacity:
    """Minimises D + γ·|R − C|, with R averaged over the batch (Burgess et al. 2018, equation 8).

    Args:
        capacity: C, in nats per image, or a schedule of it.
        gamma: γ, the weight of the distance.
        samples: K, the draws of z for each image.

    Raises:
        ValueError: if `capacity` or `gamma` is negative, or `samples` not positive.
    """

    capacity: Weight | Schedule = 10.0
    gamma: Weight = 10.0
    samples: Count = 1
    needs_rate: ClassVar[bool] = True
    uses_prior: ClassVar[bool] = True

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
