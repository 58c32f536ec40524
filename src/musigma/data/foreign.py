"""Adapt LightningDataModules of any class to the interface of `ImageDataModule`."""

import logging
import math
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from musigma.data.batch import Batch, as_batch, parts_of
from musigma.data.datamodule import ImageDataModule, SetName
from musigma.data.lazy_images import LazyImages
from musigma.data.normalization import Normalization
from musigma.seeding import FIXED_SEED, seed_everything
from musigma.shapes import ImageShape
from workbench.errors import DataError, one_line
from workbench.loaders import each_loader, has_batches

log = logging.getLogger(__name__)

SOURCE = "data module of your own"


class UnknownNormalization(Normalization):
    """Pixels as a loader returns them, normalised in an unknown way.

    For pixels outside [0, 1], metrics on the [0, 1] scale (PSNR, densities on the common scale) are
    NaN, and images are shown with the range of the first batch mapped to [0, 1].

    Args:
        x: the first batch.
    """

    def __init__(self, x: Tensor) -> None:
        self._low, self._high = x.min().item(), x.max().item()
        is_unit = self._low >= 0 and self._high <= 1
        is_binary = bool(((x == 0) | (x == 1)).all())
        self.pixels = "binary" if is_binary else "unit" if is_unit else "real"

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scale grey levels of other images to [0, 1], if the pixels of the data are there."""
        if self.pixels == "unit":
            return images.float().div_(255)
        raise DataError(
            "how your data module normalises its images is not known, so other images cannot be "
            "normalised like them: add them to its data"
        )

    def to_unit(self, x: Tensor) -> Tensor:
        return torch.full_like(x, math.nan) if self.pixels == "real" else x

    def shown(self, x: Tensor) -> Tensor:
        if self.pixels == "real":
            x = (x - self._low) / max(self._high - self._low, 1e-12)
        return x.clamp(0, 1)

    def log_unit_volume(self) -> float:
        return math.nan if self.pixels == "real" else 0.0


def _forward(hook: str) -> Any:
    """A hook that calls the wrapped data module's hook of that name."""

    def call(self: "ForeignDataModule", *args: Any, **kwargs: Any) -> Any:
        return getattr(self.inner, hook)(*args, **kwargs)

    return call


class ForeignDataModule(ImageDataModule):
    """Wraps a LightningDataModule of any class, and forwards its loaders and hooks.

    The shape of the images is its `image_shape`, or else that of its first training batch. Random
    values that it draws in `prepare_data` and `setup`, for a split say, are the same in every run.

    Args:
        inner: the data module.
    """

    def __init__(self, inner: L.LightningDataModule) -> None:
        self.inner = inner
        L.LightningDataModule.__init__(self)
        self.name = type(inner).__name__
        self.source = SOURCE
        self.device = torch.device("cpu")
        self.prepare_data_per_node = inner.prepare_data_per_node
        self._log_hyperparams = inner._log_hyperparams = False
        self.is_prepared = False  # data are not read while jobs are checked
        self._stages: set[str] = set()
        self._first_batch: Batch | None = None
        self.labels = {}  # unknown
        self._sets = {}

    def __getattr__(self, name: str) -> Any:
        """An attribute of the wrapped data module, such as `trainer.datamodule.num_classes`."""
        if name in ("inner", "__setstate__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def trainer(self) -> Any:
        """The Trainer of both data modules."""
        return self.inner.trainer

    @trainer.setter
    def trainer(self, trainer: Any) -> None:
        self.inner.trainer = trainer

    @property
    def known_shape(self) -> ImageShape | None:
        """The shape of images that have been read, or else the data module's `image_shape`."""
        if self._first_batch is not None:
            return _shape(self._first_batch.x)
        declared = getattr(self.inner, "image_shape", None)
        return declared if declared is None else (declared[0], declared[1], declared[2])

    @property
    def image_shape(self) -> ImageShape:  # type: ignore[override]
        """Channels, height and width; reads a batch unless the data module declares them."""
        return self.known_shape or _shape(self.first_batch().x)

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

    def prepare_data(self) -> None:
        if not self.is_prepared:
            self._call_seeded(self.inner.prepare_data)
            self.is_prepared = True

    def setup(self, stage: str) -> None:
        if stage not in self._stages:
            self._stages.add(stage)
            self._call_seeded(self.inner.setup, stage)

    def shortened(self, count: int) -> "ForeignDataModule":
        """Itself: the trainer limits the number of batches."""
        return self

    def train_dataloader(self) -> Any:
        if (loader := self.inner.train_dataloader()) is None:
            raise DataError(f"{self.name}.train_dataloader returns no loader; return one")
        return loader

    def val_dataloader(self) -> Any:
        return self._optional_loader("val_dataloader")

    def test_dataloader(self) -> Any:
        if not self._defines("test_dataloader"):
            log.info("%s has no test_dataloader: nothing is tested", self.name)
        return self._optional_loader("test_dataloader")

    def predict_dataloader(self) -> Any:
        has_own = self._defines("predict_dataloader")
        return self._optional_loader("predict_dataloader" if has_own else "test_dataloader")

    def evaluation_loader(self, name: SetName) -> Any:
        """The batches of a set, in the order of its loader; an empty list if it has none."""
        has_loader = name == "train" or self._defines(f"{name}_dataloader")
        return LazyImages(partial(self._batches, name)) if has_loader else []

    def first_images(self, count: int) -> tuple[Literal["train", "val"], Tensor, Tensor]:
        name: Literal["train", "val"] = "val" if has_batches(self.val_dataloader()) else "train"
        images, labels = [], []
        for batch in self._batches(name):
            images.append(batch.x)
            labels.append(batch.y)
            if sum(map(len, images)) >= count:
                break
        device = self._device
        return name, torch.cat(images)[:count].to(device), torch.cat(labels)[:count].to(device)

    teardown = _forward("teardown")
    on_exception = _forward("on_exception")
    transfer_batch_to_device = _forward("transfer_batch_to_device")
    on_before_batch_transfer = _forward("on_before_batch_transfer")
    on_after_batch_transfer = _forward("on_after_batch_transfer")
    state_dict = _forward("state_dict")
    load_state_dict = _forward("load_state_dict")

    def _call_seeded(self, function: Any, *arguments: str) -> None:
        """Call a hook with a fixed seed; errors of files are raised as DataErrors."""
        with isolate_rng():
            seed_everything(FIXED_SEED)
            try:
                function(*arguments)
            except (OSError, RuntimeError) as error:  # torchvision raises it for missing files
                what = f"{type(error).__name__}: {one_line(error)}"
                raise DataError(f"{self.name}.{function.__name__}: {what}") from error

    def _defines(self, hook: str) -> bool:
        return is_overridden(hook, self.inner, L.LightningDataModule)

    def _optional_loader(self, hook: str) -> Any:
        loader = getattr(self.inner, hook)() if self._defines(hook) else None
        return [] if loader is None else loader

    def _raw_batches(self, name: SetName) -> Iterator[Any]:
        """The batches of all loaders of a set, as they are returned."""
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


def _shape(x: Tensor) -> ImageShape:
    _, channels, height, width = x.shape
    return channels, height, width
