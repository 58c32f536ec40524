"""The base class of posteriors q(z|x) with a density, and helpers for its families."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from musigma.models.posteriors.normal import NormalPosterior
from musigma.objectives.draw import Posterior
from musigma.seeding import FIXED_SEED, normal_noise

PAIRS = 32
"""Antithetic pairs of draws from which moments without a closed form are estimated."""


class DensityPosterior(Posterior):
    """A posterior with a density, of any family.

    A subclass defines `mu`, `std`, `rsample`, `log_prob` and `detach`. The other methods default to
    dependent dimensions and a rate without a closed form.
    """

    has_density = True


class EstimatedMoments(DensityPosterior):
    """A posterior whose moments are estimated, when first read, from draws with fixed noise.

    Args:
        start: the normal distribution that draws begin with, of B images.
        fixed: the fixed noise, `[S, n]`.
    """

    def __init__(self, start: NormalPosterior, fixed: Tensor) -> None:
        self._start, self._fixed = start, fixed

    @property
    def mu(self) -> Tensor:
        return self._moments[0]

    @property
    def std(self) -> Tensor:
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        noise = self._fixed.unsqueeze(1).expand(-1, self._start.mu.shape[0], -1)
        return self._moments_of(self.rsample(noise))

    def _moments_of(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, `[B, d]` each, from draws `[S, B, d]`."""
        return z.mean(0), z.std(0, correction=0)


def fixed_noise(n: int) -> Tensor:
    """Constant noise `[S, n]`, with mean 0 and variance 1 exactly in each dimension.

    The draws are antithetic pairs; for n up to `PAIRS` the dimensions are also uncorrelated, so
    that moments of a linear function of the noise have no error.
    """
    with torch.device("cpu"):  # for the same numbers whatever the default device
        columns = normal_noise(PAIRS, n, seed=FIXED_SEED).double()
        columns = torch.linalg.qr(columns).Q if n <= PAIRS else F.normalize(columns, dim=0)
        half = (math.sqrt(PAIRS) * columns).float()
    return torch.cat([half, -half]).to(torch.get_default_device())


def with_detached_weights(module: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a module computes, without gradients of its weights."""
    if not isinstance(module, nn.Module):
        return module  # already the result of this function
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    return lambda *inputs: functional_call(module, weights, inputs)
