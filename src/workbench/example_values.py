"""Metrics of single test examples, kept in addition to their means."""

import numpy as np
import torch
from torch import Tensor

MOST_EXAMPLES = 100_000
"""The largest test set of which the values of single examples are kept."""


class ExampleValues:
    """Collects the terms of each example, in the order of the examples.

    A term with one value for the whole batch (an expanded scalar) is left out. Nothing is copied
    from the device before `arrays`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._parts: dict[str, list[Tensor]] = {}
        self._shared: set[str] = set()
        self._count = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add a batch: each term is `[B]`, and the names are the same in every batch."""
        self._count += len(next(iter(terms.values()), ()))
        if self._count > MOST_EXAMPLES:
            self._parts = {}
            return
        for name, values in terms.items():
            if len(values) > 1 and values.stride(0) == 0:
                self._shared.add(name)
            else:
                self._parts.setdefault(name, []).append(values.detach().float())

    def arrays(self) -> dict[str, np.ndarray]:
        """Name → the values of all examples, `[N]` float32; none if there were too many."""
        if self._count > MOST_EXAMPLES:
            return {}
        kept = {name: parts for name, parts in self._parts.items() if name not in self._shared}
        return {name: torch.cat(parts).cpu().numpy() for name, parts in kept.items()}
