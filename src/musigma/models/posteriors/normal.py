"""The diagonal Gaussian posterior."""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musigma.models.posteriors.head import Head
from musigma.models.precision import at_least_float32
from musigma.objectives.divergences import (
    kl_to_standard_normal,
    log_normal,
    log_normal_per_dimension,
    log_standard_normal,
)

STD_FLOOR = 1e-6


class NormalPosterior(NamedTuple):
    """A diagonal Gaussian N(mu, std²); `mu` and `std` are `[B, d]`."""

    mu: Tensor
    std: Tensor

    @classmethod
    def __init_subclass__(cls) -> None:
        """Refuse a subclass, because its rate and other closed forms would stay Gaussian."""
        raise TypeError(
            f"{cls.__name__} subclasses NormalPosterior, whose rate and log_prob_at are those of "
            "a diagonal Gaussian whatever rsample and log_prob are: subclass DensityPosterior"
        )

    @property
    def has_density(self) -> bool:
        """True: log q(z|x) and the rate are defined."""
        return True

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        """`mu + std * noise`, differentiable in both (Kingma and Welling 2014, section 2.4).

        `noise` is standard normal, `[B, d]` or `[K, B, d]`; by default one new draw, `[B, d]`.
        """
        return self.mu + self.std * (torch.randn_like(self.mu) if noise is None else noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log q(z|x), `[..., B, d]` → `[..., B]`, in nats."""
        return log_normal(z, self.mu, self.std)

    def log_prob_at(self, noise: Tensor) -> Tensor:
        """Log q(z|x) of `rsample(noise)`, accurate even where std is tiny against mu."""
        return log_standard_normal(noise) - self.std.log().sum(-1)

    def log_prob_per_dimension(self, z: Tensor) -> Tensor:
        """Log q(z_j|x), `[..., B, d]`, in nats."""
        return log_normal_per_dimension(z, self.mu, self.std)

    def rate_to_standard_normal(self) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)), `[B]`, in nats."""
        return self.rate_per_dimension_to_standard_normal().sum(-1)

    def rate_per_dimension_to_standard_normal(self) -> Tensor:
        """KL(q(z_j|x) ‖ N(0, 1)), `[B, d]`, in nats."""
        return kl_to_standard_normal(self.mu, self.std)

    def detach(self) -> Self:
        """The same distribution, without a gradient."""
        return self._replace(mu=self.mu.detach(), std=self.std.detach())


class NormalHead(Head):
    """Features `[B, F]` → N(mu, std²), with `std = softplus(raw) + 1e-6`."""

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.mu = nn.Linear(features, latent_dim)
        self.raw_std = nn.Linear(features, latent_dim)

    def forward(self, features: Tensor) -> NormalPosterior:
        mu, raw_std = at_least_float32(self.mu(features)), at_least_float32(self.raw_std(features))
        return NormalPosterior(mu, F.softplus(raw_std) + STD_FLOOR)
