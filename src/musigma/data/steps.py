"""The base of all loaders: the images of each step, what is random in them, where to resume."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from musigma.data.batch import Batch
from musigma.data.in_order import InOrder
from musigma.data.memory import to_device
from musigma.data.normalization import Normalization, normalized_by_place
from musigma.seeding import PIXELS, derive_seed

Parts = tuple[Tensor, Tensor, Tensor]
"""Images, labels and rows of a batch."""


class Order(SequentialSampler):
    """The order of `count` images in an epoch: their own, or one shuffled by (seed, epoch) alone.

    Its base class tells Lightning that the sampler need not be replaced.
    """

    def __init__(self, count: int, seed: int | None) -> None:
        super().__init__(range(count))
        self.count = count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def order(self) -> Tensor:
        """A permutation of 0 … count − 1, on the CPU."""
        if self.seed is None:
            return torch.arange(self.count)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        return torch.randperm(self.count, generator=generator)


@dataclass(eq=False, kw_only=True)
class BatchLoader:
    """The base of loaders that are resumed at any step, to the same bits.

    Args:
        dataset: the images.
        count: the number of images; 0 if it is not known.
        normalization: makes float32 pixels of a batch of uint8 ones; None if they are float32.
        is_training: what is random in pixels is a function of (seed, rank, epoch, step); otherwise
            of the image's place, as in every evaluation.
        batch_size: images a step on each rank; the last batch is smaller.
        device: of the batches.
        seed: of what is random in training.
        shuffle: shuffles anew every epoch, as a function of (seed, epoch).
        rank: the number of this process, from 0.
        world_size: the number of processes that share the images.
    """

    dataset: Any
    count: int
    normalization: Normalization | None
    is_training: bool
    batch_size: int
    device: torch.device
    seed: int = 0
    shuffle: bool = False
    rank: int = 0
    world_size: int = 1

    batch_sampler = None  # Lightning asks for it

    def __post_init__(self) -> None:
        self.step_size = self.batch_size * self.world_size
        self.sampler = Order(self.count, self.seed if self.shuffle else None)
        self.generator = torch.Generator(self.device)
        self._next_step = 0
        self._loaded: dict[str, Any] = {}

    @abstractmethod
    def read(self, first: int) -> Iterator[Parts]:
        """Images, labels and rows of each step of this rank, from `first` on."""

    def __iter__(self) -> Iterator[Batch]:
        first = self._first_step()
        for step, parts in enumerate(self.read(first), first):
            self._next_step = step + 1
            yield self.batch(parts, step)

    def batch(self, parts: Parts, step: int) -> Batch:
        """A batch of images, labels and rows of a step."""
        x, y, row = (to_device(part, self.device) for part in parts)
        return Batch(self._pixels(x, row, step), y, row)

    def images(self) -> Any:
        """All images in order, as evaluation takes them."""
        return InOrder(lambda: self)

    def state_dict(self) -> dict[str, Any]:
        """Epoch, next step and its size: with the seed, the loader's whole state."""
        place = {"epoch": self.sampler.epoch, "next_step": self._next_step}
        return {**place, "step_size": self.step_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Start the next iteration at a saved place."""
        self._loaded = state

    def _first_step(self) -> int:
        """The step to begin at: 0, or once the one of a state that was loaded."""
        loaded, self._loaded = self._loaded, {}
        if loaded.get("epoch") != self.sampler.epoch:
            return 0  # a state from the end of an epoch says nothing about the next one
        # With fewer or more processes a step has another size; before version 0.3 none was saved.
        size = loaded.get("step_size", self.step_size)
        return int(loaded["next_step"]) * size // self.step_size

    def _pixels(self, images: Tensor, rows: Tensor, step: int) -> Tensor:
        if self.normalization is None:
            return images
        if not self.is_training:
            return normalized_by_place(self.normalization, images, rows)
        if self.normalization.is_random:
            place = (self.seed, self.rank, self.sampler.epoch, step, PIXELS)
            self.generator.manual_seed(derive_seed(*place))
        return self.normalization(images, self.generator)


class StepLoader(BatchLoader):
    """The base of loaders of numbered images, whose order depends on (seed, epoch) alone.

    Each step takes `batch_size` images for every rank from the common order, and rank r keeps
    every `world_size`-th of them: every rank has the same number of steps, and every image is
    seen exactly once an epoch by exactly one rank. What is left at the end makes a smaller
    batch, or joins the one before where there are fewer than two images a rank: what compares the
    images of a batch with one another needs two.

    Raises:
        ValueError: if there are fewer images than processes.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < self.world_size:
            raise ValueError(f"{self.count} images cannot be shared by {self.world_size} processes")

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.step_size)
        return max(1, full + (rest >= 2 * self.world_size))

    def weight(self, together: int, steps: float) -> float:
        """The weight of the mean over the images given last, in a mean over means.

        With these weights, the mean over means is the mean over the images of all ranks and of all
        steps whose gradients are accumulated, although the last step may be smaller, be shared
        unevenly, and be accumulated with fewer others. Only the loader knows which step it gave: in
        a run that is resumed with another number of processes it is not the number of the batch.

        Args:
            together: the number of steps whose gradients are accumulated.
            steps: the number of steps of an epoch, if it is smaller than the loader's.
        """
        step = self._next_step - 1
        first = step - step % together
        last = int(min(first + together, len(self), max(steps, step + 1)))
        own = range(step * self.step_size + self.rank, self._before(step + 1), self.world_size)
        images = self._before(last) - first * self.step_size
        return len(own) * self.world_size * together / images

    def rows(self, first: int, device: torch.device | None = None) -> Iterator[Tensor]:
        """The rows of the images of each step of this rank, from `first` on."""
        order = self.sampler.order().to(device)
        for step in range(first, len(self)):
            first_row = step * self.step_size + self.rank
            yield order[first_row : self._before(step + 1) : self.world_size]

    def _before(self, step: int) -> int:
        """The images that all ranks have before a step."""
        return step * self.step_size if step < len(self) else self.count
