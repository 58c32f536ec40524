"""The base of all loaders of images, whose random pixels resume with them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from musigma.data.batch import Batch
from musigma.data.lazy_images import LazyImages
from musigma.data.memory import to_device
from musigma.data.normalization import Normalization, normalized_by_index
from musigma.seeding import PIXELS, derive_seed
from workbench.resumable_loaders import ResumableLoader

Parts = tuple[Tensor, Tensor, Tensor]
"""Images, labels and rows of a batch."""


@dataclass(eq=False, kw_only=True)
class PixelLoader(ResumableLoader):
    """A loader that reads `Parts`, copies them to a device and normalises their pixels.

    Args:
        normalization: converts a batch of uint8 pixels to float32; None if they are float32.
        is_training: makes random pixels a function of (seed, rank, epoch, step); otherwise they are
            one of the image's index, the same in every evaluation.
        device: the device of the batches.
    """

    normalization: Normalization | None
    is_training: bool
    device: torch.device

    def __post_init__(self) -> None:
        super().__post_init__()
        self.generator = torch.Generator(self.device)

    def batch(self, parts: Parts, step: int) -> Batch:
        """The batch of a step: its parts on the device, with normalised pixels."""
        x, y, row = (to_device(part, self.device) for part in parts)
        return Batch(self._pixels(x, row, step), y, row)

    def images(self) -> Any:
        """All images in order, for evaluation."""
        return LazyImages(lambda: self)

    def _pixels(self, images: Tensor, rows: Tensor, step: int) -> Tensor:
        if self.normalization is None:
            return images
        if not self.is_training:
            return normalized_by_index(self.normalization, images, rows)
        if self.normalization.is_random:
            seed = derive_seed(self.seed, self.rank, self.sampler.epoch, step, PIXELS)
            self.generator.manual_seed(seed)
        return self.normalization(images, self.generator)
