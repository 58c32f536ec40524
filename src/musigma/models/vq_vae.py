"""VQ-VAE: codes from a learned code book."""

from dataclasses import dataclass, replace
from typing import Self, cast

import torch
from torch import Tensor, nn

from musigma.models.model import LatentVariableModel
from musigma.models.network import Network, check_decoder, features_of
from musigma.models.posteriors.posterior import DensityPosterior
from musigma.models.precision import at_least_float32
from musigma.models.priors.code_book import CODE_SPACE, CodeChain, UniformCodes
from musigma.objectives.draw import Draw
from musigma.objectives.likelihoods import Likelihood
from musigma.shapes import ImageShape
from workbench.errors import ConfigError
from workbench.ranges import Count, Weight, checked


class VQVAE(LatentVariableModel):
    """Encodes an image as M entries of a code book of K vectors (van den Oord et al. 2017).

    A code `z` `[B, d]` concatenates its entries, d = M · `code_size`. The encoder's vectors v are
    replaced by the nearest entries e, and v gets the gradient of e unchanged (section 3.2). The
    model adds ‖sg[v] − e‖² + β‖v − sg[e]‖², summed over the code, to the objective (equation 3; sg
    stops the gradient). The prior over entries is uniform, so the rate is M log K nats.

    Args:
        network: builds the encoder trunk and the decoder.
        likelihood: p(x|z).
        codes: M, the number of entries in a code.
        entries: K, the size of the code book.
        code_size: the size of an entry.
        commitment: β, the weight of the encoder's distance from its entries.
        image_shape: channels, height and width.
    """

    fits_prior = True
    penalty_names = ("code_book", "commitment")

    @checked
    def __init__(
        self,
        network: Network,
        likelihood: Likelihood,
        *,
        codes: Count = 16,
        entries: Count = 64,
        code_size: Count = 8,
        commitment: Weight = 0.25,
        image_shape: ImageShape = (1, 28, 28),
    ) -> None:
        super().__init__()
        self.codes, self.entries, self.code_size = codes, entries, code_size
        self.commitment, self.image_shape = commitment, image_shape
        self.latent_dim = self.noise_dim = codes * code_size
        self.has_density, self.is_deterministic = True, True
        self.code_space = CODE_SPACE
        self.encoder = network.encoder(image_shape)
        self.head = nn.Linear(features_of(self.encoder, image_shape), self.latent_dim)
        output_shape = likelihood.output_shape(image_shape)
        self.decoder = network.decoder(self.latent_dim, output_shape)
        check_decoder(self.decoder, self.latent_dim, output_shape)
        self.book = nn.Parameter(torch.randn(entries, code_size))
        self.likelihood = likelihood
        self.prior = UniformCodes(self)

    def in_words(self) -> str:
        likelihood = f"{type(self.likelihood).__name__} likelihood"
        return f"{self.codes} codes of a book of {self.entries}, {likelihood}"

    def encode(self, x: Tensor) -> "ChosenCodes":
        vectors = at_least_float32(self.head(self.encoder(x)))
        indices = self.indices(vectors)
        return ChosenCodes(vectors, self.book[indices].flatten(1), indices)

    def decode(self, z: Tensor) -> Tensor:
        output = at_least_float32(self.decoder(z.flatten(0, -2)))
        return output.unflatten(0, z.shape[:-1])

    def draw(self, x: Tensor, noise: Tensor, dataset_size: int | None = None) -> Draw:
        draw = super().draw(x, noise, dataset_size)
        q = cast(ChosenCodes, draw.posterior)
        to_book = (q.vectors.detach() - q.entries).square().sum(1)
        to_encoder = (q.vectors - q.entries.detach()).square().sum(1)
        penalties = {"code_book": to_book, "commitment": self.commitment * to_encoder}
        return replace(draw, penalties=penalties)

    def nearest(self, z: Tensor) -> Tensor:
        return self.book[self.indices(z.flatten(0, -2))].reshape(z.shape)

    def indices(self, z: Tensor) -> Tensor:
        """The indices of the entries nearest to codes, `[N, d]` → `[N, M]`."""
        vectors = z.detach().unflatten(1, (self.codes, self.code_size))
        return torch.cdist(vectors, self.book.detach()).argmin(2)

    def latent_metrics(self, mu: Tensor) -> dict[str, float]:
        """The perplexity of the entries in use, exp of their entropy, and the unused entries."""
        counts = self.indices(mu).flatten().bincount(minlength=self.entries).double()
        frequencies = counts / counts.sum()
        return {
            "perplexity": torch.special.entr(frequencies).sum().exp().item(),
            "unused_entries": int((counts == 0).sum()),
        }

    def fitted_prior(self, mu: Tensor) -> CodeChain:
        """The Markov chain to sample from, fitted to codes `[N, d]` of images."""
        return CodeChain(self, self.indices(mu.to(self.device)))


@dataclass(frozen=True)
class ChosenCodes(DensityPosterior):
    """A posterior with all its probability, which is 1, on one choice of entries.

    Args:
        vectors: the encoder's vectors, `[B, d]`.
        entries: the nearest entries, `[B, d]`.
        indices: their indices in the code book, `[B, M]`.
    """

    vectors: Tensor
    entries: Tensor
    indices: Tensor

    @property
    def mu(self) -> Tensor:
        """The chosen entries, with a straight-through gradient to the encoder's vectors."""
        return self.vectors + (self.entries - self.vectors).detach()

    @property
    def std(self) -> Tensor:
        """Zeros, `[B, d]`."""
        return torch.zeros_like(self.entries)

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        return self.mu if noise is None else self.mu.expand_as(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Zeros, the log of 1, `[..., B, d]` → `[..., B]`."""
        return z.new_zeros(z.shape[:-1])

    def log_prob_per_dimension(self, z: Tensor) -> Tensor:
        raise ConfigError(
            "codes from a code book have no density for each dimension: use objective=elbo"
        )

    def detach(self) -> Self:
        return replace(self, vectors=self.vectors.detach(), entries=self.entries.detach())
