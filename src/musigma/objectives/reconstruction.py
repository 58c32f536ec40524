"""Reconstruction alone: the autoencoder without a rate."""

from dataclasses import dataclass
from typing import ClassVar

from musigma.objectives.objective import Draw, Loss, distortion_and_rate


@dataclass(frozen=True)
class Reconstruction:
    """Minimises the distortion D; the rate, where there is one, is reported and not weighed.

    Args:
        samples: K, the draws of z for each image.
    """

    samples: int = 1
    needs_rate: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D, averaged over the batch."""
        terms = distortion_and_rate(draw)
        return Loss(terms["distortion"].mean(), terms)
