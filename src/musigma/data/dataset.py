"""Any `torch.utils.data.Dataset`, streamed."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from musigma.data.access import as_data_error
from musigma.data.datamodule import ImageDataModule
from musigma.data.items import ItemConverter
from musigma.data.iterable import IterableStream
from musigma.data.set_loaders import ImageSet
from musigma.data.splits import TEST_SHARE, holding_out
from musigma.data.streaming import IndexedStream
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.ranges import checked

log = logging.getLogger(__name__)


class DatasetDataModule(ImageDataModule):
    """Images of a `torch.utils.data.Dataset`, read one by one by worker processes.

    An item is an image, `(image, label)` or a mapping with `x` and perhaps `y`. An image is a PIL
    image, which is scaled and cropped, or a uint8 tensor or array of shape `image_shape`. An
    IterableDataset is read in its own order; it has validation and test sets only if `val` and
    `test` are given.

    Args:
        dataset: a function or class that returns the training set, such as one of
            `torchvision.datasets`.
        image_shape: C, H and W.
        test: its arguments for the test set, such as `{"train": False}` or `{"split": "test"}`; by
            default the test set is a tenth of the images, chosen by a fixed seed.
        val: its arguments for the validation set; by default `val_size` images are held out.
        settings: further arguments of `ImageDataModule`.
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
        self.arguments = {"dataset": {}, "test": test or {}, "val": val or {}}
        shape = " × ".join(map(str, image_shape))
        self.name = f"{getattr(kind, '__name__', 'dataset')} {shape}"
        self.source = "dataset"
        self._sources: dict[str, DatasetSource] = {}

    def prepare_data(self) -> None:
        """Open the data sets, which may download them, and read the first item of each.

        Raises:
            DataError: if one cannot be opened, has no length, or its items are not images.
        """
        if self._sources:
            return
        sources = {
            name: DatasetSource(partial(self.dataset, **given), self.image_shape, f"data.{name}")
            for name, given in self.arguments.items()
            if given or name == "dataset"
        }
        for source in sources.values():
            source.check_first()
        if iterable := [source.place for source in sources.values() if source.is_iterable]:
            self._log_limits(iterable)
        self._sources = sources

    def _log_limits(self, places: Sequence[str]) -> None:
        """Log the limits of training on an IterableDataset."""
        log.info(
            "IterableDataset: %s. It is read in its own order, is\n"
            "read again from the start when a run resumes, and no images of it are held out",
            ", ".join(places),
        )
        if missing := [name for name in ("val", "test") if not self.arguments[name]]:
            log.info("no %s images: name them with data.%s={...}", missing[0], missing[0])
        if self.num_workers > 1:
            log.info(
                "each of data.num_workers=%d iterates over it: it must give each its share\n"
                "(torch.utils.data.get_worker_info), or images are repeated",
                self.num_workers,
            )

    def sets(self, is_test: bool) -> dict[str, ImageSet]:
        """All sets of the data; only their first images are read yet."""
        self.prepare_data()
        streams = {
            name.replace("dataset", "train"): source.stream(self.stream_settings)
            for name, source in self._sources.items()
        }
        return holding_out(streams, "test", TEST_SHARE, f"{self.name}, a test set")


class DatasetSource:
    """The data set that `make` returns, with items converted to images and labels.

    `place` is its setting, for messages.

    Raises:
        DataError: if it cannot be opened, or has no length and is no IterableDataset.
    """

    def __init__(self, make: Callable[[], Any], image_shape: ImageShape, place: str) -> None:
        self.place = place
        self.convert = ItemConverter(image_shape, place)
        with as_data_error(place):
            self.dataset = make()
            self.is_iterable = isinstance(self.dataset, IterableDataset)
            self.count = 0 if self.is_iterable else len(self.dataset)

    def stream(self, settings: Mapping[str, Any]) -> IndexedStream | IterableStream:
        """The data set as a set of images."""
        if self.is_iterable:
            return IterableStream(dataset=self.dataset, read=self.convert, **settings)
        rows = torch.arange(self.count)
        return IndexedStream(read=self.read, rows=rows, is_random=True, **settings)

    def check_first(self) -> None:
        """Read the first item.

        Raises:
            DataError: if there is none, or it holds no image.
        """
        first = self._item(0) if self.count else None
        if self.is_iterable:
            prefix = f"{self.place}: item 0 cannot be read"
            with isolate_rng(include_cuda=False), as_data_error(prefix):
                first = next(iter(self.dataset), None)
        if first is None:
            raise DataError(f"{self.place}: {type(self.dataset).__name__} holds no images")
        self.convert.check_first(first)

    def read(self, row: int) -> tuple[Tensor, int]:
        """The image and the label of an item of a data set with indices."""
        return self.convert(self._item(row), row)

    def _item(self, row: int) -> Any:
        with as_data_error(f"{self.place}: item {row} cannot be read"):
            return self.dataset[row]
