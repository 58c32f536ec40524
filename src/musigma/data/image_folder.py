"""A folder of image files as a data set."""

import logging
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from musigma.data.access import readable
from musigma.data.datamodule import ImageDataModule
from musigma.data.image_files import check_channels, is_image_file, read_file, read_files
from musigma.data.memory import free_host_memory
from musigma.data.splits import NO_LABEL, TEST_SHARE, split
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
            self._test = self._read_set("test")
        super().setup(stage)
        if stage == "test":
            self._test = None

    def streams(self) -> Mapping[str, Streamed] | None:
        """The sets of image files, if they are streamed."""
        if self.stream is not True:
            return None
        check_channels(self.image_shape)
        sets = self._files()
        number = _numbers(sets)
        return {
            name: Streamed(
                Files(
                    [str(file.path) for file in files],
                    [number[file.class_name] for file in files],
                    self.image_shape,
                ),
                len(files),
                **self.one_by_one,
            )
            for name, files in sets.items()
        }

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]`, in the order of the files' names."""
        if not train and self._test is not None:
            return self._test
        return self._read_set("train" if train else "test")

    def read_validation(self) -> tuple[Tensor, Tensor] | None:
        """The same of the validation set, if there is a folder of it."""
        return self._read_set("val") if "val" in self._files() else None

    def _read_set(self, name: str) -> tuple[Tensor, Tensor]:
        sets = self._files()
        number = _numbers(sets)
        images = read_files([file.path for file in sets[name]], self.image_shape, resize=True)
        return images, torch.tensor([number[file.class_name] for file in sets[name]])

    def _files(self) -> dict[str, list["_File"]]:
        """The files of the sets `train`, `test` and, if it has a folder, `val`."""
        with readable(self.path, "data.path=..."):
            if not self.path.is_dir():
                raise DataError(
                    f"{self.path} is not a folder of images; name one with data.path=..."
                )
            folders = _set_folders(self.path) or {"train": self.path}
            sets = {name: _files_in(folder) for name, folder in folders.items()}
        known = _classes(sets["train"])
        for name, files in sets.items():
            if unknown := set(_classes(files)).difference(known):
                what = f"the class {unknown.pop()!r}" if unknown != {""} else "images of no class"
                raise DataError(f"{folders[name]} holds {what}, and {folders['train']} does not")
        if "test" not in sets:
            files = sets["train"]
            held_out = split(len(files), TEST_SHARE, f"{folders['train']}: a test set").tolist()
            for name, test in (("train", False), ("test", True)):
                sets[name] = [f for f, held in zip(files, held_out, strict=True) if held == test]
        return sets


class _File(NamedTuple):
    path: Path
    class_name: str  # empty where there is none


class Files:
    """Image files as a source of rows."""

    def __init__(self, paths: list[str], labels: list[int], image_shape: ImageShape) -> None:
        self.paths = np.array(paths)  # not Python objects, whose counts would unshare the memory
        self.labels = labels
        self.image_shape = image_shape

    def __call__(self, row: int) -> tuple[Tensor, int]:
        image = read_file(str(self.paths[row]), self.image_shape, resize=True)
        return image, self.labels[row]


def _numbers(sets: Mapping[str, list[_File]]) -> dict[str, int]:
    """The labels of classes by their names."""
    classes = _classes([file for files in sets.values() for file in files])
    return {name: i for i, name in enumerate(classes)} | {"": NO_LABEL}


def _classes(files: list[_File]) -> list[str]:
    return sorted({file.class_name for file in files})


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


def _files_in(folder: Path) -> list[_File]:
    files = []
    for path in sorted(_image_files(folder)):
        inside = path.relative_to(folder).parts
        files.append(_File(path, inside[0] if len(inside) > 1 else ""))
    if not files:
        raise DataError(f"{folder} and the folders in it hold no image files")
    alone = [file.path for file in files if not file.class_name]
    if 0 < len(alone) < len(files):
        raise DataError(f"{alone[0]} lies beside folders of classes: move it into one of them")
    return files
