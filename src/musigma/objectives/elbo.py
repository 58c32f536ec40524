"""The evidence lower bound, with a weight on the rate."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from musigma.objectives.objective import Draw, Loss, common_terms, monitor_of
from musigma.objectives.schedules import Schedule, as_schedule
from workbench.ranges import CHECKED, Count, Weight


@dataclass(frozen=True, config=CHECKED)
class ELBO:
    """Minimises D + β·R; at β = 1 that is −ELBO.

    VAE: Kingma and Welling 2014, equation 3. β-VAE: Higgins et al. 2017, equation 4. The
    reported `elbo` is −(D + R) whatever β is.

    Args:
        beta: β, the weight of the rate, or a schedule of it.
        samples: K, the draws of z for each image.

    Raises:
        ValueError: if `beta` is negative or `samples` not positive.
    """

    beta: Weight | Schedule = 1.0
    samples: Count = 1
    needs_rate: ClassVar[bool] = True
    uses_prior: ClassVar[bool] = True

    @property
    def monitor(self) -> str:
        """`target` where β changes."""
        return monitor_of(as_schedule(self.beta))

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D + β·R, averaged over the batch."""
        schedule = as_schedule(self.beta)
        beta = schedule(step)
        terms = common_terms(draw)
        loss = (terms["distortion"] + beta * terms["rate"]).mean()
        if self.monitor == "target":
            terms["target"] = terms["distortion"] + schedule.end * terms["rate"]
        return Loss(loss, terms, {"beta": beta})
