"""The noise of evaluated images, a function of their places in the data set."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from musigma.data.batch import Batch, has_places
from musigma.seeding import CODES, FIXED_SEED, derive_seed, normal_noise

LARGEST_TABLE = 2**26
"""The most numbers of noise that are kept."""


class EvaluatedBatch(NamedTuple):
    """The place of a batch among those that are evaluated.

    Args:
        number: of the batch on this rank, from 0.
        ranks: the number of processes that share the images.
        rank: the number of this process.
        loader: the loader that gave the batch.
    """

    number: int
    ranks: int
    rank: int
    loader: Any


class EvaluationNoise:
    """Noise by the places of images; where they have none, by those of batches.

    The noise of a whole data set is drawn once and kept, up to `LARGEST_TABLE` numbers; beyond
    that, the noise of each image is drawn when it is evaluated.
    """

    def __init__(self) -> None:
        self._table = torch.empty(0)
        self._seen = 0

    def __call__(self, batch: Batch, at: EvaluatedBatch, samples: int, size: int) -> Tensor:
        """Standard normal noise for a batch, `[samples, B, size]`, on its device."""
        length, device = len(batch.x), batch.x.device
        if batch.row is None and not has_places(at.loader):
            seed = derive_seed(FIXED_SEED, at.rank, at.number)
            return normal_noise(samples, length, size, seed=seed).to(device)
        count = len(at.loader.dataset)
        rows = self._places(length, at, count).to(device) if batch.row is None else batch.row
        if samples * count * size > LARGEST_TABLE:
            seeds = [derive_seed(FIXED_SEED, row, CODES) for row in rows.tolist()]
            drawn = [normal_noise(samples, size, seed=seed) for seed in seeds]
            return torch.stack(drawn, 1).to(device)
        shape = (samples, count, size)
        if self._table.shape != shape or self._table.device != device:
            self._table = normal_noise(*shape, seed=FIXED_SEED).to(device)
        return self._table[:, rows]

    def _places(self, length: int, at: EvaluatedBatch, count: int) -> Tensor:
        """The places of the next images in a data set that the ranks share, one in turn each."""
        first = self._seen if at.number else 0
        self._seen = first + length
        rows = torch.arange(first, first + length) * at.ranks + at.rank
        return rows % count  # the last ones may be repeated, so that all ranks have as many
