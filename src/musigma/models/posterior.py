"""Posteriors q(z|x), and the heads that predict them."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PosteriorKind = Literal["normal", "point"]
STD_FLOOR = 1e-6


class NormalPosterior(NamedTuple):
    """A diagonal Gaussian N(mu, std²); `mu` and `std` are `[B, d]`."""

    mu: Tensor
    std: Tensor

    @property
    def has_density(self) -> bool:
        """True: log q(z|x) and the rate are defined."""
        return True

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        """`mu + std * noise`, differentiable in both (Kingma and Welling 2014, section 2.4).

        `noise` is standard normal, `[B, d]` or `[K, B, d]`; by default one new draw, `[B, d]`.
        """
        return self.mu + self.std * (torch.randn_like(self.mu) if noise is None else noise)


class PointPosterior(NamedTuple):
    """All mass on `mu`, `[B, d]`: the deterministic autoencoder's code. `std` is 0."""

    mu: Tensor
    std: Tensor

    @property
    def has_density(self) -> bool:
        """False: a point has neither density nor rate."""
        return False

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        """`mu`, once for each draw that `noise` would have been for."""
        return self.mu if noise is None else self.mu.expand_as(noise)


Posterior = NormalPosterior | PointPosterior


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, raised to float32 where mixed precision made it shorter."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class NormalHead(nn.Module):
    """Features `[B, F]` → N(mu, std²), with `std = softplus(raw) + 1e-6`."""

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.mu = nn.Linear(features, latent_dim)
        self.raw_std = nn.Linear(features, latent_dim)

    def forward(self, features: Tensor) -> NormalPosterior:
        """In float32 at least, whatever the precision of the features."""
        mu, raw_std = at_least_float32(self.mu(features)), at_least_float32(self.raw_std(features))
        return NormalPosterior(mu, F.softplus(raw_std) + STD_FLOOR)


class PointHead(nn.Module):
    """Features `[B, F]` → a point `mu`."""

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.mu = nn.Linear(features, latent_dim)

    def forward(self, features: Tensor) -> PointPosterior:
        """In float32 at least, whatever the precision of the features."""
        mu = at_least_float32(self.mu(features))
        return PointPosterior(mu, torch.zeros_like(mu))


HEADS: dict[PosteriorKind, type[NormalHead] | type[PointHead]] = {
    "normal": NormalHead,
    "point": PointHead,
}
