"""The noise of evaluated images, a function of their places in the data set."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from musigma.data.batch import Batch, has_places
from musigma.seeding import FIXED_SEED, NoiseByPlace, derive_seed, normal_noise


class EvaluatedBatch(NamedTuple):
    """The place of a batch among those that are evaluated.

    Args:
        number: of the batch on this rank, from 0.
        ranks: how many processes share the images.
        rank: this one.
        loader: that gave it.
    """

    number: int
    ranks: int
    rank: int
    loader: Any


class EvaluationNoise:
    """Noise by the places of images; in a stream without places, by the batch's own."""

    def __init__(self) -> None:
        self._by_place = NoiseByPlace()
        self._seen = 0

    def __call__(self, batch: Batch, at: EvaluatedBatch, samples: int, size: int) -> Tensor:
        """Standard normal noise for a batch, `[samples, B, size]`, on its device."""
        count, device = len(batch.x), batch.x.device
        if batch.row is None and not has_places(at.loader):
            seed = derive_seed(FIXED_SEED, at.rank, at.number)
            return normal_noise(samples, count, size, seed=seed).to(device)
        of = len(at.loader.dataset)
        rows = self._places(count, at, of).to(device) if batch.row is None else batch.row
        return self._by_place(rows, samples, of, size)

    def _places(self, count: int, at: EvaluatedBatch, of: int) -> Tensor:
        """The places of the next images in a data set that the ranks share, one in turn each."""
        first = self._seen if at.number else 0
        self._seen = first + count
        rows = torch.arange(first, first + count) * at.ranks + at.rank
        return rows % of  # the last ones may be repeated, so that all ranks have as many
