"""The distortion alone, without a rate."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from workbench.ranges import CHECKED, Count


@dataclass(frozen=True, config=CHECKED)
class Reconstruction(Objective):
    """Minimises the distortion D; the rate, if there is one, is only reported.

    Args:
        samples: K, the draws of z for each image.
    """

    samples: Count = 1
    needs_rate: ClassVar[bool] = False
    uses_prior: ClassVar[bool] = False

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D, averaged over the batch."""
        terms = common_terms(draw)
        terms.pop("elbo", None)  # meaningless, as nothing pulls the codes towards the prior
        return Loss(terms["distortion"].mean(), terms, {})
