"""A data set in one file of tensors."""

import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from musigma.data.arrays import check_arrays
from musigma.data.datamodule import ImageDataModule
from musigma.data.loader import InMemory
from musigma.data.splits import NO_LABEL, TEST_SHARE, holding_out
from musigma.shapes import ImageShape
from workbench.errors import DataError, one_line
from workbench.links import is_special
from workbench.ranges import checked

SETS = {"train": "", "val": "val_", "test": "test_"}
"""Set → prefix of the names of its arrays."""
ARRAYS = [f"{prefix}{kind}" for prefix in SETS.values() for kind in ("images", "labels")]


class TensorFileDataModule(ImageDataModule):
    """Images and labels by name in an `.npz`, `.safetensors` or `.pt` file.

    A `.pt` holds a dict, or the tensor of the images alone.

    `images` is `[N, C, H, W]` uint8 and `labels`, which are optional, `[N]`; likewise `val_images`,
    `val_labels`, `test_images` and `test_labels`. Without test images, a tenth of the images,
    chosen by a fixed seed, is the test set. Other arrays are ignored. No code of a file is run.

    Args:
        path: the file.
        image_shape: C, H and W.
        settings: further arguments of `ImageDataModule`.
    """

    @checked
    def __init__(self, *, path: str | Path, image_shape: ImageShape, **settings: Any) -> None:
        super().__init__(image_shape=image_shape, **settings)
        self.path = Path(os.path.expanduser(path))
        self.name = self.path.name

    def prepare_data(self) -> None:
        """Check the arrays of the file.

        Raises:
            DataError: if it cannot be read, or an array is missing or has the wrong shape or type.
        """
        self._sets_in_file()

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        return self._sets_in_file()["train" if train else "test"].tensors()

    def read_validation(self) -> tuple[Tensor, Tensor] | None:
        images = self._sets_in_file().get("val")
        return images.tensors() if images else None

    def _sets_in_file(self) -> dict[str, InMemory]:
        """Images and labels of `train`, `test` and, if the file has one, `val`."""
        arrays = read_arrays(self.path)
        sets = {
            name: self._set(arrays, prefix)
            for name, prefix in SETS.items()
            if name == "train" or f"{prefix}images" in arrays or f"{prefix}labels" in arrays
        }
        known = sets["train"].labels.tolist()
        for name, images in sets.items():
            if unknown := set(images.labels.tolist()).difference(known):
                raise DataError(
                    f"{self.path}: a {name} image has the label {unknown.pop()} (−1: none), which "
                    "no training image has"
                )
        return holding_out(sets, "test", TEST_SHARE, f"{self.path}, a test set")

    def _set(self, arrays: Mapping[str, Tensor], prefix: str) -> InMemory:
        """The images and labels whose names start with `prefix`."""
        name = f"{prefix}images"
        if name not in arrays:
            raise DataError(
                f"{self.path} holds {', '.join(map(str, arrays))}, and should hold {name}"
            )
        images = arrays[name]
        labels = arrays.get(f"{prefix}labels", torch.full(images.shape[:1], NO_LABEL))
        check_arrays(images, labels, self.image_shape, f"{self.path}: {prefix}")
        if not len(images):
            raise DataError(f"{self.path}: there are no images in {name}")
        return InMemory(images, labels.long())


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a file by their names, read without running code of the file.

    Raises:
        DataError: if it does not exist, is of an unknown kind or damaged.
    """
    if (suffix := path.suffix.lower()) not in READERS:
        raise DataError(f"{path} should be a file that ends in {', '.join(READERS)}")
    try:
        if is_special(path):
            raise ValueError("it is neither a file nor a folder")
        return READERS[suffix](path)
    except Exception as error:
        raise DataError(f"{path} cannot be read as {suffix}: {one_line(error)}") from error


def open_npz(path: Path) -> Any:
    """The arrays of an `.npz`, by name, to be closed; a ValueError if the file is none."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is not an archive of arrays as numpy.savez writes it")
    return np.load(path, allow_pickle=False)


def _npz(path: Path) -> dict[str, Tensor]:
    with open_npz(path) as arrays:
        used = [name for name in arrays.files if name in ARRAYS] or arrays.files
        return {name: _tensor(name, arrays[name]) for name in used}


def _tensor(name: str, array: np.ndarray[Any, Any]) -> Tensor:
    if array.dtype.kind not in "biufc":
        raise ValueError(f"its {name} holds {array.dtype}, and should hold numbers")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _pt(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings(action="ignore"):  # about files of other versions of torch
        arrays = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(arrays, Tensor):
        arrays = {"images": arrays}
    if isinstance(arrays, dict):
        arrays = {name: arrays[name] for name in ARRAYS if name in arrays} or arrays
    if not isinstance(arrays, dict) or not all(map(_is_plain, arrays.values())):
        raise ValueError("it should hold a dict of dense tensors")
    return arrays


def _is_plain(value: object) -> bool:
    """True for a dense tensor whose values are all in the file."""
    if not isinstance(value, Tensor) or value.is_nested or value.is_meta:
        return False
    if value.layout != torch.strided:
        return False
    return value.nbytes <= value.untyped_storage().nbytes()  # and is not expanded


READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    ".npz": _npz,
    ".pt": _pt,
    ".safetensors": safetensors.torch.load_file,
}
