"""Codes on a sphere: a von Mises-Fisher posterior, and a prior that is uniform."""

import math
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.special import log_ndtr

from musigma.models import LatentVariableModel
from musigma.models.posteriors import Head
from musigma.models.posteriors.posterior import DensityPosterior
from musigma.models.precision import at_least_float32
from musigma.models.priors import Prior
from musigma.objectives import Draw
from musigma.seeding import normal_noise

SPHERE = "points of the unit sphere"
LOG_AREA = math.log(4 * math.pi)


@dataclass(frozen=True, eq=False)
class VonMisesFisher(DensityPosterior):
    """κ exp(κ mᵀz) / (4π sinh κ) per unit of area of S² (Davidson et al. 2018).

    Args:
        mode: m, `[B, 3]`.
        kappa: κ, `[B, 1]`.
    """

    mode: Tensor
    kappa: Tensor

    @property
    def mu(self) -> Tensor:
        """The mean, which lies within the sphere; what is decoded of it is the mode."""
        return self.mean_length() * self.mode

    @property
    def std(self) -> Tensor:
        a, k = self.mean_length(), self.kappa
        return (a / k + (1 - a * a - 3 * a / k) * self.mode.square()).clamp(min=0).sqrt()

    def mean_length(self) -> Tensor:
        """E mᵀz, `[B, 1]`."""
        return 1 / self.kappa.tanh() - 1 / self.kappa

    def log_scale(self) -> Tensor:
        """Log κ / sinh κ, `[B, 1]`."""
        k = self.kappa
        return k.log() - k - torch.log1p(-torch.exp(-2 * k)) + math.log(2)

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        """With mᵀz by its quantile function, and the rest uniform on a circle."""
        noise = torch.randn_like(self.mode) if noise is None else noise
        first, others = noise[..., :1], noise[..., 1:]
        log_u = torch.logaddexp(log_ndtr(first), log_ndtr(-first) - 2 * self.kappa)
        w = 1 + log_u / self.kappa
        z = torch.cat([w, (1 - w * w).clamp(min=1e-10).sqrt() * F.normalize(others, dim=-1)], -1)
        # The reflection that takes the first axis to m.
        pole = F.one_hot(torch.zeros_like(self.mode[:, 0], dtype=torch.long), 3)
        across = F.normalize(pole - self.mode, dim=-1)
        return z - 2 * (z * across).sum(-1, keepdim=True) * across

    def log_prob(self, z: Tensor) -> Tensor:
        along = (z * self.mode).sum(-1, keepdim=True)
        return (self.kappa * along + self.log_scale()).squeeze(-1) - LOG_AREA

    def rate_to_uniform(self) -> Tensor:
        """KL to the uniform distribution, `[B]`, in nats."""
        return (self.kappa * self.mean_length() + self.log_scale()).squeeze(-1)

    def detach(self) -> Self:
        return type(self)(self.mode.detach(), self.kappa.detach())


class VonMisesFisherHead(Head):
    """Features → a von Mises-Fisher distribution on the sphere in three dimensions."""

    code_space = SPHERE

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__(latent_dim)
        if latent_dim != 3:
            raise ValueError(f"latent_dim={latent_dim}: a code on a sphere has three numbers")
        self.mode, self.raw_kappa = nn.Linear(features, 3), nn.Linear(features, 1)

    def forward(self, features: Tensor) -> VonMisesFisher:
        kappa = F.softplus(at_least_float32(self.raw_kappa(features))) + 0.1
        return VonMisesFisher(self.nearest(at_least_float32(self.mode(features))), kappa)

    def nearest(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=-1)


class UniformSphere(Prior):
    """1 / 4π per unit of area of S²."""

    code_space = SPHERE

    def __init__(self, model: LatentVariableModel) -> None:
        super().__init__()

    def log_prob(self, z: Tensor) -> Tensor:
        return z.new_full(z.shape[:-1], -LOG_AREA)

    def sample(self, count: int, *, seed: int) -> Tensor:
        return F.normalize(normal_noise(count, 3, seed=seed), dim=-1)

    def rate(self, draw: Draw) -> Tensor:
        q = draw.posterior
        return q.rate_to_uniform() if isinstance(q, VonMisesFisher) else super().rate(draw)
