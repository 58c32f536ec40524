"""A learned mixture of Gaussians as the prior."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musigma.models.model import LatentVariableModel
from musigma.models.posteriors.normal import STD_FLOOR
from musigma.models.priors.prior import Prior
from musigma.objectives.divergences import log_normal
from workbench.ranges import Count, Positive, checked

WIDTH = 7.0
"""Standard deviations of a component that a box must hold; the mass beyond is below 10⁻¹¹."""


class Mixture(Prior):
    """Σ_k w_k N(z; m_k, diag s_k²), whose weights, means and scales are trained with the model.

    Training starts with equal weights and standard deviations of 1.

    Args:
        model: the model whose codes these are.
        components: K.
        spread: the standard deviation of the initial means around 0.
    """

    @checked
    def __init__(
        self, model: LatentVariableModel, *, components: Count = 10, spread: Positive = 1.0
    ) -> None:
        super().__init__()
        shape = (components, model.latent_dim)
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(spread * torch.randn(shape))
        self.raw_stds = nn.Parameter(torch.ones(shape).expm1().log())

    @property
    def weights(self) -> Tensor:
        """w, `[K]`."""
        return self.logits.softmax(0)

    @property
    def stds(self) -> Tensor:
        """s, `[K, d]`: `softplus(raw) + 1e-6`, as in posteriors."""
        return F.softplus(self.raw_stds) + STD_FLOOR

    def log_prob(self, z: Tensor) -> Tensor:
        log_components = log_normal(z.unsqueeze(-2), self.means, self.stds)
        return (self.logits.log_softmax(0) + log_components).logsumexp(-1)

    @torch.no_grad()
    def sample(self, count: int, *, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        weights, means, stds = self._on_the_cpu()
        chosen = weights.multinomial(count, replacement=True, generator=generator)
        noise = torch.randn(count, means.shape[1], generator=generator)
        return means[chosen] + stds[chosen] * noise

    def mean(self) -> Tensor:
        weights, means, _ = self._on_the_cpu()
        return weights @ means

    def std(self) -> Tensor:
        """The standard deviation of each dimension, `[d]`, by the law of total variance."""
        weights, means, stds = self._on_the_cpu()
        return (weights @ (stds.square() + (means - weights @ means).square())).sqrt()

    def half_width(self) -> float:
        """The half-width of a box that holds all components and a margin of an eighth of it."""
        _, means, stds = self._on_the_cpu()
        return 8 / 7 * (means.abs() + WIDTH * stds).max().item()

    def _on_the_cpu(self) -> tuple[Tensor, Tensor, Tensor]:
        weights, means, stds = (
            value.detach().cpu().float() for value in (self.weights, self.means, self.stds)
        )
        return weights, means, stds
