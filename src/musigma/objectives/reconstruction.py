"""Reconstruction alone: the autoencoder without a rate."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from workbench.ranges import CHECKED, Count


@dataclass(frozen=True, config=CHECKED)
class Reconstruction(Objective):
    """Minimises the distortion D; the rate, where there is one, is reported and not weighed.

    Args:
        samples: K, the draws of z for each image.
    """

    samples: Count = 1
    needs_rate: ClassVar[bool] = False
    uses_prior: ClassVar[bool] = False

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D, averaged over the batch."""
        terms = common_terms(draw)
        # Without a prior to hold the codes to, the ELBO means nothing.
        terms.pop("elbo", None)
        return Loss(terms["distortion"].mean(), terms, {})
