"""LightningDataModules of the user's own class, in the form of this project's."""

import logging
import math
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from musigma.data.batch import Batch, as_batch, parts_of
from musigma.data.datamodule import ImageDataModule, SetName
from musigma.data.in_order import InOrder
from musigma.data.normalization import Normalization
from musigma.objectives.likelihoods import Pixels
from musigma.seeding import FIXED_SEED, seed_everything
from musigma.shapes import ImageShape
from workbench.errors import DataError, one_line

log = logging.getLogger(__name__)

SOURCE = "data module of your own"


class AsTheyCome(Normalization):
    """Pixels as a loader gives them: whatever made them is not known here.

    The scale of pixels beyond [0, 1] is not known: what speaks of [0, 1] pixels (PSNR, densities on
    the common scale) is not a number, and they are shown from the smallest to the largest.

    Args:
        x: the first batch.
    """

    def __init__(self, x: Tensor) -> None:
        self.low, self.high = x.min().item(), x.max().item()
        is_unit = self.low >= 0 and self.high <= 1
        is_binary = bool(((x == 0) | (x == 1)).all())
        self.kind: Pixels = "binary" if is_binary else "unit" if is_unit else "real"

    @property
    def pixels(self) -> Pixels:  # type: ignore[override]
        """The kind of the pixels in the first batch."""
        return self.kind

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Grey levels of images from elsewhere, scaled as the data are if that is to [0, 1]."""
        if self.kind == "unit":
            return images.float().div_(255)
        raise DataError(
            "a data module of your own normalises its images itself, in a way that is not known "
            "here: add these images to its data"
        )

    def to_unit(self, x: Tensor) -> Tensor:
        return torch.full_like(x, math.nan) if self.kind == "real" else x

    def shown(self, x: Tensor) -> Tensor:
        if self.kind == "real":
            x = (x - self.low) / max(self.high - self.low, 1e-12)
        return x.clamp(0, 1)

    def log_unit_volume(self) -> float:
        return math.nan if self.kind == "real" else 0.0


def _of_inner(hook: str) -> Any:
    """A hook that calls the inner data module's hook of that name."""

    def call(self: "ForeignDataModule", *given: Any, **named: Any) -> Any:
        return getattr(self.inner, hook)(*given, **named)

    return call


class ForeignDataModule(ImageDataModule):
    """Wraps a LightningDataModule of any class, and passes on its loaders and hooks.

    The shape of the images is its `image_shape`, if it has one, and else that of its first training
    batch. What it draws in `prepare_data` and `setup`, such as a split, is the same in every run.

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
        self.is_prepared = False  # while jobs are checked, when its data may not be read
        self._stages: set[str] = set()
        self._first: Batch | None = None
        self.labels = {}  # not known before they are read
        self._sets = {}

    def __getattr__(self, name: str) -> Any:
        """An attribute of the data module itself, such as `trainer.datamodule.num_classes`."""
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
        """The shape that the data module says it has, or that of images that have been read."""
        if self._first is not None:
            return _shape(self._first.x)
        said = getattr(self.inner, "image_shape", None)
        return said if said is None else (said[0], said[1], said[2])

    @property
    def image_shape(self) -> ImageShape:  # type: ignore[override]
        """Channels, height and width; reads a batch if the data module does not say."""
        return self.known_shape or _shape(self.first_batch().x)

    @property
    def normalization(self) -> Normalization:  # type: ignore[override]
        """Pixels as they come."""
        return AsTheyCome(self.first_batch().x)

    def first_batch(self) -> Batch:
        """The first batch of a training loader, on the CPU.

        Raises:
            DataError: if there is none, or it does not hold images.
        """
        if self._first is None:
            self.prepare_data()
            self.setup("fit")
            with isolate_rng():
                found = next(iter(self._loaders("train")), None)
            if found is None:
                raise DataError(f"{self.name}: its training loader gives no batch")
            self._first = _batch(found, str(self.name))
        return self._first

    def prepare_data(self) -> None:
        if not self.is_prepared:
            self._seeded(self.inner.prepare_data)
            self.is_prepared = True

    def setup(self, stage: str) -> None:
        if stage not in self._stages:
            self._stages.add(stage)
            self._seeded(self.inner.setup, stage)

    def some(self, count: int) -> "ForeignDataModule":
        """The same: a trainer's limits shorten it."""
        return self

    def train_dataloader(self) -> Any:
        if (found := self.inner.train_dataloader()) is None:
            raise DataError(f"{self.name}.train_dataloader gives no loader; return one")
        return found

    def val_dataloader(self) -> Any:
        return self._own("val_dataloader")

    def test_dataloader(self) -> Any:
        if not self._has("test_dataloader"):
            log.info("%s has no test_dataloader: nothing is tested", self.name)
        return self._own("test_dataloader")

    def predict_dataloader(self) -> Any:
        own = "predict_dataloader" if self._has("predict_dataloader") else "test_dataloader"
        return self._own(own)

    def evaluation_loader(self, name: SetName) -> Any:
        """The batches of a set, in the order of its loader; an empty list where there is none."""
        hook = {"val": "val_dataloader", "test": "test_dataloader"}.get(name)
        return [] if hook and not self._has(hook) else InOrder(partial(self._batches, name))

    def first_images(self, count: int) -> tuple[Literal["train", "val"], Tensor, Tensor]:
        # One without a length has none of 0 either.
        name: Literal["train", "val"] = "val" if sized_len(self.val_dataloader()) != 0 else "train"
        images, labels = [], []
        for batch in self._batches(name):
            images.append(batch.x)
            labels.append(batch.y)
            if sum(map(len, images)) >= count:
                break
        device = self._device
        return name, torch.cat(images)[:count].to(device), torch.cat(labels)[:count].to(device)

    teardown = _of_inner("teardown")
    on_exception = _of_inner("on_exception")
    transfer_batch_to_device = _of_inner("transfer_batch_to_device")
    on_before_batch_transfer = _of_inner("on_before_batch_transfer")
    on_after_batch_transfer = _of_inner("on_after_batch_transfer")
    state_dict = _of_inner("state_dict")
    load_state_dict = _of_inner("load_state_dict")

    def _seeded(self, function: Any, *arguments: str) -> None:
        with isolate_rng():
            seed_everything(FIXED_SEED)
            try:
                function(*arguments)
            except (OSError, RuntimeError) as error:  # as torchvision raises of files not there
                what = f"{type(error).__name__}: {one_line(error)}"
                raise DataError(f"{self.name}.{function.__name__}: {what}") from error

    def _has(self, hook: str) -> bool:
        return is_overridden(hook, self.inner, L.LightningDataModule)

    def _own(self, hook: str) -> Any:
        found = getattr(self.inner, hook)() if self._has(hook) else None
        return [] if found is None else found

    def _loaders(self, name: SetName) -> Iterator[Any]:
        """The batches of a set, of all of its loaders."""
        loaders = {"train": self.train_dataloader, "val": self.val_dataloader}
        found = loaders.get(name, self.test_dataloader)()
        yield from chain.from_iterable(found if isinstance(found, list | tuple) else [found])

    def _batches(self, name: SetName) -> Iterator[Batch]:
        """The batches of a set as ours, on the data module's device, drawn alike each time."""
        row = 0
        with isolate_rng():
            seed_everything(FIXED_SEED)
            for found in self._loaders(name):
                x, y, _ = _batch(found, str(self.name))
                rows = torch.arange(row, row + len(x))
                row += len(x)
                yield Batch(x.to(self._device), y, rows)


def _batch(found: Any, name: str) -> Batch:
    """A batch of any loader as ours, of whatever shape its images have."""
    x, *_ = parts_of(found)
    if x.ndim != 4:
        raise DataError(
            f"{name}: a batch holds images of the shape {list(x.shape)}, and a model of images "
            "takes [B, C, H, W]: channels, height, width"
        )
    return as_batch(found, x.shape[1:], torch.float32)


def _shape(x: Tensor) -> ImageShape:
    _, channels, height, width = x.shape
    return channels, height, width
