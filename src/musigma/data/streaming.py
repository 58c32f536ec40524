"""Images that are read when they are wanted, by the workers of a DataLoader."""

import contextlib
import copy
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from musigma.data.batch import Batch
from musigma.data.image_files import strict
from musigma.data.loader import to_device
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


class Streamed(Dataset):  # type: ignore[type-arg]
    """A set of images that are read one by one, `[C, H, W]` uint8 with a label each.

    What is random in an image is a function of (seed, epoch, image), whoever reads it.

    Args:
        get: the image and the label of a row of the source; raises DataError if there is none.
        rows: the rows of the source that are in this set, in order.
        normalization: prepares images.
        augment: transforms of training images, of their shape again and uint8.
        seed: of what is random in training images.
        is_random: true if `get` itself may draw.
    """

    def __init__(
        self,
        get: Callable[[int], tuple[Tensor, int]],
        rows: Tensor,
        normalization: Normalization,
        *,
        augment: Sequence[Callable[[Tensor], Tensor]] = (),
        seed: int = 0,
        is_random: bool = False,
    ) -> None:
        self.get = get
        self.is_random = is_random
        self.rows = rows
        self.normalization = normalization
        self.augment = augment
        self.seed = seed
        self._first: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, mask: Tensor | slice) -> Self:
        """The same with only those of its images."""
        part = copy.copy(self)
        part.rows, part._first = self.rows[mask], None
        return part

    def some(self, count: int) -> Self:
        """The same with only its first images."""
        return self.only(slice(count))

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """The first images and their labels, which are kept."""
        if self._first is None or len(self._first[0]) < min(count, len(self)):
            keys = [(NO_EPOCH, row) for row in range(min(count, len(self)))]
            self._first = opened(self.__getitems__(keys))
        images, labels = self._first
        return images[:count], labels[:count]

    def __getitems__(self, keys: Sequence[Key]) -> tuple[Tensor, Tensor] | DataError:
        """Images `[B, C, H, W]` and labels `[B]`, or the error: raised, a worker would wrap it."""
        try:
            with isolate_rng(include_cuda=False), strict():
                items = [self._item(*key) for key in keys]
        except DataError as error:
            return error
        images, labels = zip(*items, strict=True)
        return torch.stack(images), torch.tensor(labels)

    def _item(self, epoch: int, row: int) -> tuple[Tensor, int]:
        if self.is_random or (self.augment and epoch != NO_EPOCH):
            place = (FIXED_SEED, row) if epoch == NO_EPOCH else (self.seed, epoch, row)
            seed_everything(derive_seed(*place))
        source = int(self.rows[row])
        image, label = self.get(source)
        if epoch != NO_EPOCH:
            image = augmented(image, self.augment)
        if self.normalization.is_drawn_once:
            seed = derive_seed(FIXED_SEED, source)
            image = self.normalization.prepare(image.unsqueeze(0), seed)[0]
        return image, label


def augmented(image: Tensor, augment: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """An image through transforms, of its shape again and uint8.

    Raises:
        DataError: if it is not.
    """
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


class StreamLoader(StepLoader):
    """Iterates over a `Streamed` set with worker processes; batches end on any device.

    The order, the pixels and the place to resume at are the same for any number of workers.

    Args:
        images: the set.
        is_training: augments images, and draws random pixels anew each epoch; otherwise pixels are
            a function of an image's place.
        num_workers: how many processes read ahead; 0 for none.
        device: where batches are wanted.
        steps: the others of `StepLoader`.

    Raises:
        ValueError: if there are fewer images than processes.
    """

    def __init__(
        self,
        images: Streamed,
        *,
        is_training: bool,
        num_workers: int,
        device: torch.device,
        **steps: Any,
    ) -> None:
        super().__init__(len(images), **steps)
        self.dataset = images
        self.is_training = is_training
        self.device = device
        self.generator = torch.Generator(device)
        self._keys = _Keys(self)
        self._loader: DataLoader[Any] = DataLoader(
            images,
            batch_sampler=self._keys,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            worker_init_fn=begin_worker,
            persistent_workers=is_training and num_workers > 0,
            # Its own generator: seeds of workers are not drawn from torch's.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def __iter__(self) -> Iterator[Batch]:
        first = self._keys.first = self.first_step()
        try:
            for step, (rows, found) in enumerate(
                zip(self.rows(first), self._loader, strict=True), first
            ):
                self._next_step = step + 1
                x, y, row = (to_device(part, self.device) for part in (*opened(found), rows))
                yield Batch(self._pixels(x, row, step), y, row)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                f"a worker that reads images was killed ({error}), maybe for want of memory: set "
                "data.num_workers or data.eval_batch_size lower"
            ) from error

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

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images as they are evaluated, and their labels: in memory."""
        batches = [(batch.x, batch.y) for batch in self]
        images, labels = zip(*batches, strict=True)
        return torch.cat(images), torch.cat(labels)

    def _pixels(self, images: Tensor, rows: Tensor, step: int) -> Tensor:
        normalization = self.dataset.normalization
        if not self.is_training:
            return normalized_by_place(normalization, images, rows)
        if normalization.is_random:
            self.generator.manual_seed(self.pixel_seed(step))
        return normalization(images, self.generator)


class Evaluated:
    """The images of a loader for evaluation; no more than a batch of them is held."""

    def __init__(self, loader: StreamLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader.dataset)

    def batches(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, so many at once at most, with their labels."""
        for batch in self.loader:
            yield from zip(batch.x.split(most), batch.y.split(most), strict=True)

    def at(self, rows: Tensor) -> Tensor:
        """The images at some places, read in this process."""
        images = self.loader.dataset
        found, _ = opened(images.__getitems__([(NO_EPOCH, row) for row in rows.tolist()]))
        return normalized_by_place(images.normalization, found, rows)


class Items:
    """Rows of two tensors in memory, images and labels."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __call__(self, row: int) -> tuple[Tensor, int]:
        return self.images[row], int(self.labels[row])


class _Keys:
    """The keys of each batch of an epoch, for a DataLoader."""

    def __init__(self, loader: StreamLoader) -> None:
        self.loader = loader
        self.first = 0

    def __len__(self) -> int:
        return len(self.loader) - self.first

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.loader.sampler.epoch if self.loader.is_training else NO_EPOCH
        for rows in self.loader.rows(self.first):
            yield [(epoch, row) for row in rows.tolist()]


def default_workers() -> int:
    """The cores that this process may use, and not more than read images faster."""
    cores = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return min(len(cores), MOST_WORKERS)


def opened(found: tuple[Tensor, Tensor] | DataError) -> tuple[Tensor, Tensor]:
    """The images and labels that a worker read; raises the error that it met."""
    if isinstance(found, DataError):
        raise found
    return found


def _as_it_is(found: Any) -> Any:
    return found


def begin_worker(_: int) -> None:
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
