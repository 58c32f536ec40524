"""The Bernoulli likelihood: binary cross-entropy as a probability."""

import torch
import torch.nn.functional as F
from torch import Tensor

from musigma.objectives.likelihoods.likelihood import Likelihood, Pixels, sum_over_pixels
from workbench.ranges import checked

CLIP = 1e-3


class Bernoulli(Likelihood):
    """Independent binary pixels; the decoder's output is their logits.

    log p(x|z) = Σ_pixels x·l − log(1 + eˡ).

    Args:
        grey_levels: accept grey levels in [0, 1] too, as most tutorials do. The cross-entropy is
            then not a likelihood: on MNIST's test images it cannot fall below 45.5 nats, and it
            does not compare with any likelihood.
    """

    @checked
    def __init__(self, grey_levels: bool = False) -> None:
        super().__init__()
        self.is_density = self.is_probability = not grey_levels
        self.pixels: tuple[Pixels, ...] = ("binary", "unit") if grey_levels else ("binary",)  # type: ignore[misc]

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        return sum_over_pixels(x * output - F.softplus(output))

    def log_prob_of_pairs(self, x: Tensor, output: Tensor) -> Tensor:
        x, output = x.flatten(1), output.flatten(1)
        # Sums of terms of one sign, which for large logits do not cancel as x·l and log(1 + eˡ) do.
        return -(F.softplus(-output) @ x.T + F.softplus(output) @ (1 - x).T)

    def mean(self, output: Tensor) -> Tensor:
        """The probability of a 1."""
        return output.sigmoid()

    def sample(self, output: Tensor) -> Tensor:
        return torch.bernoulli(output.sigmoid())

    def output_of(self, mean: Tensor) -> Tensor:
        """The logits of `mean`, clipped as in Burda, Grosse and Salakhutdinov 2016."""
        return mean.logit(CLIP)
