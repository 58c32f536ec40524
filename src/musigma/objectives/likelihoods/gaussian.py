"""The Gaussian likelihood: squared error as a density."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from musigma.objectives.likelihoods.likelihood import Likelihood, sum_over_pixels
from workbench.ranges import Positive, checked

MOMENTUM = 0.1
"""The weight of a batch in the running variance."""


class Gaussian(Likelihood):
    """Independent Gaussian pixels around the decoder's output, with one scale σ for all.

    log p(x|z) = Σ_pixels −(x − x̂)² / 2σ² − log σ − ½ log 2π (720.45 nats at σ = 1 for 784).

    Args:
        scale: σ, in units of the pixels; the initial value if it is not fixed.
        scale_is: `fixed`; `learned` as a parameter; or `optimal`: in training the root mean squared
            error of the batch, the σ of highest likelihood (σ-VAE: Rybkin, Daniilidis and Levine
            2021, section 4.2), in evaluation the running value of training, so that the density
            does not depend on the images that it is evaluated on.
    """

    pixels = ("real", "unit")
    is_density = True

    @checked
    def __init__(
        self, scale: Positive = 1.0, scale_is: Literal["fixed", "learned", "optimal"] = "fixed"
    ) -> None:
        super().__init__()
        self.scale_is = scale_is
        log_scale = torch.tensor(math.log(scale))
        if scale_is == "learned":
            self.log_scale: Tensor = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=scale_is == "optimal")
        self.constant = 0.5 * math.log(2 * math.pi)
        if scale_is == "fixed":
            self.constant += math.log(scale)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        squares = (output - x).square()
        log_scale = self.log_scale
        if self.scale_is == "optimal" and self.training:
            # At this σ the gradient of D is 0; that of a weighted mean would couple images.
            with torch.no_grad():
                log_scale = 0.5 * squares.mean().log()
                variance = (2 * self.log_scale).exp().lerp(squares.mean(), MOMENTUM)
                self.log_scale.copy_(0.5 * variance.log())
        per_pixel = log_scale + 0.5 * math.log(2 * math.pi)
        return -0.5 * sum_over_pixels(squares) / (2 * log_scale).exp() - x[0].numel() * per_pixel

    def log_prob_of_pairs(self, x: Tensor, output: Tensor) -> Tensor:
        """Log p(x_b|z_g), `[G, B]`, through |x − x̂|² = |x|² − 2 x·x̂ + |x̂|².

        Both are centred at the mean output: where outputs hardly differ, it is exact for any σ.
        """
        center = output.mean(0)
        x, output = (x - center).flatten(1), (output - center).flatten(1)
        products = output @ x.T
        squares = x.square().sum(1) - 2 * products + output.square().sum(1, keepdim=True)
        per_pixel = self.log_scale + 0.5 * math.log(2 * math.pi)
        return -0.5 * squares / (2 * self.log_scale).exp() - x.shape[1] * per_pixel

    def mean(self, output: Tensor) -> Tensor:
        return output

    def sample(self, output: Tensor) -> Tensor:
        """The decoder's output plus Gaussian noise of scale σ."""
        return torch.distributions.Normal(output, self.log_scale.exp()).sample()
