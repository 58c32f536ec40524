"""The point posterior, of the deterministic autoencoder."""

from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from musigma.models.posteriors.head import Head
from musigma.models.precision import at_least_float32
from workbench.errors import ConfigError


class PointPosterior(NamedTuple):
    """All probability on `mu`, `[B, d]`; `std` is 0."""

    mu: Tensor
    std: Tensor

    @property
    def has_density(self) -> bool:
        """False: a point has neither density nor rate."""
        return False

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        """`mu`, repeated to the shape of `noise`."""
        return self.mu if noise is None else self.mu.expand_as(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Raise a ConfigError: a point has no density."""
        raise ConfigError("a point posterior has no density and no rate")

    def log_prob_at(self, noise: Tensor) -> Tensor:
        return self.log_prob(noise)

    def log_prob_per_dimension(self, z: Tensor) -> Tensor:
        return self.log_prob(z)

    def rate_to_standard_normal(self) -> None:
        """None."""

    def rate_per_dimension_to_standard_normal(self) -> None:
        """None."""

    def detach(self) -> Self:
        """The same point, without a gradient."""
        return self._replace(mu=self.mu.detach())


class PointHead(Head):
    """Features `[B, F]` → a point `mu`."""

    has_density: ClassVar[bool] = False

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.mu = nn.Linear(features, latent_dim)

    def forward(self, features: Tensor) -> PointPosterior:
        mu = at_least_float32(self.mu(features))
        return PointPosterior(mu, torch.zeros_like(mu))
