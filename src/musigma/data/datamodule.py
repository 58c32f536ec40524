"""The base class of data modules, whose images are in memory or streamed."""

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import lightning as L
import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms.v2 import Transform

from musigma.data.arrays import check_arrays
from musigma.data.batch import Batch
from musigma.data.iterable import IterableStream
from musigma.data.loader import InMemory
from musigma.data.normalization import Means, NormalizationName, Stds, normalization_called
from musigma.data.splits import Size, holding_out
from musigma.data.steps import BatchLoader
from musigma.data.streaming import IndexedStream, StreamLoader
from musigma.data.workers import default_workers
from musigma.seeding import FIXED_SEED
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.foreign import is_foreign
from workbench.ranges import Count, Seed, checked

ImageSet = InMemory | IndexedStream | IterableStream
SetName = Literal["train", "val", "test"]

EVALUATED_OF_ITERABLE = 10_000
"""The number of training images that are evaluated if they have no length."""


class ImageDataModule(L.LightningDataModule):
    """Training, validation and test loaders over images that are read once or streamed.

    Images that are read once are held on the training device, or in the host's memory if they would
    take more than half of a GPU's free memory. A subclass defines `read` or `streams`, and passes
    the arguments that it does not name on to this class. It may set `name`, by which runs on the
    same data are recognised, and `source`, the origin of the images.

    Args:
        image_shape: channels, height and width.
        normalization: `standardize` for (x − mean) / std, `unit` for [0, 1], `dequantize`,
            `binarize_dynamic`, `binarize_static`; see `musigma.data.normalization`.
        mean: the mean of the training pixels on the [0, 1] scale, one number or one per channel;
            for `standardize`.
        std: the standard deviation of the same.
        batch_size: training images per step on each device.
        eval_batch_size: the same for validation and test.
        val_size: the number or fraction of training images held out for validation; 0 for none.
            Ignored if the data have a validation set of their own.
        seed: the seed of the order of training images, their random pixels and augmentation.
        augment: transforms of `torchvision.transforms.v2` for training images, which keep their
            shape and uint8; their random values are a function of (seed, epoch, image).
        num_workers: the number of processes that read or augment images, 0 for none; by default
            one per core. Images in memory that are not augmented need none.

    Attributes:
        device: the device of the images if there is no trainer; the CPU by default.
        labels: the labels `[N]` of each set that has been read, on the CPU; not of streamed sets.
    """

    resizes: ClassVar[bool] = False
    """True if images of other sizes are scaled and cropped."""

    classes: ClassVar[int | None] = None
    """The number of classes, if it is known before the data are read."""

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
        augment: Sequence[Transform] = (),
        num_workers: Annotated[int, Field(ge=0)] | None = None,
    ) -> None:
        super().__init__()
        for argument, value in (("mean", mean), ("std", std)):
            if isinstance(value, list) and len(value) != image_shape[0]:
                raise ValueError(
                    f"{argument} has {len(value)} numbers, and an image of image_shape "
                    f"{list(image_shape)} {image_shape[0]} channels: give one number for each"
                )
        self.name = type(self).__name__
        self.source = "files"
        self.normalization = normalization_called(normalization, mean, std)
        self.image_shape = image_shape
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_size = val_size
        self.seed = seed
        self.device = torch.device("cpu")
        self.augment = augment
        self.num_workers = default_workers() if num_workers is None else num_workers
        self._sets: dict[str, ImageSet] = {}
        self._first_images: dict[int, tuple[Tensor, Tensor]] = {}
        self._training_loader: BatchLoader | None = None
        self._is_seed_independent = False
        self.labels: dict[str, Tensor] = {}

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]` of the training or the test set.

        Labels count from 0, and are −1 where there are none. Not called if `streams` returns sets.
        """
        raise NotImplementedError(f"{type(self).__name__} should define read or streams")

    def read_validation(self) -> tuple[Tensor, Tensor] | None:
        """Images and labels of the data's own validation set; None if it has none."""
        return None

    def streams(self) -> Mapping[str, IndexedStream | IterableStream] | None:
        """The sets `train`, `test` and perhaps `val` if images are streamed, else None."""
        return None

    def setup(self, stage: str) -> None:
        """Read the sets that the stage needs, once; the test set only for testing.

        Evaluation images in memory are normalised here, so that random pixels are drawn once, and
        are the same in every run; streamed images are normalised batch by batch, by their index.
        """
        is_test = stage in ("test", "predict")
        if ("test" if is_test else "train") in self._sets:
            return
        sets = self.streams() or self._read_once(is_test)
        what = f"{self.name}, data.val_size={self.val_size}"
        for name, images in holding_out(sets, "val", self.val_size, what).items():
            self._add_set(name, images)

    @property
    def known_shape(self) -> ImageShape | None:
        """The shape of the images; None if unknown before they are read."""
        return self.image_shape

    @property
    def is_streamed(self) -> bool:
        """True if training images are streamed; after `setup`."""
        return isinstance(self._sets.get("train"), IndexedStream | IterableStream)

    def shortened(self, count: int) -> "ImageDataModule":
        """A copy with the first `count` images of each set that was read, in two batches."""
        short = copy.copy(self)
        short.batch_size = min(self.batch_size, count // 2)
        short.num_workers = 0
        short._first_images = {}
        short._sets = {name: images.first(count) for name, images in self._sets.items()}
        return short

    def mean_image(self) -> Tensor:
        """The mean of the normalised training images, `[C, H, W]`; after `setup`."""
        train = self._sets.get("train")
        if isinstance(train, InMemory):
            chunks = train.images.split(5_000)
            generator = torch.Generator(train.images.device).manual_seed(FIXED_SEED)
            parts = (self.normalization(chunk, generator) for chunk in chunks)
        else:
            parts = (batch.x for batch in self.evaluation_loader("train"))
        total, count = torch.zeros((), dtype=torch.float64), 0
        for x in parts:
            total = total + x.double().sum(0)
            count += len(x)
        return (total / count).float()

    def share(self, other: "ImageDataModule") -> None:
        """Use the images of another data module whose settings differ at most in the seed.

        Raises:
            DataError: if pixels are drawn anew in each epoch, or images depend on the seed.
        """
        if self.normalization.is_random:
            raise DataError("pixels are drawn anew in each epoch")
        if self.seed != other.seed and not other._is_seed_independent:
            self.setup("fit")
            if not self._has_same_images(other):
                raise DataError("images depend on the seed")
            other._is_seed_independent = True
        self._sets, self.labels = other._sets, other.labels

    def train_dataloader(self) -> BatchLoader:
        """The training images, shuffled anew each epoch unless `overfit_batches` is set."""
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        loader = self._make_loader(
            self._sets["train"], self.batch_size, is_training=True, shuffle=shuffle, **self._ranks
        )
        loader.sampler.set_epoch(_next_epoch(self.trainer) if self.trainer else 0)
        self._training_loader = loader
        return loader

    def val_dataloader(self) -> Any:
        """The validation images in a fixed order; an empty list if there are none."""
        return self.evaluation_loader("val")

    def test_dataloader(self) -> Any:
        """The test images in a fixed order; an empty list if there are none."""
        return self.evaluation_loader("test")

    def predict_dataloader(self) -> Any:
        """The test images, for `Trainer.predict`."""
        return self.test_dataloader()

    def evaluation_loader(self, name: SetName) -> Any:
        """The images of a set in a fixed order, not augmented; an empty list if there are none.

        Of training images without a length, the first 10,000.
        """
        if not self._has_images(name):
            return []
        images = self._sets[name]
        if name == "train" and isinstance(images, IterableStream):
            images = images.first(EVALUATED_OF_ITERABLE)
        return self._make_loader(images, self.eval_batch_size, **self._ranks)

    def first_images(self, count: int) -> tuple[Literal["train", "val"], Tensor, Tensor]:
        """The first validation images, or training images if there are none, cached.

        Returns:
            The name of the set, normalised images and labels, on the training device.
        """
        name: Literal["train", "val"] = "val" if self._has_images("val") else "train"
        if count not in self._first_images:
            images = self._make_loader(self._sets[name].first(count), count).images()
            x, y = (part.to(self._device) for part in images.tensors())
            self._first_images[count] = x, y
        return name, *self._first_images[count]

    def teardown(self, stage: str) -> None:
        """End the worker processes of the training loader."""
        if isinstance(self._training_loader, StreamLoader):
            self._training_loader.close()

    def on_exception(self, exception: BaseException) -> None:
        """End the workers of a run that is interrupted or fails."""
        self.teardown("fit")

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch | tuple[Tensor, Tensor]:
        """Return the batch, which is on the device already; to a foreign module as `(x, y)`."""
        module = self.trainer.lightning_module if self.trainer else None
        return (batch.x, batch.y) if is_foreign(type(module)) else batch

    @property
    def stream_settings(self) -> dict[str, Any]:
        """The arguments of a `Stream` that are settings of this data module."""
        return {"normalization": self.normalization, "augment": self.augment, "seed": self.seed}

    def _read_once(self, is_test: bool) -> dict[str, InMemory]:
        """The test set, or the training set and the data's own validation set."""
        if is_test:
            arrays = {"test": self.read(train=False)}
        else:
            arrays = {"train": self.read(train=True)}
            if validation := self.read_validation():
                arrays["val"] = validation
        for name, (images, labels) in arrays.items():
            check_arrays(images, labels, self.image_shape, f"{self.name}: {name} ")
        keeps_grey = bool(self.augment) and self.normalization.is_drawn_once
        return {
            name: InMemory(
                self.normalization.prepare(images),
                labels,
                self.normalization,
                images if keeps_grey else None,
            )
            for name, (images, labels) in arrays.items()
        }

    def _add_set(self, name: str, images: ImageSet) -> None:
        processes = self._ranks.get("world_size", 1)
        if isinstance(images, IterableStream) and processes > 1:
            raise DataError(
                f"{self.name}: images without a length cannot be shared by {processes} processes; "
                "set trainer.devices=1"
            )
        if not isinstance(images, IterableStream) and 0 < len(images) < processes:
            raise DataError(
                f"{self.name}: the {name} set has {len(images)} images, too few for "
                f"{processes} processes; set trainer.devices lower"
            )
        if isinstance(images, InMemory) and name == "train" and self.augment:
            rows = torch.arange(len(images))
            images = IndexedStream(read=images.__getitem__, rows=rows, **self.stream_settings)
        elif isinstance(images, InMemory):
            self.labels[name] = images.labels
            images = (images if name == "train" else images.normalized()).placed(self._device)
        self._sets[name] = images

    def _has_same_images(self, other: "ImageDataModule") -> bool:
        """True if both have the same sets, with the same images where these are in memory."""
        if self._sets.keys() != other._sets.keys():
            return False
        pairs = [(images, other._sets[name]) for name, images in self._sets.items()]
        return all(
            torch.equal(tensor.cpu(), other_tensor.cpu())
            for mine, theirs in pairs
            if isinstance(mine, InMemory) and isinstance(theirs, InMemory)
            for tensor, other_tensor in zip(mine.tensors(), theirs.tensors(), strict=True)
        )

    def _has_images(self, name: str) -> bool:
        images = self._sets.get(name)
        return isinstance(images, IterableStream) or (images is not None and len(images) > 0)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else self.device

    def _make_loader(
        self, images: ImageSet, batch_size: int, *, is_training: bool = False, **settings: Any
    ) -> BatchLoader:
        return images.loader(
            batch_size=batch_size,
            is_training=is_training,
            num_workers=self.num_workers,
            seed=self.seed,
            device=self._device,
            **settings,
        )

    @property
    def _ranks(self) -> dict[str, Any]:
        """The rank of this process and the number of ranks, as arguments of a loader."""
        if not self.trainer:
            return {}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}


def _next_epoch(trainer: L.Trainer) -> int:
    """The epoch that is trained next, for loaders that are asked for a batch before `set_epoch`.

    Lightning prefetches from loaders without a length before it sets the epoch of a resumed run.
    The epoch of a checkpoint may be finished but for its validation.
    """
    loop: Any = trainer.fit_loop
    epochs = loop.epoch_progress.current
    is_trained = epochs.started > epochs.processed and loop.epoch_loop.batch_progress.is_last_batch
    return int(epochs.processed + is_trained)
