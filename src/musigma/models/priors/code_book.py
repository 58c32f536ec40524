"""Priors over codes that are entries of a code book."""

import math
from typing import Protocol

import torch
from torch import Tensor

from musigma.models.priors.prior import Prior

CODE_SPACE = "entries of a code book"
SMOOTHING = 0.5
"""The pseudo-count of every entry in a fitted prior."""


class CodeBookModel(Protocol):
    """A model whose codes are M entries of a book of K."""

    codes: int
    """M."""

    entries: int
    """K."""

    @property
    def book(self) -> Tensor:
        """The entries, `[K, d / M]`."""

    def indices(self, z: Tensor) -> Tensor:
        """The indices of the entries nearest to codes, `[N, d]` → `[N, M]`."""


class UniformCodes(Prior):
    """A uniform prior: probability K⁻ᴹ for every choice of M entries."""

    code_space = CODE_SPACE

    def __init__(self, model: CodeBookModel) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple, so that it does not become a submodule

    def log_prob(self, z: Tensor) -> Tensor:
        """−M log K for every code, `[..., d]` → `[...]`, in nats."""
        (model,) = self._model
        return z.new_full(z.shape[:-1], -model.codes * math.log(model.entries))

    def sample(self, count: int, *, seed: int) -> Tensor:
        (model,) = self._model
        generator = torch.Generator().manual_seed(seed)
        indices = torch.randint(model.entries, (count, model.codes), generator=generator)
        return model.book.detach().cpu()[indices].flatten(1)


class CodeChain(UniformCodes):
    """A Markov chain over the M entries of a code, its transitions counted in codes of images.

    The simplest of the autoregressive priors that the paper fits to the codes (section 3.3), with
    transition probabilities of its own at each position.

    Args:
        model: the model whose codes these are.
        indices: the entries of the codes of N images, `[N, M]`.
    """

    def __init__(self, model: CodeBookModel, indices: Tensor) -> None:
        super().__init__(model)
        size, indices = model.entries, indices.cpu()
        self.first = _smoothed_frequencies(indices[:, 0].bincount(minlength=size))
        pairs = indices[:, :-1] * size + indices[:, 1:]
        counts = [pair.bincount(minlength=size**2).reshape(size, size) for pair in pairs.T]
        self.transitions = [_smoothed_frequencies(count) for count in counts]

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p of the entries of codes, `[..., d]` → `[...]`, in nats."""
        (model,) = self._model
        indices = model.indices(z.flatten(0, -2)).cpu()
        log_p = self.first[indices[:, 0]].log()
        for i, transition in enumerate(self.transitions):
            log_p = log_p + transition[indices[:, i], indices[:, i + 1]].log()
        return log_p.to(z).reshape(z.shape[:-1])

    def sample(self, count: int, *, seed: int) -> Tensor:
        (model,) = self._model
        generator = torch.Generator().manual_seed(seed)
        indices = [self.first.expand(count, -1).multinomial(1, generator=generator).squeeze(1)]
        for transition in self.transitions:
            indices.append(transition[indices[-1]].multinomial(1, generator=generator).squeeze(1))
        return model.book.detach().cpu()[torch.stack(indices, 1)].flatten(1)


def _smoothed_frequencies(counts: Tensor) -> Tensor:
    smooth = counts.double() + SMOOTHING
    return smooth / smooth.sum(-1, keepdim=True)
