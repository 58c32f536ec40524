"""The base of all loaders: the images of each step, their random pixels, and exact resume."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from musigma.data.batch import Batch, size_of
from musigma.data.lazy_images import LazyImages
from musigma.data.memory import to_device
from musigma.data.normalization import Normalization, normalized_by_index
from musigma.seeding import PIXELS, derive_seed

Parts = tuple[Tensor, Tensor, Tensor]
"""Images, labels and rows of a batch."""


class Order(SequentialSampler):
    """The order of `count` images in an epoch: unchanged, or shuffled by (seed, epoch).

    It derives from SequentialSampler so that Lightning does not replace it.
    """

    def __init__(self, count: int, seed: int | None) -> None:
        super().__init__(range(count))
        self.count = count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls it before each one."""
        self.epoch = epoch

    def permutation(self) -> Tensor:
        """A permutation of 0 … count − 1, on the CPU."""
        if self.seed is None:
            return torch.arange(self.count)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        return torch.randperm(self.count, generator=generator)


@dataclass(eq=False, kw_only=True)
class BatchLoader:
    """The base of loaders that resume at any step to the same bits.

    Args:
        dataset: the images.
        normalization: converts a batch of uint8 pixels to float32; None if they are float32.
        is_training: makes random pixels a function of (seed, rank, epoch, step); otherwise they are
            one of the image's index, the same in every evaluation.
        batch_size: images per step on each rank; the last batch is smaller.
        device: the device of the batches.
        seed: the seed of the order and of random pixels in training.
        shuffle: shuffles anew every epoch, as a function of (seed, epoch).
        rank: the rank of this process, from 0.
        world_size: the number of ranks, which share the images.
    """

    dataset: Any
    normalization: Normalization | None
    is_training: bool
    batch_size: int
    device: torch.device
    seed: int = 0
    shuffle: bool = False
    rank: int = 0
    world_size: int = 1

    batch_sampler = None  # Lightning reads it

    def __post_init__(self) -> None:
        self.count = size_of(self) or 0
        self.step_size = self.batch_size * self.world_size
        self.sampler = Order(self.count, self.seed if self.shuffle else None)
        self.generator = torch.Generator(self.device)
        self._next_step = 0
        self._loaded_state: dict[str, Any] = {}

    @abstractmethod
    def read(self, first: int) -> Iterator[Parts]:
        """Yield images, labels and rows of this rank's steps, from step `first`."""

    def __iter__(self) -> Iterator[Batch]:
        first = self._first_step()
        for step, parts in enumerate(self.read(first), first):
            self._next_step = step + 1
            yield self.batch(parts, step)

    def batch(self, parts: Parts, step: int) -> Batch:
        """The batch of a step: its parts on the device, with normalised pixels."""
        x, y, row = (to_device(part, self.device) for part in parts)
        return Batch(self._pixels(x, row, step), y, row)

    def images(self) -> Any:
        """All images in order, for evaluation."""
        return LazyImages(lambda: self)

    def state_dict(self) -> dict[str, Any]:
        """Epoch, next step and its size; with the seed they determine the rest."""
        return {
            "epoch": self.sampler.epoch,
            "next_step": self._next_step,
            "step_size": self.step_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Start the next iteration where a saved one stopped."""
        self._loaded_state = state

    def _first_step(self) -> int:
        """The step to start at: 0, or that of a loaded state, which is used once."""
        state, self._loaded_state = self._loaded_state, {}
        if state.get("epoch") != self.sampler.epoch:
            return 0  # a state from the end of an epoch says nothing about the next one
        # The size depends on the number of ranks, and was not saved before version 0.3.
        size = state.get("step_size", self.step_size)
        return int(state["next_step"]) * size // self.step_size

    def _pixels(self, images: Tensor, rows: Tensor, step: int) -> Tensor:
        if self.normalization is None:
            return images
        if not self.is_training:
            return normalized_by_index(self.normalization, images, rows)
        if self.normalization.is_random:
            seed = derive_seed(self.seed, self.rank, self.sampler.epoch, step, PIXELS)
            self.generator.manual_seed(seed)
        return self.normalization(images, self.generator)


class StepLoader(BatchLoader):
    """The base of loaders of images with indices, whose order depends on (seed, epoch) alone.

    Each step takes `batch_size` images for every rank from the common order, and rank r keeps
    every `world_size`-th of them: all ranks have the same number of steps, and each image is seen
    exactly once an epoch, by one rank. The images left at the end form a smaller batch, or join
    the previous one if they are fewer than two per rank: objectives that compare the images of a
    batch need two.

    Raises:
        ValueError: if there are fewer images than ranks.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < self.world_size:
            raise ValueError(f"{self.count} images cannot be shared by {self.world_size} processes")

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.step_size)
        return max(1, full + (rest >= 2 * self.world_size))

    def weight(self, accumulated: int, steps: float) -> float:
        """The weight of the current batch's mean loss in the mean over ranks and steps.

        With it, the mean over all ranks and accumulated steps is the mean over their images,
        although the last step may have fewer images, divide them unevenly, and be accumulated with
        fewer others. The loader knows the step; in a run that was resumed with another number of
        ranks, `batch_idx` does not tell it.

        Args:
            accumulated: the number of steps whose gradients are accumulated.
            steps: the number of steps of an epoch, if it is smaller than the loader's.
        """
        step = self._next_step - 1
        first = step - step % accumulated
        last = int(min(first + accumulated, len(self), max(steps, step + 1)))
        own = range(step * self.step_size + self.rank, self._before(step + 1), self.world_size)
        images = self._before(last) - first * self.step_size
        return len(own) * self.world_size * accumulated / images

    def rows(self, first: int, device: torch.device | None = None) -> Iterator[Tensor]:
        """Yield the rows of this rank's images in each step, from step `first`."""
        order = self.sampler.permutation().to(device)
        for step in range(first, len(self)):
            first_row = step * self.step_size + self.rank
            yield order[first_row : self._before(step + 1) : self.world_size]

    def _before(self, step: int) -> int:
        """The number of images that all ranks together have before a step."""
        return step * self.step_size if step < len(self) else self.count
