"""Any data set of PyTorch's, streamed."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from musigma.data.access import blamed
from musigma.data.datamodule import ImageDataModule
from musigma.data.image_files import EIGHT_BITS, check_channels, fitted
from musigma.data.iterated import Iterated
from musigma.data.splits import NO_LABEL, TEST_SHARE, holding_out
from musigma.data.streaming import Streamed
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.ranges import checked

log = logging.getLogger(__name__)


class DatasetDataModule(ImageDataModule):
    """Images of a `torch.utils.data.Dataset`, read one by one by worker processes.

    An item is an image, `(image, label)` or a mapping with `x` and perhaps `y`; an image a PIL
    image, which is scaled and cut to fit, or a uint8 tensor or array of the model's shape.
    An IterableDataset will do: it comes in its own order, and has a validation and a test set only
    if `val` and `test` say so.

    Args:
        dataset: makes the training set, such as a class in `torchvision.datasets`.
        image_shape: C, H and W.
        test: the arguments by which the test set differs, such as `{"train": False}` or
            `{"split": "test"}`; without them a tenth of the images, chosen by a fixed seed, is the
            test set.
        val: likewise of the validation set; without them `val_size` images are held out.
        settings: the others of `ImageDataModule`.
    """

    resizes = True

    @checked
    def __init__(
        self,
        *,
        dataset: Callable[..., Dataset],  # type: ignore[type-arg]
        image_shape: ImageShape,
        test: dict[str, Any] | None = None,
        val: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **settings)
        kind = getattr(dataset, "func", dataset)
        is_iterable = isinstance(kind, type) and issubclass(kind, IterableDataset)
        if is_iterable and settings.get("num_workers") is None:
            self.num_workers = 1
        self.dataset = dataset
        self.others = {"test": test, "val": val}
        self.name = f"{_name_of(dataset)} {' × '.join(map(str, image_shape))}"
        self.source = "dataset"
        self._opened: dict[str, Source] = {}

    def prepare_data(self) -> None:
        """Open the data sets, which may download them, and read the first item of each.

        Raises:
            DataError: if one cannot be opened, has no length, or its items are not images.
        """
        if self._opened:
            return
        sets = {"dataset": {}, **{name: more for name, more in self.others.items() if more}}
        opened = {
            name: Source(partial(self.dataset, **more), self.image_shape, f"data.{name}")
            for name, more in sets.items()
        }
        for source in opened.values():
            source.check_first()
        if iterated := [name for name, source in opened.items() if source.is_iterable]:
            self._say_what_lacks(iterated)
        self._opened = opened

    def _say_what_lacks(self, iterated: Sequence[str]) -> None:
        """Say before training what an IterableDataset cannot do."""
        log.info(
            "no length and no places: %s. Such data come in\n"
            "their own order, resume by reading again what was read, and no images of them\n"
            "are held out",
            ", ".join(f"data.{name}" for name in iterated),
        )
        if lacking := [name for name in ("val", "test") if not self.others[name]]:
            log.info("no %s images: name them with data.%s={...}", lacking[0], lacking[0])
        if self.num_workers > 1:
            log.info(
                "each of data.num_workers=%d iterates over it: it must give each its share\n"
                "(torch.utils.data.get_worker_info), or images come several times",
                self.num_workers,
            )

    def streams(self) -> dict[str, Streamed | Iterated]:
        """The sets as they are streamed; nothing but the first images is read yet."""
        self.prepare_data()
        streams = {
            name.replace("dataset", "train"): source.streamed(self.one_by_one)
            for name, source in self._opened.items()
        }
        return holding_out(streams, "test", TEST_SHARE, f"{self.name}, a test set")


class Source:
    """A data set as a source of rows.

    Args:
        make: opens it.
        image_shape: C, H and W.
        place: the setting that it comes from.

    Raises:
        DataError: if it cannot be opened, or has neither a length nor an order of its own.
    """

    def __init__(self, make: Callable[[], Any], image_shape: ImageShape, place: str) -> None:
        self.image_shape = image_shape
        self.place = place
        with blamed(place):
            self.dataset = make()
            self.is_iterable = isinstance(self.dataset, IterableDataset)
            self.count = 0 if self.is_iterable else len(self.dataset)

    def streamed(self, settings: Mapping[str, Any]) -> Streamed | Iterated:
        """It, as a set of images."""
        if self.is_iterable:
            return Iterated(dataset=self.dataset, read=self.read, **settings)
        return Streamed(get=self, rows=torch.arange(self.count), is_random=True, **settings)

    def check_first(self) -> None:
        """Read the first item.

        Raises:
            DataError: if there is none, or it holds no image.
        """
        if self.count:
            self(0)
            return
        first = None
        if self.is_iterable:
            unreadable = f"{self.place}: item 0 cannot be read"
            with isolate_rng(include_cuda=False), blamed(unreadable):
                first = next(iter(self.dataset), None)
        if first is None:
            raise DataError(f"{self.place}: {type(self.dataset).__name__} holds no images")
        self.read(first, 0)

    def __call__(self, row: int) -> tuple[Tensor, int]:
        with blamed(f"{self.place}: item {row} cannot be read"):
            item = self.dataset[row]
        return self.read(item, row)

    def read(self, item: Any, row: int) -> tuple[Tensor, int]:
        """The image and the label of an item.

        Raises:
            DataError: if it is not an image of the model's shape.
        """
        label: Any = None
        if isinstance(item, Mapping):
            if "x" not in item:
                raise DataError(
                    f"{self.place}: item {row} has the keys {', '.join(map(str, item))}, and "
                    "should have its image as x, and its label, if there is one, as y"
                )
            item, label = item["x"], item.get("y")
        elif isinstance(item, tuple | list):
            item, label = (*item, None, None)[:2]
        return self._image(item, row), _label(label)

    def _image(self, image: Any, row: int) -> Tensor:
        if isinstance(image, Image.Image) and image.mode in EIGHT_BITS:
            check_channels(self.image_shape)
            return fitted(image, self.image_shape)
        if isinstance(image, np.ndarray):
            image = torch.from_numpy(image)
        if not isinstance(image, Tensor) or image.dtype != torch.uint8:
            kind = getattr(image, "dtype", None) or type(image).__name__
            if isinstance(image, Image.Image):
                kind = f"{image.mode} pixels"
            raise DataError(
                f"{self.place}: item {row} holds {kind}, and should hold grey levels 0 to 255: a "
                "PIL image or a uint8 tensor; leave out ToTensor, as data.normalization scales them"
            )
        if image.shape != torch.Size(self.image_shape):
            raise DataError(
                f"{self.place}: item {row} has the shape {list(image.shape)}, and data.image_shape "
                f"is {list(self.image_shape)}: channels, height, width; change one of the two"
            )
        return image.contiguous()


def _label(label: Any) -> int:
    """A class label; −1 for anything else."""
    if isinstance(label, Tensor | np.ndarray | np.generic) and label.shape in ((), (1,)):
        label = label.item()
    return label if isinstance(label, int) and label >= 0 else NO_LABEL


def _name_of(recipe: Any) -> str:
    return str(getattr(getattr(recipe, "func", recipe), "__name__", "dataset"))
