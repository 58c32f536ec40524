"""Images without a length, which can only be read from the first to the last."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from musigma.data.access import blamed
from musigma.data.batch import Batch
from musigma.data.image_files import strict
from musigma.data.one_by_one import NO_EPOCH, OneByOne, Read, opened, with_workers
from musigma.data.steps import BatchLoader, Parts
from musigma.seeding import FIXED_SEED, derive_seed, seed_everything
from workbench.errors import DataError


@dataclass(eq=False, kw_only=True)
class Iterated(OneByOne, IterableDataset):  # type: ignore[type-arg]
    """A set of images without a length.

    What is random in them is a function of (seed, epoch, worker).

    Args:
        dataset: is iterated over anew in each epoch, by each worker.
        read: an item of it, and its number → its image, uint8 `[C, H, W]`, and its label.
        most: only so many images, the first ones.
        epoch: of the training images.
    """

    dataset: Iterable[Any]
    read: Callable[[Any, int], tuple[Tensor, int]]
    most: int | None = None
    epoch: int = NO_EPOCH

    def some(self, count: int) -> Self:
        """The same with only its first images."""
        return replace(self, most=count)

    def loader(self, **settings: Any) -> "IteratedLoader":
        """Its loader."""
        return IteratedLoader(self, **settings)

    def __iter__(self) -> Iterator[Read]:
        """Images with their labels, or the error: raised, a worker would wrap it."""
        worker = get_worker_info()
        number = worker.id if worker else 0
        is_training = self.epoch != NO_EPOCH
        place = (self.seed, self.epoch, number) if is_training else (FIXED_SEED, number)
        seed_everything(derive_seed(*place))
        try:
            with strict(), blamed("data.dataset: cannot be read on"):
                for index, item in enumerate(islice(self.dataset, self.most)):
                    image, label = self.read(item, index)
                    yield self.prepared(image, is_training, number, index), label
        except DataError as error:
            yield error


class IteratedLoader(BatchLoader):
    """Iterates over an `Iterated` set with worker processes; it has no length.

    Resumed in the middle of an epoch it reads again what it has read, and continues from there.

    Args:
        images: the set.
        num_workers: the processes, 1 or more; the data set has to give each of them its share.
        settings: the others of `BatchLoader`.
    """

    def __init__(self, images: Iterated, *, num_workers: int, **settings: Any) -> None:
        super().__init__(dataset=images, count=0, normalization=images.normalization, **settings)
        self.num_workers = max(1, num_workers)  # as only a worker has generators of its own

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            self._next_step -= 1  # without a length, Lightning fetches one batch ahead
            yield batch._replace(row=None)
        self._next_step += 1

    def read(self, first: int) -> Iterator[Parts]:
        epoch = self.sampler.epoch if self.is_training else NO_EPOCH
        images = replace(self.dataset, epoch=epoch)
        workers = 1 if images.most else self.num_workers
        loader = with_workers(images, workers, self.seed, batch_size=self.step_size)
        row = 0
        for step, (x, y) in enumerate(opened(loader)):
            rows = torch.arange(row, row + len(x))
            row += len(x)
            if step >= first:
                yield x, y, rows
