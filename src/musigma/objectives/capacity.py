"""Controlled capacity: the rate is pulled towards a target."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from musigma.objectives.schedules import Constant, ScheduledWeight
from workbench.ranges import CHECKED, Count, Weight


@dataclass(frozen=True, config=CHECKED)
class Capacity(Objective):
    """Minimises D + γ·|R − C|, with R averaged over the batch (Burgess et al. 2018, equation 8).

    Args:
        capacity: C, in nats per image, or a schedule of it.
        gamma: γ, the weight of |R − C|.
        samples: K, the draws of z for each image.
    """

    capacity: ScheduledWeight = Constant(10.0)
    gamma: Weight = 10.0
    samples: Count = 1
    depends_on_batch_size: ClassVar[bool] = True

    @property
    def uses_prior(self) -> bool:
        """True if the rate has a weight."""
        return self.gamma > 0

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D averaged over the batch, plus γ·|R − C|."""
        capacity = self.capacity(step)
        terms = common_terms(draw)
        rate = terms["rate"].mean()
        loss = terms["distortion"].mean() + self.gamma * (rate - capacity).abs()
        if self.monitor == "target":
            distance = (rate - self.capacity.end).abs()
            # Of the batch, not of single images, whose values would compare as if R had no error.
            target = terms["distortion"].mean() + self.gamma * distance
            terms["target"] = target.expand_as(terms["rate"])
        return Loss(loss, terms, {"capacity": capacity})
