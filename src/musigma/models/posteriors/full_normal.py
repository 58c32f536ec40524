"""The Gaussian posterior with a full covariance."""

import math
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musigma.models.posteriors.head import Head
from musigma.models.posteriors.normal import STD_FLOOR
from musigma.models.posteriors.posterior import DensityPosterior
from musigma.models.precision import at_least_float32, full_precision
from musigma.objectives.divergences import log_standard_normal


@dataclass(frozen=True, eq=False)
class FullNormalPosterior(DensityPosterior):
    """N(mean, L Lᵀ).

    Args:
        mean: `[B, d]`.
        scale_tril: L, `[B, d, d]`, lower triangular with a positive diagonal.
    """

    mean: Tensor
    scale_tril: Tensor

    @property
    def mu(self) -> Tensor:
        """The mean, `[B, d]`."""
        return self.mean

    @property
    def std(self) -> Tensor:
        """The standard deviation of each dimension, `[B, d]`: the norms of the rows of L."""
        return self.scale_tril.norm(dim=-1)

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        """`mean + L noise`, differentiable in both."""
        noise = torch.randn_like(self.mean) if noise is None else noise
        with full_precision(noise.device):
            return self.mean + torch.einsum("bij,...bj->...bi", self.scale_tril, noise)

    def log_prob(self, z: Tensor) -> Tensor:
        rows = (z - self.mean).flatten(0, -3) if z.dim() > 2 else (z - self.mean).unsqueeze(0)
        noise = torch.linalg.solve_triangular(self.scale_tril, rows.permute(1, 2, 0), upper=False)
        return self.log_prob_at(noise.permute(2, 0, 1).reshape(*z.shape[:-2], *self.mean.shape))

    def log_prob_at(self, noise: Tensor) -> Tensor:
        """Log N(noise; 0, I) − log det L, accurate even where L is tiny against the mean."""
        return log_standard_normal(noise) - self._log_det()

    def rate_to_standard_normal(self) -> Tensor:
        """½ (|L|² + |mean|² − d) − log det L, `[B]`, in nats, with the Frobenius norm of L.

        KL(N(m, Σ) ‖ N(0, I)) with tr Σ = |L|² (Rasmussen and Williams 2006, equation A.23).
        """
        squares = self.scale_tril.square().sum((-2, -1)) + self.mean.square().sum(-1)
        return 0.5 * (squares - self.mean.shape[-1]) - self._log_det()

    def detach(self) -> Self:
        return type(self)(self.mean.detach(), self.scale_tril.detach())

    def _log_det(self) -> Tensor:
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class FullNormalHead(Head):
    """Features `[B, F]` → N(mu, L Lᵀ) with L = diag(s) (I + A / √d), s = `softplus(raw) + 1e-6`.

    A is strictly lower triangular and starts at 0, so that training starts at a diagonal Gaussian
    of standard deviations s. Dividing by √d keeps the noise of A's d (d − 1) / 2 entries small.
    """

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.mu = nn.Linear(features, latent_dim)
        self.raw_scale = nn.Linear(features, latent_dim * (latent_dim + 1) // 2)
        with torch.no_grad():
            self.raw_scale.weight[latent_dim:] = 0
            self.raw_scale.bias[latent_dim:] = 0

    def forward(self, features: Tensor) -> FullNormalPosterior:
        mu, raw = at_least_float32(self.mu(features)), at_least_float32(self.raw_scale(features))
        d = mu.shape[-1]
        scale = F.softplus(raw[..., :d]) + STD_FLOOR
        scale_tril = torch.diag_embed(scale)
        if d > 1:  # ONNX does not support empty indices
            row, column = torch.tril_indices(d, d, -1, device=mu.device)
            scale_tril[..., row, column] = scale[..., row] * raw[..., d:] / math.sqrt(d)
        return FullNormalPosterior(mu, scale_tril)
