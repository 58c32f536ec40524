"""Adapt LightningDataModules of any class to the interface of `ImageDataModule`."""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from musigma.data.batch import Batch, as_batch, parts_of
from musigma.data.datamodule import ImageDataModule
from musigma.data.lazy_images import LazyImages
from musigma.data.normalization import Normalization
from musigma.data.set_loaders import SetName
from musigma.data.unknown_normalization import UnknownNormalization
from musigma.seeding import FIXED_SEED, seed_everything
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.foreign_data import WrappedDataModule
from workbench.loader_workers import naming_lost_workers
from workbench.loaders import each_loader, has_batches


class ForeignDataModule(WrappedDataModule, ImageDataModule):
    """The images of a LightningDataModule of any class.

    Their shape is its `image_shape`, or else that of its first training batch.

    Args:
        inner: the data module.
    """

    def __init__(self, inner: L.LightningDataModule) -> None:
        WrappedDataModule.__init__(self, inner)
        self.source = "data module of your own"
        self.device = torch.device("cpu")
        self._first_batch: Batch | None = None
        self._sets, self.labels = {}, {}  # unknown

    @property
    def known_shape(self) -> ImageShape | None:
        """The shape of images that have been read, or else the data module's `image_shape`."""
        if self._first_batch is not None:
            return _shape(self._first_batch)
        declared = getattr(self.inner, "image_shape", None)
        return declared if declared is None else (declared[0], declared[1], declared[2])

    @property
    def image_shape(self) -> ImageShape:  # type: ignore[override]
        """Channels, height and width; reads a batch unless the data module declares them."""
        return self.known_shape or _shape(self.first_batch())

    @property
    def normalization(self) -> Normalization:  # type: ignore[override]
        """Unknown: pixels as the loader returns them."""
        return UnknownNormalization(self.first_batch().x)

    def first_batch(self) -> Batch:
        """The first batch of the training loader, on the CPU, the same in every run.

        Raises:
            DataError: if there is none, or it does not hold images.
        """
        if self._first_batch is None:
            self.prepare_data()
            self.setup("fit")
            with isolate_rng():
                seed_everything(FIXED_SEED)
                batch = next(self._raw_batches("train"), None)
            if batch is None:
                raise DataError(f"{self.name}: its training loader gives no batch")
            self._first_batch = _as_batch(batch, str(self.name))
        return self._first_batch

    def shortened(self, count: int) -> "ForeignDataModule":
        """Itself: the trainer limits the number of batches."""
        return self

    def evaluation_loader(self, name: SetName) -> Any:
        """The batches of a set, in the order of its loader; an empty list if it has none."""
        has_loader = name == "train" or self.defines(f"{name}_dataloader")
        return LazyImages(partial(self._batches, name)) if has_loader else []

    def first_images(self, count: int) -> tuple[Literal["train", "val"], Tensor, Tensor]:
        name: Literal["train", "val"] = "val" if has_batches(self.val_dataloader()) else "train"
        return name, *LazyImages(partial(self._batches, name)).tensors(count)

    def _training_pixels(self) -> Iterator[Tensor]:
        return (batch.x for batch in self._batches("train"))

    def _raw_batches(self, name: SetName) -> Iterator[Any]:
        """The batches of all loaders of a set, as they are returned."""
        with naming_lost_workers():
            yield from chain.from_iterable(each_loader(getattr(self, f"{name}_dataloader")()))

    def _batches(self, name: SetName) -> Iterator[Batch]:
        """The batches of a set, converted, on the data module's device, and the same each time."""
        row = 0
        with isolate_rng():
            seed_everything(FIXED_SEED)
            for batch in self._raw_batches(name):
                x, y, _ = _as_batch(batch, str(self.name))
                rows = torch.arange(row, row + len(x))
                row += len(x)
                yield Batch(x.to(self._device), y, rows)


def _as_batch(batch: Any, name: str) -> Batch:
    """Convert a batch of images of any shape."""
    x, *_ = parts_of(batch)
    if x.ndim != 4:
        raise DataError(
            f"{name}: a batch holds images of shape {list(x.shape)}, and should be "
            "[B, C, H, W]: channels, height, width"
        )
    return as_batch(batch, x.shape[1:], torch.float32)


def _shape(batch: Batch) -> ImageShape:
    _, channels, height, width = batch.x.shape
    return channels, height, width
