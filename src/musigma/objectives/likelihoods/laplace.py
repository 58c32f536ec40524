"""The Laplace likelihood: L1 as a density."""

import math

import torch
from torch import Tensor

from musigma.objectives.likelihoods.likelihood import Likelihood, sum_over_pixels


class Laplace(Likelihood):
    """Independent Laplace pixels around the decoder's output, with one fixed scale b.

    log p(x|z) = Σ_pixels −|x − x̂| / b − log 2b, so its negative is the L1 loss, summed over
    pixels, divided by b, plus 784 · log 2b nats for 28 × 28 pixels (543.43 at b = 1).

    Args:
        scale: b, in units of the pixels.

    Raises:
        ValueError: if `scale` is not positive.
    """

    pixels = ("real", "unit")

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.scale = scale
        self.constant = math.log(2 * scale)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Log p(x|z), `[..., B]`, in nats per image."""
        distance = sum_over_pixels((x - output).abs())
        return -distance / self.scale - x[0].numel() * self.constant

    def mean(self, output: Tensor) -> Tensor:
        """The location, which is both mean and median."""
        return output

    def sample(self, output: Tensor) -> Tensor:
        """The location plus Laplace noise of scale b."""
        return torch.distributions.Laplace(output, self.scale).sample()

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"scale={self.scale}"
