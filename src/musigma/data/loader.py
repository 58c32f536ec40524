"""Batches as rows of one tensor: no per-image work, no worker processes."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from musigma.data.batch import Batch
from musigma.data.memory import free_memory
from musigma.data.normalization import Normalization, normalized_by_place
from musigma.data.steps import Parts, StepLoader

log = logging.getLogger(__name__)

SHARE_HELD_ON_DEVICE = 0.5
"""The share of a device's free memory for the images of one set; larger sets stay on the host."""


@dataclass(frozen=True)
class InMemory:
    """A set of images that are held, `[N, C, H, W]`, with their labels, `[N]`.

    `normalization` makes float32 pixels of uint8 ones; it is None if they are float32 already.
    """

    images: Tensor
    labels: Tensor
    normalization: Normalization | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.images[row], int(self.labels[row])

    def batches(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, `most` at once, with their labels."""
        yield from zip(self.images.split(most), self.labels.split(most), strict=True)

    def at(self, rows: Tensor) -> Tensor:
        """The images at some places."""
        return self.images[rows]

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images and their labels."""
        return self.images, self.labels

    def only(self, mask: Tensor) -> "InMemory":
        """The same with only those of its images."""
        rows = mask.nonzero().squeeze(1)  # a mask itself takes several times as long
        images = self.images.index_select(0, rows)
        return InMemory(images, self.labels[rows], self.normalization)

    def some(self, count: int) -> "InMemory":
        """The same with only its first images."""
        return InMemory(self.images[:count], self.labels[:count], self.normalization)

    def normalized(self) -> "InMemory":
        """The same with float32 pixels for evaluation, of which random ones are drawn by place."""
        if self.normalization is None:
            return self
        places = torch.arange(len(self))
        pixels = normalized_by_place(self.normalization, self.images, places)
        return InMemory(pixels, self.labels)

    def placed(self, device: torch.device) -> "InMemory":
        """The same on `device`, or if they would take too much of its memory, on the host."""
        images = place(self.images, device)
        return InMemory(images, self.labels.to(images.device), self.normalization)

    def loader(self, *, num_workers: int, **settings: Any) -> "TensorLoader":
        """Its loader, which needs no workers."""
        return TensorLoader(*self.tensors(), normalization=self.normalization, **settings)


class TensorLoader(StepLoader):
    """Iterates over a data set of two tensors, on any device.

    Args:
        images: `[N, C, H, W]`.
        labels: `[N]`, on the same device.
        normalization: as in `BatchLoader`.
        is_training: likewise.
        device: of the batches; by default that of the images.
        settings: the others of `BatchLoader`.

    Raises:
        ValueError: if there are fewer images than processes.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        normalization: Normalization | None = None,
        is_training: bool = True,
        device: torch.device | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            dataset=TensorDataset(images, labels),
            count=len(images),
            normalization=normalization,
            is_training=is_training,
            device=device or images.device,
            **settings,
        )

    def read(self, first: int) -> Iterator[Parts]:
        device = self.dataset.tensors[0].device
        return map(self._at, self.rows(first, device))

    def take(self, rows: Tensor) -> Batch:
        """The images at some places, as a batch."""
        return self.batch(self._at(rows.to(self.dataset.tensors[0].device)), step=0)

    def _at(self, rows: Tensor) -> Parts:
        images, labels = self.dataset.tensors
        return images.index_select(0, rows), labels[rows], rows

    def images(self) -> InMemory:
        """All images, as evaluation takes them."""
        images, labels = self.dataset.tensors
        return InMemory(images, labels, self.normalization).normalized()


def place(images: Tensor, device: torch.device) -> Tensor:
    """The images on `device`, or if they would take too much of its memory, on the host."""
    free = free_memory(device)
    if free is None or images.nbytes <= SHARE_HELD_ON_DEVICE * free:
        return images.to(device)
    log.info(
        "%s images take %.1f GiB of the %.1f GiB that %s has free: they stay in\n"
        "the host's memory, and batches travel",
        f"{len(images):,}",
        images.nbytes / 2**30,
        free / 2**30,
        device,
    )
    return images.cpu()
