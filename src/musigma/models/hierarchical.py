"""The hierarchical VAE: a chain of stochastic layers."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from musigma.models.autoencoder import Autoencoder
from musigma.models.network import Activation, Network, hidden_layers
from musigma.models.posteriors.hierarchical import HierarchicalPosterior
from musigma.models.posteriors.normal import NormalHead
from musigma.models.posteriors.posterior import fixed_noise
from musigma.models.priors.hierarchical import HierarchicalPrior
from musigma.objectives.draw import Draw
from musigma.objectives.likelihoods import Likelihood
from musigma.shapes import ImageShape
from musigma.words import NATS
from workbench.meaning import Meaning
from workbench.ranges import Count, checked


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
            """Codes of one stochastic layer → a diagonal Gaussian over the codes of the next."""
            return nn.ModuleList(
                nn.Sequential(
                    *hidden_layers(inputs, sizes_between, activation),
                    NormalHead((inputs, *sizes_between)[-1], outputs),
                )
                for inputs, outputs in itertools.pairwise(sizes)
            )

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

    def encode(self, x: Tensor) -> HierarchicalPosterior:
        first = self.head(self.encoder(x))
        return HierarchicalPosterior(first, [*self.upwards], self._sizes, self.fixed)

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z[..., : self._sizes[0]])

    def draw(self, x: Tensor, noise: Tensor, dataset_size: int | None = None) -> Draw:
        draw = super().draw(x, noise, dataset_size)
        with torch.no_grad():
            rates = cast(HierarchicalPrior, self.prior).rates(draw)
        return replace(draw, reported={f"rate_{n}": rate for n, rate in enumerate(rates, 1)})
