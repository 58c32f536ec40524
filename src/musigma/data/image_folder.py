"""A data set in a folder of image files."""

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from musigma.data.access import readable
from musigma.data.datamodule import ImageDataModule
from musigma.data.folder_layout import files_with_classes, set_folders
from musigma.data.image_files import check_channels, read_file, read_files
from musigma.data.memory import free_host_memory
from musigma.data.set_loaders import ImageSet
from musigma.data.splits import NO_LABEL, TEST_SHARE, holding_out
from musigma.data.streaming import IndexedStream
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.ranges import checked

log = logging.getLogger(__name__)

SHARE_READ_AT_ONCE = 0.25
"""The largest fraction of free memory for images read once; while reading they take twice that."""


class ImageFolderDataModule(ImageDataModule):
    """Image files of any size, scaled and cropped, with a folder per class or without classes.

    They are read once and held in memory, or streamed: read anew in every epoch by worker
    processes. A damaged file is an error before training, or, if streamed, when it is read.

    Files are in `path/<class>/...`, as for torchvision's ImageFolder, or, without classes, directly
    in `path`; or in the same way in `path/train` and optionally `path/val` (or `valid`,
    `validation`) and `path/test`. Without a `test` folder, a tenth of the images, chosen by a fixed
    seed, is the test set. Classes are numbered in the order of their names. Hidden files and
    folders are ignored.

    Args:
        path: the folder.
        image_shape: channels (1 or 3), height and width.
        stream: `true` streams, `false` reads once, `auto` streams if the images would take more
            than a quarter of the free memory.
        settings: further arguments of `ImageDataModule`.
    """

    resizes: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        *,
        path: str | Path,
        image_shape: ImageShape,
        stream: bool | Literal["auto"] = "auto",
        **settings: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **settings)
        self.stream = stream
        self.path = Path(os.path.expanduser(path))
        with readable(self.path, "data.path=..."):
            folder = os.path.realpath(self.path)
        self.name = f"{os.path.basename(folder)} {' × '.join(map(str, image_shape))}"
        self._test_arrays: tuple[Tensor, Tensor] | None = None

    def prepare_data(self) -> None:
        """List the files, and decide whether to stream them.

        Raises:
            DataError: if there are none, or the training images lack a class of other sets.
        """
        count = sum(map(len, self._files.values()))
        if self.stream == "auto":
            free = free_host_memory()
            needed = count * math.prod(self.image_shape)
            self.stream = needed > SHARE_READ_AT_ONCE * free
            if self.stream:
                log.info(
                    "streaming %s images from their files with %d workers: their pixels would\n"
                    "take %.1f GiB of the %.1f GiB of memory that are free (data.stream=false\n"
                    "reads them into memory anyway)",
                    f"{count:,}",
                    self.num_workers,
                    needed / 2**30,
                    free / 2**30,
                )

    def sets(self, is_test: bool) -> Mapping[str, ImageSet]:
        """The sets of image files, streamed or read into memory."""
        if self.stream is not True:
            if not is_test:  # before training, as one may be damaged
                self._test_arrays = self._files["test"].read()
            return super().sets(is_test)
        check_channels(self.image_shape)
        return {
            name: IndexedStream(
                read=files.__getitem__, rows=torch.arange(len(files)), **self.stream_settings
            )
            for name, files in self._files.items()
        }

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]`, in the order of file names."""
        if train:
            return self._files["train"].read()
        arrays, self._test_arrays = self._test_arrays, None
        return arrays or self._files["test"].read()

    def read_validation(self) -> tuple[Tensor, Tensor] | None:
        files = self._files.get("val")
        return files.read() if files else None

    @cached_property
    def _files(self) -> dict[str, "ImageFiles"]:
        """The files of the sets `train`, `test` and, if it has a folder, `val`."""
        with readable(self.path, "data.path=..."):
            if not self.path.is_dir():
                raise DataError(
                    f"{self.path} is not a folder of images; name one with data.path=..."
                )
            folders = set_folders(self.path) or {"train": self.path}
            found = {name: files_with_classes(folder) for name, folder in folders.items()}
        known = {class_name for _, class_name in found["train"]}
        for name, files in found.items():
            if unknown := {class_name for _, class_name in files} - known:
                class_name = unknown.pop()
                what = f"the class {class_name!r}" if class_name else "images without a class"
                raise DataError(f"{folders[name]} holds {what}, and {folders['train']} does not")
        number = {class_name: i for i, class_name in enumerate(sorted(known))} | {"": NO_LABEL}
        sets = {
            name: ImageFiles(
                np.array([str(path) for path, _ in files]),
                np.array([number[class_name] for _, class_name in files]),
                self.image_shape,
            )
            for name, files in found.items()
        }
        return holding_out(sets, "test", TEST_SHARE, f"{folders['train']}: a test set")


@dataclass(frozen=True)
class ImageFiles:
    """The image files of a set, with their labels.

    They are in NumPy arrays, which workers share with their parent: reading lists of Python objects
    changes reference counts, so that each worker would end up with a copy of their memory.
    """

    paths: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    image_shape: ImageShape

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        image = read_file(str(self.paths[row]), self.image_shape, resize=True)
        return image, int(self.labels[row])

    def only(self, mask: Tensor) -> "ImageFiles":
        """The files that a mask `[N]` selects."""
        return ImageFiles(self.paths[mask.numpy()], self.labels[mask.numpy()], self.image_shape)

    def read(self) -> tuple[Tensor, Tensor]:
        """All images, `[N, C, H, W]`, and labels, `[N]`."""
        images = read_files(self.paths.tolist(), self.image_shape, resize=True)
        return images, torch.from_numpy(self.labels)
