"""Batches as rows of one tensor: no per-image work, no worker processes."""

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler, TensorDataset

from musigma.data.batch import Batch
from musigma.data.normalization import Normalization
from musigma.seeding import derive_seed

log = logging.getLogger(__name__)

LARGEST_SHARE = 0.5
"""Of a device's free memory, for the images of one set."""


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


class TensorLoader:
    """Iterates over a data set of two tensors, on any device.

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
        self.sampler = Order(len(images), seed if shuffle else None)
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
            parts = (images.index_select(0, rows), labels[rows], rows)
            x, y, row = (to_device(part, self.device) for part in parts)
            yield Batch(self._pixels(x, step), y, row)

    def _pixels(self, images: Tensor, step: int) -> Tensor:
        if self.normalization is None:
            return images
        if self.normalization.is_random:
            place = (self.seed, self.rank, self.sampler.epoch, step)
            self.generator.manual_seed(derive_seed(*place))
        return self.normalization(images, self.generator)

    def state_dict(self) -> dict[str, Any]:
        """Epoch and next step: with the seed, the loader's whole state."""
        return {"epoch": self.sampler.epoch, "next_step": self._next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Start the next iteration at a saved place."""
        self._loaded = state


def place(images: Tensor, device: torch.device) -> Tensor:
    """The images on `device`, or if they would take too much of its memory, on the host."""
    free = free_memory(device)
    if free is None or images.nbytes <= LARGEST_SHARE * free:
        return images.to(device)
    log.info(
        "%s images take %.1f GiB of the %.1f GiB that %s has free: they stay in the host's "
        "memory, and batches travel",
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
