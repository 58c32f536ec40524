"""Images that are read when they are wanted, by the workers of a DataLoader."""

import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from musigma.data.image_files import strict
from musigma.data.in_order import InOrder
from musigma.data.normalization import Normalization, normalized_by_place
from musigma.data.steps import StepLoader
from musigma.seeding import FIXED_SEED, derive_seed, seed_everything
from workbench.errors import DataError

NO_EPOCH = -1
"""The epoch of images that are not augmented."""

MOST_WORKERS = 8
DIES_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""

Key = tuple[int, int]
"""An epoch, and the place of an image in its set."""

Read = tuple[Tensor, int] | DataError
"""An image with its label, or the error that a worker met."""


@dataclass(eq=False, kw_only=True)
class OneByOne:
    """The base of sets of images that workers read one by one, `[C, H, W]` uint8 with a label each.

    Args:
        normalization: prepares images.
        augment: transforms of training images, of their shape again and uint8.
        seed: of what is random in training images.
    """

    normalization: Normalization
    augment: Sequence[Callable[[Tensor], Tensor]] = ()
    seed: int = 0

    def prepared(self, image: Tensor, is_training: bool, *place: int) -> Tensor:
        """An image as a loader gets it: augmented, and drawn once by its place in the source.

        Raises:
            DataError: if a transform changes its shape or type.
        """
        if is_training:
            image = _augmented(image, self.augment)
        if self.normalization.is_drawn_once:
            seed = derive_seed(FIXED_SEED, *place)
            image = self.normalization.prepare(image.unsqueeze(0), seed)[0]
        return image


@dataclass(eq=False, kw_only=True)
class Streamed(OneByOne, Dataset):  # type: ignore[type-arg]
    """A set of images that have places.

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

    def read(self, first: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        self._keys.first = first
        for rows, (x, y) in zip(self.rows(first), opened(self._loader), strict=True):
            yield x, y, rows

    def close(self) -> None:
        """End the worker processes that are kept between epochs.

        Left to garbage collection, each would be waited for five seconds, as the queue that tells
        it to end may be collected first, and be killed.
        """
        iterator, self._loader._iterator = self._loader._iterator, None
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]

    def images(self) -> "Evaluated":
        """All images, which are read as they are asked for."""
        return Evaluated(self)


class Evaluated(InOrder):
    """The images of a loader for evaluation, which have places."""

    def __init__(self, loader: StreamLoader) -> None:
        super().__init__(lambda: loader)
        self.dataset: Streamed = loader.dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def at(self, rows: Tensor) -> Tensor:
        """The images at some places, read in this process."""
        items = self.dataset.__getitems__([(NO_EPOCH, row) for row in rows.tolist()])
        ((found, _),) = opened([_together(items)])
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


def with_workers(images: Any, num_workers: int, seed: int, **settings: Any) -> DataLoader[Any]:
    """A DataLoader whose batches `opened` opens."""
    return DataLoader(
        images,
        num_workers=num_workers,
        collate_fn=_together,
        worker_init_fn=_begin_worker,
        # Its own generator: seeds of workers are not drawn from torch's.
        generator=torch.Generator().manual_seed(seed),
        **settings,
    )


def opened(found: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """The images `[B, C, H, W]` and labels `[B]` that workers read.

    Raises:
        DataError: if one met an error, or was killed.
    """
    try:
        for batch in found:
            if isinstance(batch, DataError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            f"a worker that reads images was killed ({error}), maybe for want of memory: set "
            "data.num_workers or data.eval_batch_size lower"
        ) from error


def default_workers() -> int:
    """The cores that this process may use, and not more than read images faster."""
    cores = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return min(len(cores), MOST_WORKERS)


def _augmented(image: Tensor, augment: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    shape = image.shape
    for transform in augment:
        image = transform(image)
    if image.shape != shape or image.dtype != torch.uint8:
        raise DataError(
            f"data.augment makes images of {shape[0]} × {shape[1]} × {shape[2]} ones of "
            f"{' × '.join(map(str, image.shape))}, {image.dtype}; they should keep their "
            "shape and stay uint8: data.normalization comes after it"
        )
    return image


def _together(items: list[Read]) -> tuple[Tensor, Tensor] | DataError:
    """A batch of what a worker has read, or the error that it met."""
    if error := next((item for item in items if isinstance(item, DataError)), None):
        return error
    images, labels = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(labels)


def _begin_worker(_: int) -> None:
    """Let the main process decide when to stop, and do not outlive it.

    Garbage of the main process is left to it: other workers may be among it, which only their
    parent can end, and to collect it would copy its memory.
    """
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])):
        signal.signal(number, signal.SIG_DFL)
    assert get_worker_info() is not None
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
