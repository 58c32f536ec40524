"""Numbered images that the workers of a DataLoader read when they are needed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import Dataset

from musigma.data.image_files import strict
from musigma.data.in_order import InOrder
from musigma.data.normalization import normalized_by_place
from musigma.data.one_by_one import NO_EPOCH, OneByOne, Read, opened, together, with_workers
from musigma.data.steps import Parts, StepLoader
from musigma.seeding import FIXED_SEED, derive_seed, seed_everything
from workbench.errors import DataError

Key = tuple[int, int]
"""An epoch, and the place of an image in its set."""


@dataclass(eq=False, kw_only=True)
class Streamed(OneByOne, Dataset):  # type: ignore[type-arg]
    """A set of numbered images.

    What is random in an image is a function of (seed, epoch, image), whoever reads it.

    Args:
        get: the image and the label of a row of the source; raises DataError if there is none.
        rows: the rows of the source that are in this set, in order.
        is_random: true if `get` itself may draw.
    """

    get: Callable[[int], tuple[Tensor, int]]
    rows: Tensor
    is_random: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, mask: Tensor) -> Self:
        """The same with only those of its images."""
        return replace(self, rows=self.rows[mask])

    def some(self, count: int) -> Self:
        """The same with only its first images."""
        return replace(self, rows=self.rows[:count])

    def loader(self, **settings: Any) -> "StreamLoader":
        """Its loader."""
        return StreamLoader(self, **settings)

    def __getitems__(self, keys: Sequence[Key]) -> list[Read]:
        """Images and labels, or the error: raised, a worker would wrap it."""
        try:
            with isolate_rng(include_cuda=False), strict():
                return [self._item(*key) for key in keys]
        except DataError as error:
            return [error]

    def _item(self, epoch: int, row: int) -> tuple[Tensor, int]:
        is_training = epoch != NO_EPOCH
        if self.is_random or (self.augment and is_training):
            place = (self.seed, epoch, row) if is_training else (FIXED_SEED, row)
            seed_everything(derive_seed(*place))
        source = int(self.rows[row])
        image, label = self.get(source)
        return self.prepared(image, is_training, source), label


class StreamLoader(StepLoader):
    """Iterates over a `Streamed` set with worker processes; batches end on any device.

    The order, the pixels and the place to resume at are the same for any number of workers.

    Args:
        images: the set.
        is_training: augments images too.
        num_workers: how many processes read ahead; 0 for none.
        settings: the others of `BatchLoader`.

    Raises:
        ValueError: if there are fewer images than processes.
    """

    def __init__(
        self, images: Streamed, *, is_training: bool, num_workers: int, **settings: Any
    ) -> None:
        super().__init__(
            dataset=images,
            count=len(images),
            normalization=images.normalization,
            is_training=is_training,
            **settings,
        )
        self._keys = _Keys(self)
        self._loader = with_workers(
            images,
            num_workers,
            self.seed,
            batch_sampler=self._keys,
            persistent_workers=is_training and num_workers > 0,
        )

    def read(self, first: int) -> Iterator[Parts]:
        self._keys.first = first
        for rows, (x, y) in zip(self.rows(first), opened(self._loader), strict=True):
            yield x, y, rows

    def close(self) -> None:
        """End the worker processes that are kept between epochs.

        Garbage collection may take the queue that tells a worker to end before the worker: it then
        waits five seconds for each and kills it.
        """
        iterator, self._loader._iterator = self._loader._iterator, None
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]

    def images(self) -> "Evaluated":
        """All images, which are read as they are asked for."""
        return Evaluated(self)


class Evaluated(InOrder):
    """The numbered images of a loader, for evaluation."""

    def __init__(self, loader: StreamLoader) -> None:
        super().__init__(lambda: loader)
        self.dataset: Streamed = loader.dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def at(self, rows: Tensor) -> Tensor:
        """The images at some places, read in this process."""
        items = self.dataset.__getitems__([(NO_EPOCH, row) for row in rows.tolist()])
        ((found, _),) = opened([together(items)])
        return normalized_by_place(self.dataset.normalization, found, rows)


class _Keys:
    """The keys of each batch of an epoch, for a DataLoader."""

    def __init__(self, loader: StreamLoader) -> None:
        self.loader = loader
        self.first = 0

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.loader.sampler.epoch if self.loader.is_training else NO_EPOCH
        for rows in self.loader.rows(self.first):
            yield [(epoch, row) for row in rows.tolist()]
