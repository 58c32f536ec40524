"""Evaluation images that are read batch by batch."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from musigma.data.batch import Batch


class LazyImages:
    """The images of evaluation batches, in a fixed order; only one batch is held in memory.

    Args:
        read_batches: returns a new iterable over all batches.
    """

    def __init__(self, read_batches: Callable[[], Iterable[Batch]]) -> None:
        self._read_batches = read_batches
        self._count: int | None = None

    def __len__(self) -> int:
        """The number of images; the first call reads them all to count them."""
        if self._count is None:
            self._count = sum(len(batch.x) for batch in self)
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        yield from self._read_batches()

    def images(self) -> "LazyImages":
        """Itself, so that it can replace a loader."""
        return self

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, at most `size` at once, with their labels."""
        for batch in self:
            yield from zip(batch.x.split(size), batch.y.split(size), strict=True)

    def at(self, rows: Tensor) -> Tensor:
        """The images with these indices; all images before them are read too."""
        found: dict[int, Tensor] = {}
        wanted, first = set(rows.tolist()), 0
        for batch in self:
            indices = range(first, first + len(batch.x))
            found |= {row: batch.x[row - first] for row in wanted.intersection(indices)}
            first = indices.stop
            if len(found) == len(wanted):
                break
        return torch.stack([found[row] for row in rows.tolist()])

    def tensors(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` images and their labels, in memory; by default all."""
        images, labels = [], []
        for batch in self:
            images.append(batch.x)
            labels.append(batch.y)
            if count and sum(map(len, images)) >= count:
                break
        return torch.cat(images)[:count], torch.cat(labels)[:count]
