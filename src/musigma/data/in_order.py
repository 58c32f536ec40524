"""Images that can only be read from the first to the last."""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from musigma.data.batch import Batch
from musigma.data.image_files import strict
from musigma.data.loader import to_device
from musigma.data.normalization import Normalization, normalized_by_place
from musigma.data.steps import Order
from musigma.data.streaming import NO_EPOCH, augmented, begin_worker
from musigma.seeding import FIXED_SEED, PIXELS, derive_seed, seed_everything
from workbench.errors import DataError, UserError, one_line

log = logging.getLogger(__name__)

Read = Callable[[Any, int], tuple[Tensor, int]]
"""An item of a data set, and its number → its image, uint8 `[C, H, W]`, and its label."""


class InOrder:
    """The images of evaluation batches that come in one order; no more than a batch is held.

    Args:
        batches: begins anew each time.
    """

    def __init__(self, batches: Callable[[], Iterable[Batch]]) -> None:
        self._batches = batches
        self._count: int | None = None

    def __len__(self) -> int:
        """The number of images, which are counted once."""
        if self._count is None:
            self._count = sum(len(batch.x) for batch in self._batches())
        return self._count

    def batches(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, so many at once at most, with their labels."""
        for batch in self._batches():
            yield from zip(batch.x.split(most), batch.y.split(most), strict=True)

    def at(self, rows: Tensor) -> Tensor:
        """The images at some places, for which all before them are read."""
        found: dict[int, Tensor] = {}
        wanted, first = set(rows.tolist()), 0
        for batch in self._batches():
            here = range(first, first + len(batch.x))
            found |= {row: batch.x[row - first] for row in wanted.intersection(here)}
            first = here.stop
            if len(found) == len(wanted):
                break
        return torch.stack([found[row] for row in rows.tolist()])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images and their labels, in memory."""
        images, labels = zip(*((batch.x, batch.y) for batch in self._batches()), strict=True)
        return torch.cat(images), torch.cat(labels)


class Iterated(IterableDataset):  # type: ignore[type-arg]
    """A set of images without a length.

    What is random in them is a function of (seed, epoch, worker).

    Args:
        dataset: is iterated over in each epoch anew; with several workers in each of them.
        read: what its items are.
        normalization: prepares images.
        augment: transforms of training images, of their shape again and uint8.
        seed: of what is random in training images.
    """

    def __init__(
        self,
        dataset: Iterable[Any],
        read: Read,
        normalization: Normalization,
        *,
        augment: Sequence[Callable[[Tensor], Tensor]] = (),
        seed: int = 0,
    ) -> None:
        self.dataset = dataset
        self.read = read
        self.normalization = normalization
        self.augment = augment
        self.seed = seed
        self.most: int | None = None
        self.epoch = NO_EPOCH

    def some(self, count: int) -> Self:
        """The same with only its first images."""
        part = copy.copy(self)
        part.most = count
        return part

    def __iter__(self) -> Iterator[tuple[Tensor, int] | DataError]:
        """Images with their labels, or the error: raised, a worker would wrap it."""
        worker = get_worker_info()
        number = worker.id if worker else 0
        is_training = self.epoch != NO_EPOCH
        place = (self.seed, self.epoch, number) if is_training else (FIXED_SEED, number)
        seed_everything(derive_seed(*place))
        try:
            with strict():
                for index, item in enumerate(islice(self.dataset, self.most)):
                    image, label = self.read(item, index)
                    if is_training:
                        image = augmented(image, self.augment)
                    if self.normalization.is_drawn_once:
                        seed = derive_seed(FIXED_SEED, number, index)
                        image = self.normalization.prepare(image.unsqueeze(0), seed)[0]
                    yield image, label
        except DataError as error:
            yield error
        except UserError:
            raise
        except Exception as error:  # of somebody else's class
            what = f"{type(error).__name__}: {one_line(error)}"
            yield DataError(f"data.dataset: cannot be read on: {what}")


class IteratedLoader:
    """Iterates over an `Iterated` set with worker processes; it has no length.

    Resumed in the middle of an epoch it reads again what it has read, and continues from there.

    Args:
        images: the set.
        batch_size: images a step; the last batch is smaller.
        is_training: augments images, and draws random pixels anew each epoch.
        num_workers: the processes; each iterates over the data set, which has to share itself out.
        seed: of what is random in training.
        device: where batches are wanted.
    """

    def __init__(
        self,
        images: Iterated,
        *,
        batch_size: int,
        is_training: bool,
        num_workers: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.dataset = images
        self.batch_size = batch_size
        self.is_training = is_training
        self.num_workers = max(1, num_workers)  # whose generators are their own
        self.seed = seed
        self.device = device
        self.sampler = Order(0, None)
        self.batch_sampler = None  # Lightning asks for it
        self.generator = torch.Generator(device)
        self._next_step = 0
        self._loaded: dict[str, Any] = {}

    def __iter__(self) -> Iterator[Batch]:
        loaded, self._loaded = self._loaded, {}
        epoch = self.sampler.epoch
        first = int(loaded["next_step"]) if loaded.get("epoch") == epoch else 0
        images = copy.copy(self.dataset)
        images.epoch = epoch if self.is_training else NO_EPOCH
        loader: DataLoader[Any] = DataLoader(
            images,
            batch_size=self.batch_size,
            num_workers=1 if images.most else self.num_workers,
            collate_fn=_together,
            worker_init_fn=begin_worker,
            generator=torch.Generator().manual_seed(self.seed),
        )
        row = 0
        for step, found in enumerate(loader):
            if isinstance(found, DataError):
                raise found
            x, y = found
            rows = torch.arange(row, row + len(x))
            row += len(x)
            # Lightning fetches a batch ahead of what has no length, so this one is not trained yet.
            self._next_step = step
            if step < first:
                continue
            pixels = self._pixels(to_device(x, self.device), rows, step)
            yield Batch(pixels, to_device(y, self.device), None)
        self._next_step += 1

    def images(self) -> InOrder:
        """All images, which are read as they are asked for."""
        return InOrder(lambda: self)

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """The first images as they are evaluated, and their labels."""
        few = copy.copy(self)
        few.dataset, few._loaded = self.dataset.some(count), {}
        return few.images().tensors()

    def state_dict(self) -> dict[str, Any]:
        """Epoch and next step."""
        return {"epoch": self.sampler.epoch, "next_step": self._next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Start the next iteration at a saved place."""
        self._loaded = state

    def _pixels(self, images: Tensor, rows: Tensor, step: int) -> Tensor:
        normalization = self.dataset.normalization
        if not self.is_training:
            return normalized_by_place(normalization, images, rows)
        self.generator.manual_seed(derive_seed(self.seed, 0, self.sampler.epoch, step, PIXELS))
        return normalization(images, self.generator)


def _together(found: list[Any]) -> Any:
    """A batch of what a worker has read, or the error that it met."""
    if error := next((item for item in found if isinstance(item, DataError)), None):
        return error
    images, labels = zip(*found, strict=True)
    return torch.stack(images), torch.tensor(labels)
