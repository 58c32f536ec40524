"""The Laplace likelihood: L1 as a density."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from musigma.objectives.likelihoods.likelihood import Likelihood, sum_over_pixels
from workbench.ranges import Positive, checked


class Laplace(Likelihood):
    """Independent Laplace pixels around the decoder's output, with one scale b for all.

    log p(x|z) = Σ_pixels −|x − x̂| / b − log 2b: the negative of the summed L1 error over b, less
    784 · log 2b nats for 28 × 28 pixels (543.43 at b = 1).

    Args:
        scale: b, in units of the pixels; the initial value if it is learned.
        scale_is: `fixed`, or `learned` as a parameter.
    """

    pixels = ("real", "unit")
    is_density = True

    @checked
    def __init__(
        self, scale: Positive = 1.0, scale_is: Literal["fixed", "learned"] = "fixed"
    ) -> None:
        super().__init__()
        learned = scale_is == "learned"
        log_scale = torch.tensor(math.log(scale))
        if learned:
            self.log_scale: Tensor = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)
        self.constant = math.log(2) if learned else math.log(2 * scale)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        distance = sum_over_pixels((output - x).abs())
        return -distance / self.log_scale.exp() - x[0].numel() * (self.log_scale + math.log(2))

    def log_prob_of_pairs(self, x: Tensor, output: Tensor) -> Tensor:
        distance = torch.cdist(output.flatten(1), x.flatten(1), p=1)
        return -distance / self.log_scale.exp() - x[0].numel() * (self.log_scale + math.log(2))

    def mean(self, output: Tensor) -> Tensor:
        """The location, which is both mean and median."""
        return output

    def sample(self, output: Tensor) -> Tensor:
        """The location plus Laplace noise of scale b."""
        return torch.distributions.Laplace(output, self.log_scale.exp()).sample()
