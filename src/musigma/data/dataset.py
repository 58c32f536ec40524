"""Any data set of PyTorch's, streamed."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from musigma.data.datamodule import ImageDataModule
from musigma.data.image_files import EIGHT_BITS, check_channels, fitted
from musigma.data.in_order import Iterated
from musigma.data.splits import NO_LABEL, TEST_SHARE, split
from musigma.data.streaming import Streamed
from musigma.shapes import ImageShape
from workbench.errors import DataError, UserError, one_line
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
        opened = {name: self._open(name, more) for name, more in sets.items()}
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
        streams: dict[str, Streamed | Iterated] = {
            name.replace("dataset", "train"): self._iterated(source.dataset, source.read)
            if source.is_iterable
            else self._streamed(source, len(source), is_random=True)
            for name, source in self._opened.items()
        }
        train = streams["train"]
        if "test" not in streams and isinstance(train, Streamed):
            held_out = split(len(train), TEST_SHARE, f"{self.name}, a test set")
            streams |= {"test": train.only(held_out), "train": train.only(~held_out)}
        return streams

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """All images of a set at once, which is never asked for; see `streams`."""
        raise NotImplementedError

    def _open(self, name: str, more: Mapping[str, Any]) -> "Source":
        place = f"data.{name}"
        try:
            dataset = self.dataset(**more)
            is_iterable = isinstance(dataset, IterableDataset)
            count = 0 if is_iterable else len(dataset)  # type: ignore[arg-type]
        except UserError:
            raise
        except Exception as error:  # of somebody else's class
            raise DataError(f"{place}: {type(error).__name__}: {one_line(error)}") from error
        if not count and not is_iterable:
            raise DataError(f"{place}: {_name_of(self.dataset)} holds no images")
        return Source(dataset, count, self.image_shape, place)


class Source:
    """A data set as a source of rows."""

    def __init__(
        self,
        dataset: Any,
        count: int,
        image_shape: ImageShape,
        place: str,
    ) -> None:
        self.dataset = dataset
        self.count = count
        self.image_shape = image_shape
        self.place = place

    def __len__(self) -> int:
        return self.count

    @property
    def is_iterable(self) -> bool:
        """True if it has no rows, but one order."""
        return isinstance(self.dataset, IterableDataset)

    def check_first(self) -> None:
        """Read the first item.

        Raises:
            DataError: if there is none, or it holds no image.
        """
        if not self.is_iterable:
            self(0)
            return
        with isolate_rng(include_cuda=False), self._blamed(0):
            first = next(iter(self.dataset), None)
        if first is None:
            raise DataError(f"{self.place}: {type(self.dataset).__name__} holds no images")
        self.read(first, 0)

    def __call__(self, row: int) -> tuple[Tensor, int]:
        with self._blamed(row):
            item = self.dataset[row]
        return self.read(item, row)

    @contextmanager
    def _blamed(self, row: int) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # of somebody else's class
            what = f"{type(error).__name__}: {one_line(error)}"
            raise DataError(f"{self.place}: item {row} cannot be read: {what}") from error

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
