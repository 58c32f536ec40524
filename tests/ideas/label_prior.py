"""A prior that depends on the label, which nothing else is told."""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from musigma.models import Autoencoder, Network
from musigma.models.model import Images
from musigma.models.priors import Prior
from musigma.objectives.divergences import log_normal
from musigma.objectives.likelihoods import Likelihood
from musigma.seeding import normal_noise
from workbench.errors import DataError
from workbench.ranges import Count, checked


class NormalPrior(Prior):
    """N(m, diag s²), with m and s `[d]`, or `[B, d]` of the codes of B images."""

    def __init__(self, m: Tensor, s: Tensor) -> None:
        super().__init__()
        self.m, self.s = m, s

    def log_prob(self, z: Tensor) -> Tensor:
        return log_normal(z, self.m, self.s)

    def sample(self, count: int, *, seed: int) -> Tensor:
        m, s = self.m.detach().cpu(), self.s.detach().cpu()
        return m + s * normal_noise(count, len(m), seed=seed)


class LabelPriorVAE(Autoencoder):
    """q(z|x), p(x|z) and p(z|y) = N(m_y, diag s_y²), so that the ELBO bounds log p(x|y)."""

    evidence: ClassVar[str] = "p(x|y)"
    conditioned_on: ClassVar[frozenset[str]] = frozenset({"y"})

    @checked
    def __init__(
        self, network: Network, likelihood: Likelihood, *, classes: Count = 10, **settings: Any
    ) -> None:
        super().__init__(network, likelihood, **settings)
        self.means = nn.Parameter(torch.randn(classes, self.latent_dim))
        self.log_stds = nn.Parameter(torch.zeros(classes, self.latent_dim))

    def given(self, images: Images) -> Self:
        return self._of(images.y)

    def groups(self, images: Images) -> Iterator[tuple[Tensor, Self]]:
        for label in images.y.unique():
            yield (images.y == label).nonzero().squeeze(1), self._of(label)

    def views(self) -> dict[str, Self]:
        return {f"class {y}": self._of(y) for y in range(len(self.means))}

    def check(self, y: Tensor) -> None:
        if ((y < 0) | (y >= len(self.means))).any():
            raise DataError(f"each image needs a label from 0 to {len(self.means) - 1}")

    def _of(self, y: Any) -> Self:
        return self.conditioned(prior=NormalPrior(self.means[y], self.log_stds[y].exp()))
