"""The LightningDataModule for data that fits in memory, the device's or the host's."""

import copy
from abc import abstractmethod
from typing import ClassVar, Literal

import lightning as L
import torch
from torch import Tensor

from musigma.data.batch import Batch
from musigma.data.loader import TensorLoader, place
from musigma.data.normalization import (
    NORMALIZATIONS,
    Means,
    Normalization,
    NormalizationName,
    Stds,
)
from musigma.data.splits import Size, split
from musigma.seeding import FIXED_SEED
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.ranges import Count, Seed, checked


class ImageDataModule(L.LightningDataModule):
    """Train, validation and test loaders over images held once, on the training device.

    If they would take more than half of a GPU's free memory they stay in the host's. A subclass
    reads the images in `read`, names their origin in `source`, and passes on the arguments that it
    does not name. Runs compare if the `name` of their data is the same.

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
            them; 0 for none. Data with a validation set of its own uses that one unchanged.
        seed: of the order of the training images and of what is random in their pixels.
    """

    resizes: ClassVar[bool] = False
    """True if image files of any size are scaled and cut to fit."""

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

        Images to evaluate are normalised here, so that random pixels are drawn once, the same
        in every run and on every machine.
        """
        prepare = self.normalization.prepare
        if stage == "test":
            if "test" not in self._sets:
                images, labels = self.read(train=False)
                self._keep("test", self._normalized(prepare(images)), labels)
        elif "train" not in self._sets:
            images, labels = self.read(train=True)
            images = prepare(images)
            if validation := self.read_validation():
                held_out, held_out_labels = validation
                held_out = prepare(held_out)
            else:
                what = f"{self.name}, data.val_size={self.val_size}"
                mask = split(len(images), self.val_size, what)
                held_out, held_out_labels = images[mask], labels[mask]
                images, labels = images[~mask], labels[~mask]
            self._keep("train", images, labels)
            self._keep("val", self._normalized(held_out), held_out_labels)

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
        """The first images held out, or if none are, to train on: their set, pixels and labels."""
        name: Literal["train", "val"] = "val" if len(self._sets["val"][0]) else "train"
        images, labels = (part[:count].to(self._device) for part in self._sets[name])
        return name, self._normalized(images) if name == "train" else images, labels

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Batches are on the device already."""
        return batch

    def _normalized(self, images: Tensor) -> Tensor:
        """As in every evaluation: with the same draws if they are random."""
        generator = torch.Generator(images.device).manual_seed(FIXED_SEED)
        return self.normalization(images, generator)

    def _keep(self, name: str, images: Tensor, labels: Tensor) -> None:
        if 0 < len(images) < self._processes:
            raise DataError(
                f"{self.name}: the {name} set has {len(images)} images, too few for "
                f"{self._processes} processes; set trainer.devices lower"
            )
        images = place(images, self._device)
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
