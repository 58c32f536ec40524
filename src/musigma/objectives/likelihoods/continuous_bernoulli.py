"""The continuous Bernoulli likelihood: a normalised density of grey levels in [0, 1]."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from musigma.objectives.likelihoods.likelihood import Likelihood, sum_over_pixels

NEAR_ZERO = 0.1
"""Below this logit, series replace 0 / 0; their first omitted term is below 1e-9."""


class ContinuousBernoulli(Likelihood):
    """Independent pixels in [0, 1] with density C(λ) λˣ (1 − λ)¹⁻ˣ; the output is λ's logit l.

    Loaiza-Ganem and Cunningham 2019. In terms of l the normaliser is C = l / tanh(l / 2), and the
    density is a truncated exponential, e^{l x} · l / (eˡ − 1).
    """

    pixels = ("unit",)
    is_density = True

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        return sum_over_pixels(x * output - F.softplus(output) + _log_normalizer(output))

    def log_prob_of_pairs(self, x: Tensor, output: Tensor) -> Tensor:
        x, output = x.flatten(1), output.flatten(1)
        # As for binary pixels: sums of terms of one sign, which do not cancel.
        cross_entropy = F.softplus(-output) @ x.T + F.softplus(output) @ (1 - x).T
        return _log_normalizer(output).sum(1, keepdim=True) - cross_entropy

    def mean(self, output: Tensor) -> Tensor:
        """1 / (1 − e⁻ˡ) − 1 / l, which is not λ."""
        small = output.abs() < NEAR_ZERO
        safe = torch.where(small, 1.0, output)
        # Beyond 80 the first term vanishes; without the clamp, expm1 overflows to a NaN gradient.
        exact = -1 / torch.expm1((-safe).clamp(max=80)) - 1 / safe
        return torch.where(small, 0.5 + output / 12 - output**3 / 720, exact)

    def sample(self, output: Tensor) -> Tensor:
        """log(1 − u + u·eˡ) / l for uniform u, the inverse of the distribution function."""
        u = torch.rand_like(output)
        small = output.abs() < 1e-3
        safe = torch.where(small, 1.0, output)
        exact = torch.logaddexp((1 - u).log(), u.log() + safe) / safe
        return torch.where(small, u, exact).clamp(0, 1)

    def output_of(self, mean: Tensor) -> Tensor:
        """The logit whose mean is `mean`, by bisection between −20 and 20."""
        low, high = torch.full_like(mean, -20.0), torch.full_like(mean, 20.0)
        for _ in range(40):
            middle = (low + high) / 2
            below = self.mean(middle) < mean
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


def _log_normalizer(logit: Tensor) -> Tensor:
    """log(l / tanh(l / 2)), even in l; finite and differentiable at 0."""
    small = logit.abs() < NEAR_ZERO
    safe = torch.where(small, 1.0, logit).abs()
    exact = safe.log() - torch.tanh(safe / 2).log()
    square = torch.where(small, logit, 0.0).square()
    series = math.log(2) + square / 12 - 7 * square.square() / 1440
    return torch.where(small, series, exact)
