"""A folder of image files as a data set."""

import logging
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from musigma.data.access import readable
from musigma.data.datamodule import ImageDataModule
from musigma.data.image_files import check_channels, is_image_file, read_file, read_files
from musigma.data.memory import free_host_memory
from musigma.data.splits import NO_LABEL, TEST_SHARE, holding_out
from musigma.data.streaming import Streamed
from musigma.shapes import ImageShape
from workbench.errors import DataError
from workbench.ranges import checked

log = logging.getLogger(__name__)

SHARE_READ_AT_ONCE = 0.25
"""The share of the host's free memory for images read once; for a moment they are there twice."""

SETS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Name of a folder, in lower case → the set that it holds."""


class ImageFolderDataModule(ImageDataModule):
    """Image files, made to fit; a folder for each class, or no classes.

    They are read once and held in memory, or streamed: read anew in every epoch by worker
    processes. A file that is damaged is found before training, or when it is streamed.

    `path/<class>/...` as in torchvision's ImageFolder, or all files right in `path`; likewise in
    `path/train`, and in `path/val` (or `valid`, `validation`) and `path/test` where there are such.
    With a validation set of its own `val_size` is ignored. Without a test set of its own a tenth of
    the images, chosen by a fixed seed, is the test set. Classes are numbered in the order of their
    names. Hidden files and folders do not count.

    Args:
        path: the folder.
        image_shape: channels, 1 or 3, height and width; images are scaled and cut to fit.
        stream: `true` streams, `false` reads once, and `auto` streams what would take more than a
            quarter of the memory that is free.
        settings: the others of `ImageDataModule`.
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
            place = os.path.realpath(self.path)
        self.name = f"{os.path.basename(place)} {' × '.join(map(str, image_shape))}"
        self._test: tuple[Tensor, Tensor] | None = None

    def prepare_data(self) -> None:
        """Check the names of all files, and decide whether to stream them.

        Raises:
            DataError: if there are no images, or those to train on lack a class.
        """
        sets = self._files()
        if self.stream == "auto":
            count = sum(map(len, sets.values()))
            free = free_host_memory()
            needed = count * math.prod(self.image_shape)
            self.stream = needed > SHARE_READ_AT_ONCE * free
            if self.stream:
                log.info(
                    "streaming %s images from their files with %d workers: their pixels would\n"
                    "take %.1f GiB of the %.1f GiB of memory that is free (data.stream=false\n"
                    "reads them once all the same)",
                    f"{count:,}",
                    self.num_workers,
                    needed / 2**30,
                    free / 2**30,
                )

    def setup(self, stage: str) -> None:
        """Read what the stage needs; before training the test images too, as one may be damaged."""
        if stage == "fit" and not self._sets and self.stream is not True:
            self._test = self._files()["test"].read()
        super().setup(stage)
        if stage == "test":
            self._test = None

    def streams(self) -> Mapping[str, Streamed] | None:
        """The sets of image files, if they are streamed."""
        if self.stream is not True:
            return None
        check_channels(self.image_shape)
        return {
            name: Streamed(get=files, rows=torch.arange(len(files)), **self.one_by_one)
            for name, files in self._files().items()
        }

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]`, in the order of the files' names."""
        if not train and self._test is not None:
            return self._test
        return self._files()["train" if train else "test"].read()

    def read_validation(self) -> tuple[Tensor, Tensor] | None:
        """The same of the validation set, if there is a folder of it."""
        files = self._files().get("val")
        return files.read() if files else None

    def _files(self) -> dict[str, "Files"]:
        """The files of the sets `train`, `test` and, if it has a folder, `val`."""
        with readable(self.path, "data.path=..."):
            if not self.path.is_dir():
                raise DataError(
                    f"{self.path} is not a folder of images; name one with data.path=..."
                )
            folders = _set_folders(self.path) or {"train": self.path}
            found = {name: _files_in(folder) for name, folder in folders.items()}
        known = {class_name for _, class_name in found["train"]}
        for name, files in found.items():
            if unknown := {class_name for _, class_name in files} - known:
                what = f"the class {unknown.pop()!r}" if unknown != {""} else "images of no class"
                raise DataError(f"{folders[name]} holds {what}, and {folders['train']} does not")
        number = {class_name: i for i, class_name in enumerate(sorted(known))} | {"": NO_LABEL}
        sets = {
            name: Files(
                np.array([str(path) for path, _ in files]),
                np.array([number[class_name] for _, class_name in files]),
                self.image_shape,
            )
            for name, files in found.items()
        }
        return holding_out(sets, "test", TEST_SHARE, f"{folders['train']}: a test set")


@dataclass(frozen=True)
class Files:
    """Image files as a source of rows.

    NumPy arrays hold them: reading a Python object changes its reference count, so that each worker
    would get a copy of the memory.
    """

    paths: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    image_shape: ImageShape

    def __len__(self) -> int:
        return len(self.paths)

    def __call__(self, row: int) -> tuple[Tensor, int]:
        image = read_file(str(self.paths[row]), self.image_shape, resize=True)
        return image, int(self.labels[row])

    def only(self, mask: Tensor) -> "Files":
        """The same with only those of its files."""
        return Files(self.paths[mask.numpy()], self.labels[mask.numpy()], self.image_shape)

    def read(self) -> tuple[Tensor, Tensor]:
        """All images, `[N, C, H, W]`, and labels, `[N]`."""
        images = read_files(self.paths.tolist(), self.image_shape, resize=True)
        return images, torch.from_numpy(self.labels)


def _set_folders(path: Path) -> dict[str, Path]:
    """The folders of sets in a folder, by the sets that they hold; none where it holds classes."""
    sets: dict[str, Path] = {}
    others = []
    for place in sorted(path.iterdir()):
        name = SETS.get(place.name.lower())
        if not place.is_dir() or not name:
            others.append(place)
        elif name in sets:
            raise DataError(f"{sets[name]} and {place} are both a {name} set: keep one of them")
        else:
            sets[name] = place
    if "train" in sets and len(sets) > 1:
        return sets
    beside = next(filter(_holds_images, others), None)
    if "train" in sets and not beside:
        return sets
    if sets and not beside:
        (name, *_) = sets
        raise DataError(f"{sets[name]} is there, and {path / 'train'} is not: add it")
    for folder in sets.values():
        # Where images lie right in it, it may well be a class of that name.
        if any(place.is_dir() and _holds_images(place) for place in folder.iterdir()):
            raise DataError(
                f"{folder} holds folders of classes, and {beside} lies beside it: move one of the "
                "two elsewhere"
            )
    return {}


def _holds_images(place: Path) -> bool:
    """True for an image file, or a folder with one that counts."""
    if place.is_dir():
        return not _is_hidden(place.name) and any(_image_files(place))
    return is_image_file(place)


def _image_files(folder: Path) -> Iterator[Path]:
    """The image files in a folder, at any depth and through links, but for hidden ones."""
    for place, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        here = Path(place)
        folders[:] = [
            name for name in folders if not _is_hidden(name) and not _leads_up(here / name)
        ]
        yield from filter(is_image_file, (here / name for name in names))


def _leads_up(folder: Path) -> bool:
    """True for a link to a folder around it."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"  # what macOS puts into archives


def _raise(error: OSError) -> None:
    raise error


def _files_in(folder: Path) -> list[tuple[Path, str]]:
    """The image files in a folder with the names of their classes, empty where there are none."""
    files = []
    for path in sorted(_image_files(folder)):
        inside = path.relative_to(folder).parts
        files.append((path, inside[0] if len(inside) > 1 else ""))
    if not files:
        raise DataError(f"{folder} and the folders in it hold no image files")
    alone = [path for path, class_name in files if not class_name]
    if 0 < len(alone) < len(files):
        raise DataError(f"{alone[0]} lies beside folders of classes: move it into one of them")
    return files
