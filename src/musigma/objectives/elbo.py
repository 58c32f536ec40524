"""The evidence lower bound, with a weight on the rate."""

from dataclasses import dataclass
from typing import ClassVar

from musigma.objectives.objective import Draw, Loss, distortion_and_rate


@dataclass(frozen=True)
class ELBO:
    """Minimises D + β·R; at β = 1 that is −ELBO.

    VAE: Kingma and Welling 2014, equation 3. β-VAE: Higgins et al. 2017, equation 4. The
    reported `elbo` is −(D + R) whatever β is.

    Args:
        beta: β, the weight of the rate.
        samples: K, the draws of z for each image.

    Raises:
        ValueError: if `beta` is negative or `samples` not positive.
    """

    beta: float = 1.0
    samples: int = 1
    needs_rate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise ValueError(f"beta must not be negative, got {self.beta}")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D + β·R, averaged over the batch."""
        terms = distortion_and_rate(draw)
        terms["elbo"] = -(terms["distortion"] + terms["rate"])
        loss = (terms["distortion"] + self.beta * terms["rate"]).mean()
        return Loss(loss, terms, {"beta": self.beta})
