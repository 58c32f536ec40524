"""Reconstruction alone: the autoencoder without a rate."""

from dataclasses import dataclass
from typing import ClassVar

from musigma.objectives.objective import Draw, Loss, check_samples, common_terms


@dataclass(frozen=True)
class Reconstruction:
    """Minimises the distortion D; the rate, where there is one, is reported and not weighed.

    Args:
        samples: K, the draws of z for each image.
    """

    samples: int = 1
    needs_rate: ClassVar[bool] = False
    uses_prior: ClassVar[bool] = False
    monitor: ClassVar[str] = "loss"

    def __post_init__(self) -> None:
        check_samples(self.samples)

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D, averaged over the batch."""
        terms = common_terms(draw)
        # With nothing to hold it to the prior the ELBO says nothing of the model.
        terms.pop("elbo", None)
        return Loss(terms["distortion"].mean(), terms, {})
