"""Images in memory, and batches that are rows of one tensor: no work per image, no workers."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from musigma.data.batch import Batch
from musigma.data.memory import free_memory
from musigma.data.normalization import Normalization, normalized_by_index
from musigma.data.pixel_loader import Parts, PixelLoader
from workbench.resumable_loaders import StepLoader

log = logging.getLogger(__name__)

SHARE_HELD_ON_DEVICE = 0.5
"""The largest fraction of a device's free memory for one set; larger sets stay on the host."""


@dataclass(frozen=True)
class InMemory:
    """A set of images in memory.

    Args:
        images: `[N, C, H, W]`, uint8 or float32.
        labels: `[N]`.
        normalization: converts uint8 images to float32; None if they are float32.
        grey: the grey levels that uint8 images were drawn from, if these are to be augmented.
    """

    images: Tensor
    labels: Tensor
    normalization: Normalization | None = None
    grey: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __eq__(self, other: object) -> bool:
        """True for the same images and labels, on any device."""
        if not isinstance(other, InMemory):
            return False
        pairs = zip(self.tensors(), other.tensors(), strict=True)
        return all(torch.equal(ours.cpu(), theirs.cpu()) for ours, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return (self.images if self.grey is None else self.grey)[row], int(self.labels[row])

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, `size` at once, with their labels."""
        yield from zip(self.images.split(size), self.labels.split(size), strict=True)

    def at(self, rows: Tensor) -> Tensor:
        """The images with these indices."""
        return self.images[rows]

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images and their labels."""
        return self.images, self.labels

    def only(self, mask: Tensor) -> "InMemory":
        """The set of the images that a mask `[N]` selects."""
        rows = mask.nonzero().squeeze(1)  # several times faster than indexing with the mask
        grey = None if self.grey is None else self.grey.index_select(0, rows)
        images = self.images.index_select(0, rows)
        return InMemory(images, self.labels[rows], self.normalization, grey)

    def first(self, count: int) -> "InMemory":
        """The set of its first images."""
        return InMemory(self.images[:count], self.labels[:count], self.normalization)

    def normalized(self) -> "InMemory":
        """The set with float32 pixels for evaluation; random ones are drawn by index."""
        if self.normalization is None:
            return self
        rows = torch.arange(len(self))
        return InMemory(normalized_by_index(self.normalization, self.images, rows), self.labels)

    def placed(self, device: torch.device) -> "InMemory":
        """The set on `device`, or on the host if it would take too much of the device's memory."""
        free = free_memory(device)
        if free is not None and self.images.nbytes > SHARE_HELD_ON_DEVICE * free:
            log.info(
                "%s images take %.1f GiB of the %.1f GiB that are free on %s: they stay in\n"
                "the host's memory, and batches are copied to the device",
                f"{len(self):,}",
                self.images.nbytes / 2**30,
                free / 2**30,
                device,
            )
            device = torch.device("cpu")
        return InMemory(self.images.to(device), self.labels.to(device), self.normalization)

    def loader(self, *, num_workers: int, **settings: Any) -> "TensorLoader":
        """A loader of the set, which needs no workers."""
        return TensorLoader(*self.tensors(), normalization=self.normalization, **settings)


class TensorLoader(PixelLoader, StepLoader):
    """Iterates over a data set of two tensors, on any device.

    Args:
        images: `[N, C, H, W]`.
        labels: `[N]`, on the same device.
        device: the device of the batches; by default that of the images.
        settings: further arguments of `PixelLoader`, as are `normalization` and `is_training`.

    Raises:
        ValueError: if there are fewer images than ranks.
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
            normalization=normalization,
            is_training=is_training,
            device=device or images.device,
            **settings,
        )

    def read(self, first: int) -> Iterator[Parts]:
        device = self.dataset.tensors[0].device
        return map(self._at, self.rows(first, device))

    def take(self, rows: Tensor) -> Batch:
        """The batch of the images with these indices."""
        return self.batch(self._at(rows.to(self.dataset.tensors[0].device)), step=0)

    def _at(self, rows: Tensor) -> Parts:
        images, labels = self.dataset.tensors
        return images.index_select(0, rows), labels[rows], rows

    def images(self) -> InMemory:
        """All images, normalised for evaluation."""
        images, labels = self.dataset.tensors
        return InMemory(images, labels, self.normalization).normalized()
