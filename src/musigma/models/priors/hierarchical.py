"""The prior of a chain of stochastic layers."""

from typing import cast

import torch
from torch import Tensor, nn

from musigma.models.posteriors.hierarchical import HierarchicalPosterior
from musigma.models.priors.prior import Prior
from musigma.objectives.divergences import log_standard_normal
from musigma.objectives.draw import Draw
from musigma.seeding import normal_noise


class HierarchicalPrior(Prior):
    """p(z₁|z₂) … p(z_L) with p(z_L) = N(0, I), over the concatenated codes z₁, z₂, ….

    Args:
        sizes: d₁, d₂, …
        downwards: z_L → p(z_{L−1}|z_L), and so on down to p(z₁|z₂).
    """

    def __init__(self, sizes: tuple[int, ...], downwards: nn.ModuleList) -> None:
        super().__init__()
        self.sizes, self.downwards = sizes, downwards

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.stack(self.log_probs(z)).sum(0)

    def log_probs(self, z: Tensor) -> list[Tensor]:
        """Log p(z₁|z₂), …, log p(z_L) of codes `[..., d]`, `[...]` each, in nats."""
        codes = z.split(self.sizes, -1)
        pairs = zip(reversed(self.downwards), codes[1:], codes[:-1], strict=True)
        below = [layer(above).log_prob(z_l) for layer, above, z_l in pairs]
        return [*below, log_standard_normal(codes[-1])]

    def sample(self, count: int, *, seed: int) -> Tensor:
        """Ancestral sampling: z_L, then every layer below given the one above it."""
        noise = normal_noise(count, sum(self.sizes), seed=seed).to(next(self.parameters()))
        *below, top = noise.split(self.sizes, -1)
        codes = [top]
        with torch.no_grad():
            for layer, layer_noise in zip(self.downwards, reversed(below), strict=True):
                codes.insert(0, layer(codes[0]).rsample(layer_noise))
        return torch.cat(codes, -1).float().cpu()

    def rate(self, draw: Draw) -> Tensor:
        """The sum of the layers' rates, `[B]`, in nats."""
        return torch.stack(self.rates(draw)).sum(0)

    def rates(self, draw: Draw) -> list[Tensor]:
        """E log q(z_l|z_{l−1}) − log p(z_l|z_{l+1}) of every layer, `[B]` each, in nats.

        Estimated from the draws, except that of the top layer, KL(q(z_L|z_{L−1}) ‖ N(0, I)) in
        closed form at the draws of z_{L−1}. The rate of a lower layer may be negative.
        """
        q = cast(HierarchicalPosterior, draw.posterior)
        log_q, log_p = q.log_probs_at(draw.noise, draw.z), self.log_probs(draw.z)
        *below, _ = (a - b for a, b in zip(log_q, log_p, strict=True))
        top = q.conditionals(draw.z)[-1].rate_to_standard_normal()
        return [rate.mean(0) for rate in (*below, top)]
