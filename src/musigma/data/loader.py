"""Batches as rows of one tensor: no per-image work, no worker processes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler, TensorDataset

from musigma.data.normalization import Normalization
from musigma.data.placement import sent
from musigma.seeding import derive_seed


class Batch(NamedTuple):
    """B images, their labels, and their places in the set they were taken from.

    Args:
        x: normalised images, `[B, C, H, W]`, float32.
        y: class labels, `[B]`.
        row: places in the loader's data set, `[B]`.
    """

    x: Tensor
    y: Tensor
    row: Tensor


class Shuffled:
    """The order of `count` images as a function of (seed, epoch) alone."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def order(self) -> Tensor:
        """A permutation of 0 … count − 1, on the CPU."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        return torch.randperm(self.count, generator=generator)


class InOrder(SequentialSampler):
    """The same order in every epoch; Lightning knows its base class not to shuffle."""

    def __init__(self, count: int) -> None:
        super().__init__(range(count))
        self.count = count
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def order(self) -> Tensor:
        """0 … count − 1."""
        return torch.arange(self.count)


class TensorLoader:
    """Iterates over a data set that is two tensors, wherever those lie.

    Each step takes `batch_size` images for every rank from the common order, and rank r keeps
    every `world_size`-th of them: every rank has the same number of steps, and every image is
    seen exactly once an epoch by exactly one rank. What is left at the end makes a smaller
    batch, or joins the one before where there are fewer than two images a rank: what compares the
    images of a batch with one another needs two.

    Args:
        images: `[N, C, H, W]`.
        labels: `[N]`, on the same device.
        batch_size: images a step on each rank.
        normalization: makes float32 pixels of a batch of uint8 ones; None where they are made.
        seed: of what the normalization draws, which is a function of (seed, rank, epoch, step).
        shuffle: shuffles anew every epoch, as a function of (seed, epoch).
        rank: which of the processes this is.
        world_size: how many processes share the images.
        device: where batches are wanted; by default where the images are.

    Raises:
        ValueError: if there are fewer images than processes.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        normalization: Normalization | None = None,
        seed: int = 0,
        shuffle: bool = False,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | None = None,
    ) -> None:
        if len(images) < world_size:
            raise ValueError(f"{len(images)} images cannot be shared by {world_size} processes")
        self.dataset = TensorDataset(images, labels)
        count = len(images)
        self.sampler = Shuffled(count, seed) if shuffle else InOrder(count)
        self.batch_sampler = None  # Lightning asks for it
        self.normalization = normalization
        self.seed = seed
        self.device = device or images.device
        self.generator = torch.Generator(self.device)
        self.rank = rank
        self.world_size = world_size
        self.step_size = batch_size * world_size
        self._next_step = 0
        self._loaded: dict[str, Any] = {}

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.step_size)
        return max(1, full + (rest >= 2 * self.world_size))

    def __iter__(self) -> Iterator[Batch]:
        images, labels = self.dataset.tensors
        order = self.sampler.order().to(images.device)
        loaded, self._loaded = self._loaded, {}
        # A state from the end of an epoch says nothing about the next one.
        first = loaded["next_step"] if loaded.get("epoch") == self.sampler.epoch else 0
        for step in range(first, len(self)):
            end = (step + 1) * self.step_size if step < len(self) - 1 else len(order)
            rows = order[step * self.step_size + self.rank : end : self.world_size]
            self._next_step = step + 1
            x, y, row = (
                sent(part, self.device)
                for part in (images.index_select(0, rows), labels[rows], rows)
            )
            yield Batch(self._pixels(x, step), y, row)

    def _pixels(self, images: Tensor, step: int) -> Tensor:
        if self.normalization is None:
            return images
        if self.normalization.is_random:
            place = (self.seed, self.rank, self.sampler.epoch, step)
            self.generator.manual_seed(derive_seed(*place))
        return self.normalization(images, self.generator)

    def state_dict(self) -> dict[str, Any]:
        """Where the iteration stands; with the seed it is all there is to remember."""
        return {"epoch": self.sampler.epoch, "next_step": self._next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Makes the next iteration begin where the one that was saved stood."""
        self._loaded = state
