"""The posterior of a chain of stochastic layers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from musigma.models.posteriors.normal import NormalPosterior
from musigma.models.posteriors.posterior import EstimatedMoments, with_detached_weights

Layer = Callable[[Tensor], NormalPosterior]
"""Codes of one stochastic layer → a diagonal Gaussian over the codes of the next layer."""


class HierarchicalPosterior(EstimatedMoments):
    """q(z₁|x) q(z₂|z₁) …, over the concatenated codes z₁, z₂, ….

    The moments of z₁ are exact; those of z₂ and above are estimated, when first read, from draws
    of the layer below with fixed noise.

    Args:
        first: q(z₁|x), `[B, d₁]`.
        layers: z₁ → q(z₂|z₁) and so on.
        sizes: d₁, d₂, …
        fixed: the fixed noise, `[S, d]`.
    """

    def __init__(
        self, first: NormalPosterior, layers: Sequence[Layer], sizes: tuple[int, ...], fixed: Tensor
    ) -> None:
        super().__init__(first, fixed)
        self._layers, self._sizes = layers, sizes

    def conditionals(self, z: Tensor) -> list[NormalPosterior]:
        """The distributions q(z₁|x), q(z₂|z₁), … at codes `[..., B, d]`."""
        *below, _ = z.split(self._sizes, -1)
        return [self._start, *(layer(z_l) for layer, z_l in zip(self._layers, below, strict=True))]

    def _moments_of(self, z: Tensor) -> tuple[Tensor, Tensor]:
        first, *above = self.conditionals(z)
        mu = torch.cat([first.mu, *(q.mu.mean(0) for q in above)], -1)
        # The law of total variance.
        variances = (q.std.square().mean(0) + q.mu.var(0, correction=0) for q in above)
        return mu, torch.cat([first.std.square(), *variances], -1).sqrt()

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        mu = self._start.mu
        if noise is None:
            noise = torch.randn(len(mu), sum(self._sizes), dtype=mu.dtype, device=mu.device)
        first, *above = noise.split(self._sizes, -1)
        codes = [self._start.rsample(first)]
        for layer, layer_noise in zip(self._layers, above, strict=True):
            codes.append(layer(codes[-1]).rsample(layer_noise))
        return torch.cat(codes, -1)

    def log_prob(self, z: Tensor) -> Tensor:
        parts = zip(self.conditionals(z), z.split(self._sizes, -1), strict=True)
        return torch.stack([q.log_prob(part) for q, part in parts]).sum(0)

    def log_prob_at(self, noise: Tensor) -> Tensor:
        return torch.stack(self.log_probs_at(noise, self.rsample(noise))).sum(0)

    def log_probs_at(self, noise: Tensor, z: Tensor) -> list[Tensor]:
        """Log q(z₁|x), log q(z₂|z₁), … of z = `rsample(noise)`, `[..., B]` each, in nats."""
        parts = zip(self.conditionals(z), noise.split(self._sizes, -1), strict=True)
        return [q.log_prob_at(part) for q, part in parts]

    def detach(self) -> "HierarchicalPosterior":
        layers = [*map(with_detached_weights, self._layers)]
        return HierarchicalPosterior(self._start.detach(), layers, self._sizes, self._fixed)
