"""Batches as rows of one tensor: no per-image work, no worker processes."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from musigma.data.batch import Batch
from musigma.data.normalization import Normalization, normalized_by_place
from musigma.data.steps import StepLoader

log = logging.getLogger(__name__)

SHARE_HELD_ON_DEVICE = 0.5
"""The share of a device's free memory for the images of one set; larger sets stay on the host."""


@dataclass(frozen=True)
class InMemory:
    """A set of images that are held, `[N, C, H, W]`, with their labels, `[N]`."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, so many at once, with their labels."""
        yield from zip(self.images.split(most), self.labels.split(most), strict=True)

    def at(self, rows: Tensor) -> Tensor:
        """The images at some places."""
        return self.images[rows]

    def some(self, count: int) -> "InMemory":
        """The same with only its first images."""
        return InMemory(*self.first(count))

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """The first images and their labels."""
        return self.images[:count], self.labels[:count]


class TensorLoader(StepLoader):
    """Iterates over a data set of two tensors, on any device.

    Args:
        images: `[N, C, H, W]`.
        labels: `[N]`, on the same device.
        normalization: makes float32 pixels of a batch of uint8 ones; None where they are made. What
            it draws is a function of (seed, rank, epoch, step).
        by_place: it is a function of the image's place instead, as in every evaluation.
        device: where batches are wanted; by default where the images are.
        steps: the others of `StepLoader`.

    Raises:
        ValueError: if there are fewer images than processes.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        normalization: Normalization | None = None,
        by_place: bool = False,
        device: torch.device | None = None,
        **steps: Any,
    ) -> None:
        super().__init__(len(images), **steps)
        self.dataset = TensorDataset(images, labels)
        self.normalization = normalization
        self.by_place = by_place
        self.device = device or images.device
        self.generator = torch.Generator(self.device)

    def __iter__(self) -> Iterator[Batch]:
        images = self.dataset.tensors[0]
        first = self.first_step()
        for step, rows in enumerate(self.rows(first, images.device), first):
            self._next_step = step + 1
            yield self.take(rows, step)

    def take(self, rows: Tensor, step: int = 0) -> Batch:
        """The images at some places, as a batch of that step."""
        images, labels = self.dataset.tensors
        rows = rows.to(images.device)
        parts = (images.index_select(0, rows), labels[rows], rows)
        x, y, row = (to_device(part, self.device) for part in parts)
        return Batch(self._pixels(x, row, step), y, row)

    def images(self) -> InMemory:
        """All images, as the loader holds them."""
        return InMemory(*self.dataset.tensors)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images, as the loader holds them, and their labels."""
        images, labels = self.dataset.tensors
        return images, labels

    def _pixels(self, images: Tensor, rows: Tensor, step: int) -> Tensor:
        if self.normalization is None:
            return images
        if self.by_place:
            return normalized_by_place(self.normalization, images, rows)
        if self.normalization.is_random:
            self.generator.manual_seed(self.pixel_seed(step))
        return self.normalization(images, self.generator)


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


def free_memory(device: torch.device) -> int | None:
    """In bytes; None for a device that shares the host's."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """A batch on `device`; from the host's memory to a GPU without making the host wait."""
    if device.type == "cuda" and batch.device.type == "cpu":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)
