"""The LightningDataModule for data that fits in memory, the device's or the host's."""

import copy
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import lightning as L
import torch
from pydantic import Field
from torch import Tensor

from musigma.data.loader import Batch, TensorLoader
from musigma.data.normalization import (
    NORMALIZATIONS,
    Means,
    Normalization,
    NormalizationName,
    Stds,
)
from musigma.data.placement import placed
from musigma.seeding import FIXED_SEED
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.ranges import Count, Seed, checked

Size = Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)]
"""So many images, or such a share of all."""

NO_LABEL = -1
"""The label of an image that has none."""

TEST_SHARE = 0.1
"""Of images that are in no test set of their own, such a share is held out as one."""


class ImageDataModule(L.LightningDataModule):
    """Train, validation and test loaders over images held once, on the training device.

    Where they would take more than half of a GPU's free memory they stay in the host's. A subclass
    says where the images come from, in `read` and in a word in `source`, and hands on the arguments
    that it does not name. Runs compare where the `name` of their data is the same.

    Args:
        image_shape: channels, height and width.
        normalization: `standardize` for (x − mean) / std, `unit` for [0, 1], `dequantize`,
            `binarize_dynamic`, `binarize_static`; see `musigma.data.normalization`.
        mean: the mean of the training pixels on the [0, 1] scale, or that of each channel; for
            `standardize`.
        std: their standard deviation, likewise.
        batch_size: training images a step on each device.
        eval_batch_size: the same for validation and test.
        val_size: how many of the training images are held out for validation, or which share of
            them; 0 for none. Data with a validation set of its own takes that one, as it is.
        seed: of the order of the training images and of what is random in their pixels.

    Raises:
        ValueError: if a setting is out of range.
    """

    resizes: ClassVar[bool] = False
    """Whether image files of any size are made to fit."""

    @checked
    def __init__(
        self,
        *,
        image_shape: ImageShape,
        normalization: NormalizationName = "unit",
        mean: Means | None = None,
        std: Stds | None = None,
        batch_size: Count = 128,
        eval_batch_size: Count = 1000,
        val_size: Size = 0.1,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        for what, value in (("mean", mean), ("std", std)):
            if isinstance(value, list) and len(value) != image_shape[0]:
                raise ValueError(
                    f"{what} has {len(value)} numbers, and an image {image_shape[0]} channels"
                )
        self.name = type(self).__name__
        self.source = "files"
        self.normalization = NORMALIZATIONS[normalization](mean, std)
        self.image_shape = image_shape
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_size = val_size
        self.seed = seed
        self._sets: dict[str, tuple[Tensor, Tensor]] = {}

    @abstractmethod
    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]` of the training or the test set.

        Labels count from 0, and are all −1 where there are none.
        """

    def read_validation(self) -> tuple[Tensor, Tensor] | None:
        """The same of the data's own validation set; None where there is none, as by default."""
        return None

    def setup(self, stage: str) -> None:
        """Read what the stage needs, once; the test set only when it is time to test.

        Images to evaluate are normalised here, so that what is random in it is drawn once, and
        is the same in every run and on every machine.
        """
        if stage == "test":
            if "test" not in self._sets:
                self._keep("test", *self._prepared(*self.read(train=False)), normalized=True)
        elif "train" not in self._sets:
            images, labels = self._prepared(*self.read(train=True))
            if validation := self.read_validation():
                validation = self._prepared(*validation)
            else:
                what = f"{self.name}, data.val_size={self.val_size}"
                held_out = split(len(images), self.val_size, what)
                validation = images[held_out], labels[held_out]
                images, labels = images[~held_out], labels[~held_out]
            self._keep("train", images, labels)
            self._keep("val", *validation, normalized=True)

    def some(self, count: int) -> "ImageDataModule":
        """The same with only so many of the images that have been read, in two batches."""
        few = copy.copy(self)
        few.batch_size = min(self.batch_size, count // 2)
        few._sets = {name: (x[:count], y[:count]) for name, (x, y) in self._sets.items()}
        return few

    def mean_image(self) -> Tensor:
        """The mean of the training images as the model sees them, `[C, H, W]`, after `setup`."""
        images, _ = self._sets["train"]
        generator = torch.Generator(images.device).manual_seed(FIXED_SEED)
        chunks = images.split(5_000)
        sums = [self.normalization(chunk, generator).double().sum(0) for chunk in chunks]
        return (torch.stack(sums).sum(0) / len(images)).float()

    def train_dataloader(self) -> TensorLoader:
        """Shuffled anew each epoch, except where Lightning overfits a few batches."""
        overfit = getattr(self.trainer, "overfit_batches", 0)
        return self._loader("train", self.batch_size, self.normalization, shuffle=not overfit)

    def val_dataloader(self) -> TensorLoader | list[TensorLoader]:
        """The images held out, in a fixed order; an empty list where there are none."""
        return self._loader("val", self.eval_batch_size) if len(self._sets["val"][0]) else []

    def test_dataloader(self) -> TensorLoader:
        """The test images in their own order."""
        return self._loader("test", self.eval_batch_size)

    def evaluation_loader(self, name: Literal["train", "test"]) -> TensorLoader:
        """The images of a set as evaluation sees them: in their own order, normalised."""
        normalization = self.normalization if name == "train" else None
        return self._loader(name, self.eval_batch_size, normalization)

    def first_images(self, count: int) -> tuple[Literal["train", "val"], Tensor, Tensor]:
        """Images to look at in training: the set they are of, normalised pixels, and labels.

        They are the first that are held out, or where none are, the first to train on.
        """
        name: Literal["train", "val"] = "val" if len(self._sets["val"][0]) else "train"
        images, labels = (part[:count].to(self._device) for part in self._sets[name])
        if name == "train":
            generator = torch.Generator(images.device).manual_seed(FIXED_SEED)
            images = self.normalization(images, generator)
        return name, images, labels

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Nothing to do: batches are made where they are used."""
        return batch

    def _prepared(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.normalization.prepare(images), labels

    def _keep(self, name: str, images: Tensor, labels: Tensor, normalized: bool = False) -> None:
        if 0 < len(images) < self._processes:
            raise DataError(
                f"{self.name}: the {name} set has {len(images)} images, too few for "
                f"{self._processes} processes; set trainer.devices lower"
            )
        if normalized:
            images = self.normalization(images, torch.Generator().manual_seed(FIXED_SEED))
        images = placed(images, self._device)
        self._sets[name] = images, labels.to(images.device)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @property
    def _processes(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _loader(
        self,
        name: str,
        batch_size: int,
        normalization: Normalization | None = None,
        shuffle: bool = False,
    ) -> TensorLoader:
        images, labels = self._sets[name]
        return TensorLoader(
            images,
            labels,
            batch_size=batch_size,
            normalization=normalization,
            seed=self.seed,
            shuffle=shuffle,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self._processes,
            device=self._device,
        )


def split(count: int, size: Size, what: str = "the data") -> Tensor:
    """Which of `count` images are held out: a mask `[count]`, the same for every seed.

    Raises:
        DataError: if nothing would be left to train on; says of what.
    """
    held_out = size if isinstance(size, int) else max(1, round(size * count))
    if held_out >= count:
        raise DataError(f"{what}: holding out {held_out} images leaves none of {count} to train on")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(FIXED_SEED))
    mask = torch.zeros(count, dtype=torch.bool)
    mask[order[:held_out]] = True
    return mask
