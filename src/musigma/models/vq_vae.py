"""VQ-VAE: codes out of a learned code book."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from musigma.models.model import LatentVariableModel
from musigma.models.network import Network, check_decoder, features_of
from musigma.models.precision import at_least_float32
from musigma.models.priors import Prior
from musigma.objectives.draw import Draw
from musigma.objectives.likelihoods import Likelihood
from musigma.shapes import ImageShape
from workbench.errors import ConfigError
from workbench.ranges import Count, Weight, checked

BOOK = "entries of a code book"
SMOOTHING = 0.5
"""A constant added to the counts of codes before they become a fitted prior."""


class VQVAE(LatentVariableModel):
    """Each image is M entries of a code book of K vectors (van den Oord et al. 2017).

    A code `z` `[B, d]` is those entries one after the other, d = M · `code_size`. The encoder's
    vectors v are replaced by the nearest entries e, and gradients are passed on to them unchanged
    (section 3.1). Beside the objective ‖sg[v] − e‖² + β‖v − sg[e]‖² is minimised (equation 3),
    summed over the code. Every entry is as probable a priori, so the rate is M log K nats.

    Args:
        network: makes the encoder trunk and the decoder.
        likelihood: p(x|z).
        codes: M, the entries of an image.
        entries: K, the size of the code book.
        code_size: the size of an entry.
        commitment: β, the weight that holds the encoder to its entries.
        image_shape: channels, height and width.
    """

    fits_prior = True
    pays = ("code_book", "commitment")

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
        self.code_space = BOOK
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
        places = self.places(vectors)
        return ChosenCodes(vectors, self.book[places].flatten(1), places)

    def decode(self, z: Tensor) -> Tensor:
        output = at_least_float32(self.decoder(z.flatten(0, -2)))
        return output.unflatten(0, z.shape[:-1])

    def draw(self, x: Tensor, noise: Tensor, dataset_size: int | None = None) -> Draw:
        draw = super().draw(x, noise, dataset_size)
        q: Any = draw.posterior
        to_book = (q.vectors.detach() - q.entries).square().sum(1)
        to_encoder = (q.vectors - q.entries.detach()).square().sum(1)
        penalties = {"code_book": to_book, "commitment": self.commitment * to_encoder}
        return replace(draw, penalties=penalties)

    def nearest(self, z: Tensor) -> Tensor:
        return self.book[self.places(z.flatten(0, -2))].reshape(z.shape)

    def places(self, z: Tensor) -> Tensor:
        """The entries nearest to the vectors of codes, `[N, d]` → `[N, M]`."""
        vectors = z.detach().unflatten(1, (self.codes, self.code_size))
        return torch.cdist(vectors, self.book.detach()).argmin(2)

    def latent_metrics(self, mu: Tensor) -> dict[str, float]:
        """Perplexity of the code book, exp of its entropy in use, and the entries not in use."""
        counts = self.places(mu).flatten().bincount(minlength=self.entries).double()
        shares = counts / counts.sum()
        return {
            "perplexity": torch.special.entr(shares).sum().exp().item(),
            "unused_entries": int((counts == 0).sum()),
        }

    def fitted_prior(self, mu: Tensor) -> "CodeChain":
        """The chain that samples are drawn from, fitted to the codes `[N, d]` of images."""
        return CodeChain(self, self.places(mu.to(self.device)))


@dataclass(frozen=True)
class ChosenCodes:
    """A posterior with all its probability on one choice of entries.

    Args:
        vectors: the encoder's, `[B, d]`.
        entries: the nearest entries, `[B, d]`.
        places: theirs in the book, `[B, M]`.
    """

    vectors: Tensor
    entries: Tensor
    places: Tensor

    @property
    def mu(self) -> Tensor:
        """The chosen entries, whose gradient is passed on to the encoder's vectors."""
        return self.vectors + (self.entries - self.vectors).detach()

    @property
    def std(self) -> Tensor:
        """0."""
        return torch.zeros_like(self.entries)

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.mu, self.std))

    @property
    def has_density(self) -> bool:
        """True: a choice has a probability, which is 1."""
        return True

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        return self.mu if noise is None else self.mu.expand_as(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """0, the log of 1."""
        return z.new_zeros(z.shape[:-1])

    def log_prob_at(self, noise: Tensor) -> Tensor:
        return self.log_prob(noise)

    def log_prob_per_dimension(self, z: Tensor) -> Tensor:
        raise ConfigError("codes out of a book have no density by dimension: take objective elbo")

    def rate_to_standard_normal(self) -> None:
        """None."""

    def rate_per_dimension_to_standard_normal(self) -> None:
        """None."""

    def detach(self) -> Self:
        return replace(self, vectors=self.vectors.detach(), entries=self.entries.detach())


class UniformCodes(Prior):
    """Every entry with probability 1 / K at each of M places."""

    code_space = BOOK

    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple, so that it does not become a part

    def log_prob(self, z: Tensor) -> Tensor:
        """−M log K, for any entries."""
        (model,) = self._model
        return z.new_full(z.shape[:-1], -model.codes * math.log(model.entries))

    def sample(self, count: int, *, seed: int) -> Tensor:
        (model,) = self._model
        generator = torch.Generator().manual_seed(seed)
        places = torch.randint(model.entries, (count, model.codes), generator=generator)
        return model.book.detach().cpu()[places].flatten(1)


class CodeChain(UniformCodes):
    """Each entry by the one before it, with probabilities counted in the codes of images.

    The paper fits an autoregressive network to the codes (section 3.2); this is the least of those,
    a Markov chain with probabilities of its own at each place.

    Args:
        model: whose codes they are.
        places: of the entries of images, `[N, M]`.
    """

    def __init__(self, model: VQVAE, places: Tensor) -> None:
        super().__init__(model)
        size, places = model.entries, places.cpu()
        self.first = self._shares(places[:, 0].bincount(minlength=size))
        pairs = places[:, :-1] * size + places[:, 1:]
        counts = [pair.bincount(minlength=size**2).reshape(size, size) for pair in pairs.T]
        self.following = [self._shares(count) for count in counts]

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p of the entries that codes `[..., d]` are, in nats."""
        (model,) = self._model
        places = model.places(z.flatten(0, -2)).cpu()
        log_p = self.first[places[:, 0]].log()
        for i, shares in enumerate(self.following):
            log_p = log_p + shares[places[:, i], places[:, i + 1]].log()
        return log_p.to(z).reshape(z.shape[:-1])

    def sample(self, count: int, *, seed: int) -> Tensor:
        (model,) = self._model
        generator = torch.Generator().manual_seed(seed)
        places = [self.first.expand(count, -1).multinomial(1, generator=generator).squeeze(1)]
        for shares in self.following:
            places.append(shares[places[-1]].multinomial(1, generator=generator).squeeze(1))
        return model.book.detach().cpu()[torch.stack(places, 1)].flatten(1)

    @staticmethod
    def _shares(counts: Tensor) -> Tensor:
        smooth = counts.double() + SMOOTHING
        return smooth / smooth.sum(-1, keepdim=True)
