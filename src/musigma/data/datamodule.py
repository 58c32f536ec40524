"""The base class of data modules, whose images are in memory or streamed."""

import copy
from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms.v2 import Transform

from musigma.data.arrays import check_arrays
from musigma.data.iterable import IterableStream
from musigma.data.loader import InMemory
from musigma.data.normalization import Means, NormalizationName, Stds, normalization_called
from musigma.data.set_loaders import ImageSet, SetLoaders
from musigma.data.splits import Size, holding_out
from musigma.data.streaming import IndexedStream
from musigma.seeding import FIXED_SEED
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.loader_workers import default_workers
from workbench.ranges import Count, Seed, checked


class ImageDataModule(SetLoaders):
    """Training, validation and test images that are read once or streamed.

    Images that are read once are held on the training device, or in the host's memory if they would
    take more than half of a GPU's free memory. A subclass defines `read` or `sets`, and passes
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
        labels: the labels `[N]` of each set that has been read into memory, on the CPU.
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
        self.name = type(self).__name__
        self.source = "files"
        self.normalization = normalization_called(normalization, mean, std, image_shape)
        self.image_shape = image_shape
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_size = val_size
        self.seed = seed
        self.augment = augment
        self.num_workers = default_workers() if num_workers is None else num_workers
        self.labels: dict[str, Tensor] = {}
        self._is_seed_independent = False

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]` of the training or the test set.

        Labels count from 0, and are −1 where there are none. Not called if `sets` is overridden.
        """
        raise NotImplementedError(f"{type(self).__name__} should define read or sets")

    def read_validation(self) -> tuple[Tensor, Tensor] | None:
        """Images and labels of the data's own validation set; None if it has none."""
        return None

    def sets(self, is_test: bool) -> Mapping[str, ImageSet]:
        """The set `test`, or the sets `train` and, if the data have their own, `val`.

        By default those of `read` and `read_validation`, in memory. A subclass that streams images
        returns all of its sets, which are read later.
        """
        if is_test:
            arrays = {"test": self.read(train=False)}
        else:
            arrays = {"train": self.read(train=True)}
            if validation := self.read_validation():
                arrays["val"] = validation
        for name, (images, labels) in arrays.items():
            check_arrays(images, labels, self.image_shape, f"{self.name}: {name} ")
        return {
            name: InMemory(
                self.normalization.prepare(images),
                labels,
                self.normalization,
                images if self.augment and self.normalization.is_drawn_once else None,
            )
            for name, (images, labels) in arrays.items()
        }

    def setup(self, stage: str) -> None:
        """Read the sets that the stage needs, once; the test set only for testing.

        Evaluation images in memory are normalised here, so that random pixels are drawn once, and
        are the same in every run; streamed images are normalised batch by batch, by their index.
        """
        is_test = stage in ("test", "predict")
        if ("test" if is_test else "train") in self._sets:
            return
        what = f"{self.name}, data.val_size={self.val_size}"
        for name, images in holding_out(self.sets(is_test), "val", self.val_size, what).items():
            if not isinstance(images, Sized) or len(images):
                self._check_shares(name, images)
                if isinstance(images, InMemory):
                    self.labels[name] = images.labels
                self._sets[name] = self._ready(name, images)

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
        total, count = torch.zeros((), dtype=torch.float64), 0
        for x in self._training_pixels():
            total = total + x.double().sum(0)
            count += len(x)
        return (total / count).float()

    def share(self, other: "ImageDataModule") -> None:
        """Use the images in memory of another data module, whose settings differ only in the seed.

        Raises:
            DataError: if pixels are drawn anew in each epoch, or images depend on the seed.
        """
        if self.normalization.is_random:
            raise DataError("pixels are drawn anew in each epoch")
        if self.seed != other.seed and not other._is_seed_independent:
            self.setup("fit")
            if self._sets != other._sets:
                raise DataError("images depend on the seed")
            other._is_seed_independent = True
        self._sets, self.labels = other._sets, other.labels

    @property
    def stream_settings(self) -> dict[str, Any]:
        """The arguments of a `Stream` that are settings of this data module."""
        return {"normalization": self.normalization, "augment": self.augment, "seed": self.seed}

    def _check_shares(self, name: str, images: ImageSet) -> None:
        """Raise a DataError if the processes cannot share the images of a set."""
        processes = self._ranks.get("world_size", 1)
        if isinstance(images, IterableStream):
            if processes > 1:
                raise DataError(
                    f"{self.name}: images without a length cannot be shared by {processes} "
                    "processes; set trainer.devices=1"
                )
        elif len(images) < processes:
            raise DataError(
                f"{self.name}: the {name} set has {len(images)} images, too few for "
                f"{processes} processes; set trainer.devices lower"
            )

    def _ready(self, name: str, images: ImageSet) -> ImageSet:
        """A set in memory on its device, normalised for evaluation, or streamed if augmented."""
        if not isinstance(images, InMemory):
            return images
        if name != "train":
            return images.normalized().placed(self._device)
        if not self.augment:
            return images.placed(self._device)
        rows = torch.arange(len(images))
        return IndexedStream(read=images.__getitem__, rows=rows, **self.stream_settings)

    def _training_pixels(self) -> Iterator[Tensor]:
        """All normalised training images, not only those of this process."""
        train = self._sets["train"]
        if isinstance(train, InMemory):
            generator = torch.Generator(train.images.device).manual_seed(FIXED_SEED)
            return (self.normalization(part, generator) for part in train.images.split(5_000))
        loader = self._make_loader(self._evaluated("train"), self.eval_batch_size)
        return (batch.x for batch in loader)
