"""The LightningDataModule: images in memory, the device's or the host's, or streamed."""

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import lightning as L
import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms.v2 import Transform

from musigma.data.batch import Batch
from musigma.data.iterated import Iterated
from musigma.data.loader import InMemory
from musigma.data.normalization import NORMALIZATIONS, Means, NormalizationName, Stds
from musigma.data.one_by_one import default_workers
from musigma.data.splits import Size, holding_out
from musigma.data.steps import BatchLoader
from musigma.data.streaming import Streamed, StreamLoader
from musigma.seeding import FIXED_SEED
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.foreign import is_foreign
from workbench.ranges import Count, Seed, checked

Kept = InMemory | Streamed | Iterated
SetName = Literal["train", "val", "test"]

FIRST = 10_000
"""The number of training images that are evaluated, the first ones, if they have no length."""


class ImageDataModule(L.LightningDataModule):
    """Train, validation and test loaders over images held once, on the training device.

    If they would take more than half of a GPU's free memory they stay in the host's. A subclass
    reads the images in `read`, or gives them one by one in `streams`, names their origin in
    `source`, and passes on the arguments that it does not name. Runs compare if the `name` of their
    data is the same.

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
        augment: transforms of `torchvision.transforms.v2` for training images, which stay uint8 and
            keep their shape; what they draw is a function of (seed, epoch, image).
        num_workers: the processes that read or augment images, 0 for none; by default one for each
            core. Images in memory that are not augmented need none.

    Without a trainer the images are on `device`, which is the CPU unless it is set. `labels` has
    those of each set that has been read, `[N]`, on the CPU; those of streamed images are not known.
    """

    resizes: ClassVar[bool] = False
    """True if image files of any size are scaled and cut to fit."""

    classes: ClassVar[int | None] = None
    """The number of classes, where it is known before the data are read."""

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
        self.device = torch.device("cpu")
        self.augment = augment
        self.num_workers = default_workers() if num_workers is None else num_workers
        self._sets: dict[str, Kept] = {}
        self._firsts: dict[int, tuple[Tensor, Tensor]] = {}
        self._training_loader: BatchLoader | None = None
        self._is_read_alike = False
        self.labels: dict[str, Tensor] = {}

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]` of the training or the test set.

        Labels count from 0, and are all −1 where there are none. It is not asked of data that are
        read one by one.
        """
        raise NotImplementedError(f"{type(self).__name__} should define read, or streams")

    def read_validation(self) -> tuple[Tensor, Tensor] | None:
        """The same of the data's own validation set; None where there is none, as by default."""
        return None

    def streams(self) -> Mapping[str, Streamed | Iterated] | None:
        """The sets `train`, `test` and, if there is one, `val`, where images are read one by one.

        None, as by default, where they are read once.
        """
        return None

    def setup(self, stage: str) -> None:
        """Read what the stage needs, once; the test set only when it is time to test.

        Images to evaluate are normalised here, so that random pixels are drawn once, the same
        in every run and on every machine; streamed ones when they come, as a function of their
        place.
        """
        is_test = stage in ("test", "predict")
        if ("test" if is_test else "train") in self._sets:
            return
        sets = self.streams() or self._read_once(is_test)
        what = f"{self.name}, data.val_size={self.val_size}"
        for name, images in holding_out(sets, "val", self.val_size, what).items():
            self._keep(name, images)

    @property
    def known_shape(self) -> ImageShape | None:
        """The shape of the images; None if it is known once they have been read."""
        return self.image_shape

    @property
    def is_streamed(self) -> bool:
        """True if training images are read one by one; after `setup`."""
        return isinstance(self._sets.get("train"), Streamed | Iterated)

    def some(self, count: int) -> "ImageDataModule":
        """The same with only so many of the images that have been read, in two batches."""
        few = copy.copy(self)
        few.batch_size = min(self.batch_size, count // 2)
        few.num_workers = 0
        few._firsts = {}
        few._sets = {name: images.some(count) for name, images in self._sets.items()}
        return few

    def mean_image(self) -> Tensor:
        """The mean of the training images as the model sees them, `[C, H, W]`, after `setup`."""
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
        """Use the images that another has read, whose settings are the same but for its seed.

        Raises:
            DataError: if they draw pixels, or one that has read too has read other images.
        """
        if self.normalization.is_random:
            raise DataError("pixels are drawn anew in each epoch")
        if self.seed != other.seed and not other._is_read_alike:
            self.setup("fit")
            if not self._has_read_as(other):
                raise DataError("images depend on the seed")
            other._is_read_alike = True
        self._sets, self.labels = other._sets, other.labels

    def train_dataloader(self) -> BatchLoader:
        """Shuffled anew each epoch, except where Lightning overfits a few batches."""
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        loader = self._loader(
            self._sets["train"], self.batch_size, is_training=True, shuffle=shuffle, **self._shared
        )
        loader.sampler.set_epoch(_next_epoch(self.trainer) if self.trainer else 0)
        self._training_loader = loader
        return loader

    def val_dataloader(self) -> Any:
        """The images held out, in a fixed order; an empty list where there are none."""
        return self.evaluation_loader("val")

    def test_dataloader(self) -> Any:
        """The test images in their own order; an empty list where there are none."""
        return self.evaluation_loader("test")

    def predict_dataloader(self) -> Any:
        """The test images, as `Trainer.predict` sees them."""
        return self.test_dataloader()

    def evaluation_loader(self, name: SetName) -> Any:
        """The images of a set as evaluation sees them: in their own order, normalised.

        An empty list where there are none; the first 10,000 of training images without a length.
        """
        if not self._has(name):
            return []
        images = self._sets[name]
        if name == "train" and isinstance(images, Iterated):
            images = images.some(FIRST)
        return self._loader(images, self.eval_batch_size, **self._shared)

    def first_images(self, count: int) -> tuple[Literal["train", "val"], Tensor, Tensor]:
        """The first images held out, or if none are, to train on: their set, pixels and labels.

        They are kept.
        """
        name: Literal["train", "val"] = "val" if self._has("val") else "train"
        if count not in self._firsts:
            few = self._loader(self._sets[name].some(count), count).images()
            x, y = (part.to(self._device) for part in few.tensors())
            self._firsts[count] = x, y
        return name, *self._firsts[count]

    def teardown(self, stage: str) -> None:
        """End the processes that read training images."""
        if isinstance(self._training_loader, StreamLoader):
            self._training_loader.close()

    def on_exception(self, exception: BaseException) -> None:
        """End them in a run that is stopped or fails, too."""
        self.teardown("fit")

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch | tuple[Tensor, Tensor]:
        """Batches are on the device already; a module of the user's own class gets `x, y`."""
        module = self.trainer.lightning_module if self.trainer else None
        return (batch.x, batch.y) if is_foreign(type(module)) else batch

    @property
    def one_by_one(self) -> dict[str, Any]:
        """What `Streamed` and `Iterated` sets need to know of these settings."""
        return {"normalization": self.normalization, "augment": self.augment, "seed": self.seed}

    def _read_once(self, is_test: bool) -> dict[str, InMemory]:
        """The test set, or those for training."""
        if is_test:
            return {"test": self._checked("test", *self.read(train=False))}
        sets = {"train": self._checked("train", *self.read(train=True))}
        if validation := self.read_validation():
            sets["val"] = self._checked("val", *validation)
        return sets

    def _checked(self, name: str, images: Tensor, labels: Tensor) -> InMemory:
        """A set of what was read; a DataError if that is not as `read` should give it."""
        if images.dtype != torch.uint8 or images.shape[1:] != torch.Size(self.image_shape):
            raise DataError(
                f"{self.name}: the {name} images are {images.dtype} {list(images.shape)}, and "
                "should be grey levels 0 to 255, uint8 "
                f"[N, {', '.join(map(str, self.image_shape))}]"
            )
        is_whole = not (labels.is_floating_point() or labels.is_complex())
        if labels.shape != (len(images),) or not is_whole:
            raise DataError(
                f"{self.name}: the {name} labels are {labels.dtype} {list(labels.shape)}, and "
                f"should be whole numbers [{len(images)}] that count classes from 0; give -1 for "
                "each image if there are none"
            )
        return InMemory(self.normalization.prepare(images), labels, self.normalization)

    def _keep(self, name: str, images: Kept) -> None:
        processes = self._shared.get("world_size", 1)
        if isinstance(images, Iterated) and processes > 1:
            raise DataError(
                f"{self.name}: has no length that {processes} processes could share; set "
                "trainer.devices=1"
            )
        if not isinstance(images, Iterated) and 0 < len(images) < processes:
            raise DataError(
                f"{self.name}: the {name} set has {len(images)} images, too few for "
                f"{processes} processes; set trainer.devices lower"
            )
        if isinstance(images, InMemory) and name == "train" and self.augment:
            rows = torch.arange(len(images))
            images = Streamed(get=images.__getitem__, rows=rows, **self.one_by_one)
        elif isinstance(images, InMemory):
            self.labels[name] = images.labels
            images = (images if name == "train" else images.normalized()).placed(self._device)
        self._sets[name] = images

    def _has_read_as(self, other: "ImageDataModule") -> bool:
        """Whether both have the same images in memory."""
        pairs = [(images, other._sets.get(name)) for name, images in self._sets.items()]
        return self._sets.keys() == other._sets.keys() and all(
            torch.equal(mine.cpu(), theirs.cpu())
            for one, two in pairs
            if isinstance(one, InMemory) and isinstance(two, InMemory)
            for mine, theirs in zip(one.tensors(), two.tensors(), strict=True)
        )

    def _has(self, name: str) -> bool:
        images = self._sets.get(name)
        return isinstance(images, Iterated) or (images is not None and len(images) > 0)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else self.device

    def _loader(
        self, images: Kept, batch_size: int, *, is_training: bool = False, **settings: Any
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
    def _shared(self) -> dict[str, Any]:
        """This of the processes that share the images, and how many there are."""
        if not self.trainer:
            return {}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}


def _next_epoch(trainer: L.Trainer) -> int:
    """The epoch that is trained next.

    Lightning fetches a batch ahead of what has no length, in a resumed run before it says the
    epoch; that of a checkpoint may be over but for its validation.
    """
    loop: Any = trainer.fit_loop
    epochs = loop.epoch_progress.current
    is_trained = epochs.started > epochs.processed and loop.epoch_loop.batch_progress.is_last_batch
    return int(epochs.processed + is_trained)
