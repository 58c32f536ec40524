"""The hierarchical VAE: a chain of stochastic layers."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from musigma.models.autoencoder import Autoencoder
from musigma.models.network import Activation, Network, activation_layer
from musigma.models.posteriors.normal import NormalHead, NormalPosterior
from musigma.models.posteriors.posterior import (
    DensityPosterior,
    fixed_noise,
    with_detached_weights,
)
from musigma.models.priors import Prior
from musigma.objectives.divergences import log_standard_normal
from musigma.objectives.draw import Draw
from musigma.objectives.likelihoods import Likelihood
from musigma.seeding import normal_noise
from musigma.shapes import ImageShape
from musigma.words import NATS
from workbench.meaning import Meaning
from workbench.ranges import Count, checked

Layer = Callable[[Tensor], NormalPosterior]
"""Codes of one stochastic layer → a diagonal Gaussian over the codes of the next layer."""


class HierarchicalVAE(Autoencoder):
    """q(z₁|x) q(z₂|z₁) … and p(x|z₁) p(z₁|z₂) … p(z_L), all diagonal Gaussians, p(z_L) = N(0, I).

    Burda, Grosse and Salakhutdinov 2016, section 3 and Table 1 with L = 2. A code concatenates z₁,
    z₂, …, and `decode` uses only z₁; `rate_1`, `rate_2`, … are the rates of the layers.

    Args:
        network: builds the encoder trunk below z₁ and the decoder from z₁.
        likelihood: p(x|z₁), parametrised by the decoder's output.
        latent_dims: the sizes of z₁, z₂, …, at least two of them.
        sizes_between: widths of the hidden layers between two stochastic layers, up and down.
        activation: the activation of those hidden layers, by its name in `torch.nn`.
        center_output: if true, training starts with the decoder's output at the mean image.
        image_shape: channels, height and width.

    Raises:
        ValueError: if encoder or decoder do not have the output shapes that `Network` asks for.
    """

    fixed: Tensor

    @checked
    def __init__(
        self,
        network: Network,
        likelihood: Likelihood,
        *,
        latent_dims: Annotated[Sequence[Count], Field(min_length=2)] = (100, 50),
        sizes_between: Sequence[Count] = (100, 100),
        activation: Activation = "Tanh",
        center_output: bool = False,
        image_shape: ImageShape = (1, 28, 28),
    ) -> None:
        super().__init__(
            network,
            likelihood,
            latent_dim=latent_dims[0],
            center_output=center_output,
            image_shape=image_shape,
        )
        self._sizes = tuple(latent_dims)
        self.latent_dim = self.noise_dim = sum(latent_dims)

        def layers(sizes: Sequence[int]) -> nn.ModuleList:
            pairs = itertools.pairwise(sizes)
            return nn.ModuleList(_layer(*pair, sizes_between, activation) for pair in pairs)

        names = [f"rate_{n}" for n, _ in enumerate(latent_dims, 1)]
        self.meanings = dict.fromkeys(names, Meaning(NATS, better="neither", places=2))
        self.upwards = layers(self._sizes)
        self.prior = HierarchicalPrior(self._sizes, layers(self._sizes[::-1]))
        self.register_buffer("fixed", fixed_noise(self.noise_dim), persistent=False)

    @property
    def latent_dims(self) -> tuple[int, ...]:
        return self._sizes

    def in_words(self) -> str:
        sizes = " + ".join(map(str, self._sizes))
        return f"d = {sizes}, {type(self.likelihood).__name__} likelihood"

    def encode(self, x: Tensor) -> "HierarchicalPosterior":
        first = self.head(self.encoder(x))
        return HierarchicalPosterior(first, [*self.upwards], self._sizes, self.fixed)

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z[..., : self._sizes[0]])

    def draw(self, x: Tensor, noise: Tensor, dataset_size: int | None = None) -> Draw:
        draw = super().draw(x, noise, dataset_size)
        with torch.no_grad():
            rates = cast(HierarchicalPrior, self.prior).rates(draw)
        return replace(draw, reported={f"rate_{n}": rate for n, rate in enumerate(rates, 1)})


class HierarchicalPosterior(DensityPosterior):
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
        self._first, self._layers, self._sizes, self._fixed = first, layers, sizes, fixed

    def conditionals(self, z: Tensor) -> list[NormalPosterior]:
        """The distributions q(z₁|x), q(z₂|z₁), … at codes `[..., B, d]`."""
        *below, _ = z.split(self._sizes, -1)
        return [self._first, *(layer(z_l) for layer, z_l in zip(self._layers, below, strict=True))]

    @property
    def mu(self) -> Tensor:
        return self._moments[0]

    @property
    def std(self) -> Tensor:
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        z = self.rsample(self._fixed.unsqueeze(1).expand(-1, self._first.mu.shape[0], -1))
        _, *above = self.conditionals(z)
        mu = torch.cat([self._first.mu, *(q.mu.mean(0) for q in above)], -1)
        # The law of total variance.
        variances = (q.std.square().mean(0) + q.mu.var(0, correction=0) for q in above)
        return mu, torch.cat([self._first.std.square(), *variances], -1).sqrt()

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        mu = self._first.mu
        if noise is None:
            noise = torch.randn(len(mu), sum(self._sizes), dtype=mu.dtype, device=mu.device)
        first, *above = noise.split(self._sizes, -1)
        codes = [self._first.rsample(first)]
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
        return HierarchicalPosterior(self._first.detach(), layers, self._sizes, self._fixed)


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


def _layer(
    inputs: int, outputs: int, hidden_sizes: Sequence[int], activation: Activation
) -> nn.Sequential:
    """A `Layer`: hidden layers and a `NormalHead`."""
    parts: list[nn.Module] = []
    for size in hidden_sizes:
        parts += [nn.Linear(inputs, size), activation_layer(activation)]
        inputs = size
    return nn.Sequential(*parts, NormalHead(inputs, outputs))
