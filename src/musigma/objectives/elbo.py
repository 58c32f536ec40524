"""The evidence lower bound, with a weight on the rate."""

from pydantic.dataclasses import dataclass

from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from musigma.objectives.schedules import Constant, ScheduledWeight
from workbench.ranges import CHECKED, Count


@dataclass(frozen=True, config=CHECKED)
class ELBO(Objective):
    """Minimises D + β·R; at β = 1 that is −ELBO.

    VAE: Kingma and Welling 2014, equation 3. β-VAE: Higgins et al. 2017, equation 4. The
    reported `elbo` is −(D + R) whatever β is.

    Args:
        beta: β, the weight of the rate, or a schedule of it.
        samples: K, the draws of z for each image.
    """

    beta: ScheduledWeight = Constant(1.0)
    samples: Count = 1

    @property
    def uses_prior(self) -> bool:
        """True if the final weight of the rate is not 0."""
        return self.beta.end > 0

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D + β·R, averaged over the batch."""
        beta = self.beta(step)
        terms = common_terms(draw)
        loss = (terms["distortion"] + beta * terms["rate"]).mean()
        if self.monitor == "target":
            terms["target"] = terms["distortion"] + self.beta.end * terms["rate"]
        return Loss(loss, terms, {"beta": beta})
