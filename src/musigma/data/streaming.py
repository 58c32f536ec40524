"""Images with indices, which worker processes read when they are needed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import Dataset

from musigma.data.image_files import strict_pillow
from musigma.data.lazy_images import LazyImages
from musigma.data.normalization import normalized_by_index
from musigma.data.pixel_loader import Parts, PixelLoader
from musigma.data.workers import NO_EPOCH, Item, Stream, collate, raise_errors, worker_loader
from musigma.seeding import FIXED_SEED, derive_seed, seed_everything
from workbench.errors import DataError
from workbench.resumable_loaders import StepLoader

Key = tuple[int, int]
"""An epoch, and the index of an image in its set."""


@dataclass(eq=False, kw_only=True)
class IndexedStream(Stream, Dataset):  # type: ignore[type-arg]
    """A set of images with indices; random values are a function of (seed, epoch, image).

    Args:
        read: row of the source → image, uint8 `[C, H, W]`, and label; may raise DataError.
        rows: the rows of the source that form this set, in order.
        is_random: true if `read` may draw random values.
    """

    read: Callable[[int], tuple[Tensor, int]]
    rows: Tensor
    is_random: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, mask: Tensor) -> Self:
        return replace(self, rows=self.rows[mask])

    def first(self, count: int) -> Self:
        return replace(self, rows=self.rows[:count])

    def loader(self, **settings: Any) -> "StreamLoader":
        return StreamLoader(dataset=self, normalization=self.normalization, **settings)

    def __getitems__(self, keys: Sequence[Key]) -> list[Item]:
        """Images with labels, or an error: not raised, as workers wrap raised ones."""
        try:
            with isolate_rng(include_cuda=False), strict_pillow():
                return [self._item(*key) for key in keys]
        except DataError as error:
            return [error]

    def _item(self, epoch: int, index: int) -> tuple[Tensor, int]:
        is_training = epoch != NO_EPOCH
        if self.is_random or (self.augment and is_training):
            place = (self.seed, epoch, index) if is_training else (FIXED_SEED, index)
            seed_everything(derive_seed(*place))
        row = int(self.rows[index])
        image, label = self.read(row)
        return self.prepared(image, is_training, row), label


@dataclass(eq=False, kw_only=True)
class StreamLoader(PixelLoader, StepLoader):
    """Iterates over an `IndexedStream` with worker processes.

    Order, pixels and the step to resume at do not depend on the number of workers.

    Args:
        num_workers: the number of processes; 0 to read in this one.
    """

    num_workers: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keys = _KeySampler(self)
        self._loader = worker_loader(
            self.dataset,
            self.num_workers,
            self.seed,
            batch_sampler=self._keys,
            persistent_workers=self.is_training and self.num_workers > 0,
        )

    def read(self, first: int) -> Iterator[Parts]:
        self._keys.first = first
        for rows, (x, y) in zip(self.rows(first), raise_errors(self._loader), strict=True):
            yield x, y, rows

    def close(self) -> None:
        """End the worker processes that are kept between epochs.

        Garbage collection may free a worker's queue, which carries the order to end, before the
        worker; it would then wait five seconds for each worker and kill it.
        """
        iterator, self._loader._iterator = self._loader._iterator, None
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]

    def images(self) -> "IndexedLazyImages":
        """All images for evaluation, read when needed."""
        return IndexedLazyImages(self)


class IndexedLazyImages(LazyImages):
    """The images of a `StreamLoader`, any of which can be read by its index."""

    def __init__(self, loader: StreamLoader) -> None:
        super().__init__(lambda: loader)
        self.dataset: IndexedStream = loader.dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def at(self, rows: Tensor) -> Tensor:
        """The images with these indices, read in this process."""
        items = self.dataset.__getitems__([(NO_EPOCH, row) for row in rows.tolist()])
        ((found, _),) = raise_errors([collate(items)])
        return normalized_by_index(self.dataset.normalization, found, rows)


class _KeySampler:
    """The keys of each batch of an epoch, as batch sampler of a DataLoader."""

    def __init__(self, loader: StreamLoader) -> None:
        self.loader = loader
        self.first = 0

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.loader.sampler.epoch if self.loader.is_training else NO_EPOCH
        for rows in self.loader.rows(self.first):
            yield [(epoch, row) for row in rows.tolist()]
