"""Gaussian pixels, of which the decoder gives the scale too."""

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal

from musigma.objectives.likelihoods import Likelihood
from musigma.objectives.likelihoods.likelihood import sum_over_pixels
from musigma.shapes import ImageShape


class TwoNumbers(Likelihood):
    """N(x; m(z), s(z)²) with s ≥ 0.1: the decoder gives two numbers a pixel."""

    pixels = ("real", "unit")

    def output_shape(self, image_shape: ImageShape) -> ImageShape:
        channels, height, width = image_shape
        return 2 * channels, height, width

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        return sum_over_pixels(self._density(output).log_prob(x))

    def mean(self, output: Tensor) -> Tensor:
        return output.chunk(2, -3)[0]

    def sample(self, output: Tensor) -> Tensor:
        return self._density(output).sample()

    def _density(self, output: Tensor) -> Normal:
        m, raw = output.chunk(2, -3)
        return Normal(m, F.softplus(raw) + 0.1, validate_args=False)
