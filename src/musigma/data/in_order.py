"""Images that evaluation reads from the first to the last."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from musigma.data.batch import Batch


class InOrder:
    """The images of evaluation batches that come in one order; no more than a batch is held.

    Args:
        batches: makes a new iterable each time.
    """

    def __init__(self, batches: Callable[[], Iterable[Batch]]) -> None:
        self._batches = batches
        self._count: int | None = None

    def __len__(self) -> int:
        """The number of images, which are counted once."""
        if self._count is None:
            self._count = sum(len(batch.x) for batch in self._batches())
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        yield from self._batches()

    def images(self) -> "InOrder":
        """Itself, so that it can stand in for a loader."""
        return self

    def batches(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, `most` at once or fewer, with their labels."""
        for batch in self._batches():
            yield from zip(batch.x.split(most), batch.y.split(most), strict=True)

    def at(self, rows: Tensor) -> Tensor:
        """The images at some places, for which all before them are read."""
        found: dict[int, Tensor] = {}
        wanted, first = set(rows.tolist()), 0
        for batch in self._batches():
            here = range(first, first + len(batch.x))
            found |= {row: batch.x[row - first] for row in wanted.intersection(here)}
            first = here.stop
            if len(found) == len(wanted):
                break
        return torch.stack([found[row] for row in rows.tolist()])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images and their labels, in memory."""
        images, labels = zip(*((batch.x, batch.y) for batch in self._batches()), strict=True)
        return torch.cat(images), torch.cat(labels)
