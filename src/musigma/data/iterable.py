"""Images of an IterableDataset, which have no length and one order only."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from musigma.data.access import as_data_error
from musigma.data.batch import Batch
from musigma.data.image_files import strict_pillow
from musigma.data.pixel_loader import Parts, PixelLoader
from musigma.data.workers import NO_EPOCH, Item, Stream, raise_errors, worker_loader
from musigma.seeding import FIXED_SEED, derive_seed, seed_everything
from workbench.errors import DataError


@dataclass(eq=False, kw_only=True)
class IterableStream(Stream, IterableDataset):  # type: ignore[type-arg]
    """A set of images without a length; random values are a function of (seed, epoch, worker).

    Args:
        dataset: the items, iterated over in each epoch by each worker.
        read: (item, its number) → image, uint8 `[C, H, W]`, and label.
        limit: the number of images to stop after; None for all.
        epoch: the epoch of training images.
    """

    dataset: Iterable[Any]
    read: Callable[[Any, int], tuple[Tensor, int]]
    limit: int | None = None
    epoch: int = NO_EPOCH

    def first(self, count: int) -> Self:
        return replace(self, limit=count)

    def loader(self, **settings: Any) -> "IterableLoader":
        return IterableLoader(dataset=self, normalization=self.normalization, **settings)

    def __iter__(self) -> Iterator[Item]:
        """Yield images with labels, and an error instead of raising it, as workers wrap those."""
        worker = get_worker_info()
        number = worker.id if worker else 0
        is_training = self.epoch != NO_EPOCH
        place = (self.seed, self.epoch, number) if is_training else (FIXED_SEED, number)
        seed_everything(derive_seed(*place))
        try:
            with strict_pillow(), as_data_error("data.dataset: the next item cannot be read"):
                for index, item in enumerate(islice(self.dataset, self.limit)):
                    image, label = self.read(item, index)
                    yield self.prepared(image, is_training, number, index), label
        except DataError as error:
            yield error


@dataclass(eq=False, kw_only=True)
class IterableLoader(PixelLoader):
    """Iterates over an `IterableStream` with worker processes; it has no length.

    Resumed in the middle of an epoch, it reads the images before that point again and drops them.

    Args:
        num_workers: the number of processes; one is used for 0. Each iterates over the data set,
            which has to give each its share.
    """

    num_workers: int

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            self._next_step -= 1  # without a length, Lightning fetches one batch ahead
            yield batch._replace(row=None)
        self._next_step += 1

    def read(self, first: int) -> Iterator[Parts]:
        epoch = self.sampler.epoch if self.is_training else NO_EPOCH
        images = replace(self.dataset, epoch=epoch)
        # Each worker would stop at the limit, and only a worker has random generators of its own.
        workers = 1 if images.limit else max(1, self.num_workers)
        loader = worker_loader(images, workers, self.seed, batch_size=self.step_size)
        row = 0
        for step, (x, y) in enumerate(raise_errors(loader)):
            rows = torch.arange(row, row + len(x))
            row += len(x)
            if step >= first:
                yield x, y, rows
