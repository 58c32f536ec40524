"""The noise of evaluated images, a function of their indices in the data set."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from musigma.data.batch import Batch, has_indices
from musigma.seeding import CODES, FIXED_SEED, derive_seed, normal_noise

LARGEST_TABLE = 2**26
"""The largest number of values of noise that are kept."""


class EvaluatedBatch(NamedTuple):
    """The position of a batch in an evaluation.

    Args:
        number: the number of the batch on this rank, from 0.
        ranks: the number of ranks, which share the images.
        rank: the rank of this process.
        loader: the loader of the batch.
    """

    number: int
    ranks: int
    rank: int
    loader: Any


class EvaluationNoise:
    """Noise as a function of an image's index, or, if it has none, of the batch's position.

    The noise of a whole data set is drawn once and kept if it is at most `LARGEST_TABLE` values;
    otherwise it is drawn image by image. The two differ.
    """

    def __init__(self) -> None:
        self._table = torch.empty(0)
        self._count_before = 0

    def __call__(self, batch: Batch, at: EvaluatedBatch, samples: int, size: int) -> Tensor:
        """Standard normal noise for a batch, `[samples, B, size]`, on its device."""
        length, device = len(batch.x), batch.x.device
        if batch.row is None and not has_indices(at.loader):
            seed = derive_seed(FIXED_SEED, at.rank, at.number)
            return normal_noise(samples, length, size, seed=seed).to(device)
        count = len(at.loader.dataset)
        rows = self._rows(length, at, count).to(device) if batch.row is None else batch.row
        if samples * count * size > LARGEST_TABLE:
            seeds = [derive_seed(FIXED_SEED, row, CODES) for row in rows.tolist()]
            drawn = [normal_noise(samples, size, seed=seed) for seed in seeds]
            return torch.stack(drawn, 1).to(device)
        shape = (samples, count, size)
        if self._table.shape != shape or self._table.device != device:
            self._table = normal_noise(*shape, seed=FIXED_SEED).to(device)
        return self._table[:, rows]

    def _rows(self, length: int, at: EvaluatedBatch, count: int) -> Tensor:
        """The indices of the next images, of which each rank has every `ranks`-th."""
        first = self._count_before if at.number else 0
        self._count_before = first + length
        rows = torch.arange(first, first + length) * at.ranks + at.rank
        return rows % count  # samplers repeat the first images, so that all ranks have as many
