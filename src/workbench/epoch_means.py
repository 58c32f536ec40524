"""Means over the examples of an epoch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class EpochMeans:
    """Sums named terms over examples on their device, and divides by the number of examples.

    The mean is over examples, whatever the sizes of the batches and the number of processes.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._names: tuple[str, ...] = ()
        self._sums: Tensor | None = None
        self._count = 0
        self._batch: Tensor | None = None
        self.last_size = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add a batch: each term is `[B]`, and the names are the same in every batch."""
        values = torch.stack([*terms.values()]).detach()
        # float64 keeps long sums exact to more digits than are shown; MPS has none.
        sums = values.sum(1, dtype=None if values.device.type == "mps" else torch.float64)
        self._batch = sums / values.shape[1]
        self._sums = sums if self._sums is None else self._sums + sums
        self.last_size = values.shape[1]
        self._count += self.last_size
        self._names = tuple(terms)

    def of_last_batch(self) -> dict[str, float]:
        """The means of the batch added last; reading them waits for the device."""
        if self._batch is None:
            return {}
        return dict(zip(self._names, self._batch.tolist(), strict=True))

    def compute(self, sum_over_ranks: Callable[[Tensor], Any] | None = None) -> dict[str, float]:
        """The means over the examples of all ranks."""
        if self._sums is None:
            return {}
        *totals, count = self._totals(sum_over_ranks).tolist()
        return {name: total / count for name, total in zip(self._names, totals, strict=True)}

    def state_dict(self, sum_over_ranks: Callable[[Tensor], Any] | None = None) -> dict[str, Any]:
        """The sums since the last reset, over all ranks."""
        sums, count = self._sums, self._count
        if sums is not None and sum_over_ranks is not None:
            totals = self._totals(sum_over_ranks)
            sums, count = totals[:-1], int(totals[-1])
        return {"names": self._names, "sums": sums, "count": count}

    def load_state_dict(
        self, state: dict[str, Any], device: torch.device, is_first: bool = True
    ) -> None:
        """Continue from the saved sums of all ranks, which the first rank alone then holds."""
        self.reset()
        names, sums, self._count = state.values()  # `count` had another key before version 0.3
        self._names = tuple(names)
        self._sums = None if sums is None else sums.to(device)
        if not is_first and self._sums is not None:
            self._sums, self._count = torch.zeros_like(self._sums), 0

    def _totals(self, sum_over_ranks: Callable[[Tensor], Any] | None) -> Tensor:
        """The sums, followed by the number of examples."""
        assert self._sums is not None
        sums = torch.cat([self._sums, self._sums.new_tensor([self._count])])
        return sums if sum_over_ranks is None else sum_over_ranks(sums)
