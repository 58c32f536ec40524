"""A folder of image files as a data set."""

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from musigma.data.datamodule import NO_LABEL, TEST_SHARE, ImageDataModule, split
from musigma.data.image_files import is_image_file, read_files
from musigma.errors import DataError
from musigma.ranges import ImageShape, checked


class ImageFolderDataModule(ImageDataModule):
    """Image files, made to fit once and held in memory; a folder for each class, or no classes.

    `path/<class>/...` as in torchvision's ImageFolder, or all files right in `path`; likewise in
    `path/train` and `path/test`, where there are both. Otherwise a tenth of the images, drawn by
    a fixed seed, is the test set. Classes are numbered in the order of their names.

    Args:
        path: the folder.
        image_shape: channels, 1 or 3, height and width; images are scaled and cut to fit.
        settings: the others of `ImageDataModule`.
    """

    resizes: ClassVar[bool] = True

    @checked
    def __init__(self, *, path: str | Path, image_shape: ImageShape, **settings: Any) -> None:
        super().__init__(image_shape=image_shape, **settings)
        self.path = Path(path).expanduser()
        self.name = f"{self.path.resolve().name} {' × '.join(map(str, image_shape))}"

    def prepare_data(self) -> None:
        """Look at the names of all files; what is in them is read later.

        Raises:
            DataError: if there are no images, or those to train on lack a class.
        """
        self._files(train=False)

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]`, in the order of the files' names."""
        files, classes = self._files(train)
        number = {name: i for i, name in enumerate(classes)} | {"": NO_LABEL}
        images = read_files([file.path for file in files], self.image_shape, resize=True)
        return images, torch.tensor([number[file.class_name] for file in files])

    def _files(self, train: bool) -> tuple[list["_File"], list[str]]:
        """The training or the test files, and the names of all classes."""
        folders = self.path / "train", self.path / "test"
        if all(folder.is_dir() for folder in folders):
            training, test = map(_files_in, folders)
            classes = _classes(training)
            if unknown := set(_classes(test)).difference(classes):
                raise DataError(
                    f"{folders[1]} holds the class {unknown.pop()!r}, and {folders[0]} does not"
                )
            return (training if train else test), classes
        files = _files_in(self.path)
        held_out = split(len(files), TEST_SHARE).tolist()
        chosen = [file for file, held in zip(files, held_out, strict=True) if held != train]
        return chosen, _classes(files)


class _File(NamedTuple):
    path: Path
    class_name: str  # empty where there is none


def _classes(files: list[_File]) -> list[str]:
    return sorted({file.class_name for file in files})


def _files_in(folder: Path) -> list[_File]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of images; name one with data.path=...")
    files = []
    for path in sorted(filter(is_image_file, folder.rglob("*"))):
        inside = path.relative_to(folder).parts
        files.append(_File(path, inside[0] if len(inside) > 1 else ""))
    if not files:
        raise DataError(f"{folder} and the folders in it hold no image files")
    alone = [file.path for file in files if not file.class_name]
    if 0 < len(alone) < len(files):
        raise DataError(f"{alone[0]} lies beside folders of classes: move it into one of them")
    return files
