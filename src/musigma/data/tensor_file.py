"""Images in one file of tensors as a data set."""

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

from musigma.data.datamodule import ImageDataModule
from musigma.data.splits import NO_LABEL, TEST_SHARE, split
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

    `images` is `[N, C, H, W]` uint8 and `labels`, if there are any, `[N]`; so are `val_images` and
    `val_labels`, `test_images` and `test_labels`. With a validation set of its own `val_size` is
    ignored; without a test set of its own a tenth of the images, chosen by a fixed seed, is the
    test set. Other arrays do not count. Nothing in a file is run.

    Args:
        path: the file.
        image_shape: C, H and W.
        settings: the others of `ImageDataModule`.
    """

    @checked
    def __init__(self, *, path: str | Path, image_shape: ImageShape, **settings: Any) -> None:
        super().__init__(image_shape=image_shape, **settings)
        self.path = Path(os.path.expanduser(path))
        self.name = self.path.name

    def prepare_data(self) -> None:
        """Check the arrays of the file.

        Raises:
            DataError: if it cannot be read, or an array is missing, of another shape or type.
        """
        self._sets_in_file()

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]`."""
        return self._sets_in_file()["train" if train else "test"]

    def read_validation(self) -> tuple[Tensor, Tensor] | None:
        """The same of `val_images` and `val_labels`, if there are such."""
        return self._sets_in_file().get("val")

    def _sets_in_file(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Images and labels of `train`, `test` and, if the file has one, `val`."""
        arrays = read_arrays(self.path)
        sets = {
            name: self._set(arrays, prefix)
            for name, prefix in SETS.items()
            if name == "train" or f"{prefix}images" in arrays or f"{prefix}labels" in arrays
        }
        images, labels = sets["train"]
        for name, (_, others) in sets.items():
            if unknown := set(others.tolist()).difference(labels.tolist()):
                raise DataError(
                    f"{self.path}: a {name} image has the label {unknown.pop()} (−1: none), which "
                    "no training image has"
                )
        if "test" not in sets:
            held_out = split(len(images), TEST_SHARE, f"{self.path}, a test set")
            sets["test"] = images[held_out], labels[held_out]
            sets["train"] = images[~held_out], labels[~held_out]
        return sets

    def _set(self, arrays: Mapping[str, Tensor], prefix: str) -> tuple[Tensor, Tensor]:
        """The images and labels whose names have that prefix."""
        name = f"{prefix}images"
        if name not in arrays:
            raise DataError(
                f"{self.path} holds {', '.join(map(str, arrays))}, and should hold {name}"
            )
        images = arrays[name]
        if images.dtype != torch.uint8:
            raise DataError(
                f"{self.path}: {name} is {images.dtype}, and should be uint8, grey levels 0 to 255"
            )
        if images.shape[1:] != self.image_shape or not len(images):
            raise DataError(
                f"{self.path}: {name} has the shape {list(images.shape)}, and should have [N, "
                f"{', '.join(map(str, self.image_shape))}]; change it or data.image_shape, which "
                "is channels, height, width"
            )
        count = len(images)
        name = f"{prefix}labels"
        labels = arrays.get(name, torch.full((count,), NO_LABEL))
        if labels.shape != (count,) or labels.is_floating_point() or labels.is_complex():
            raise DataError(
                f"{self.path}: {name} is {labels.dtype} {list(labels.shape)}, and should be whole "
                f"numbers [{count}]"
            )
        labels = labels.long()
        if labels.min() < NO_LABEL:
            raise DataError(
                f"{self.path}: {name} holds {labels.min()}, and labels count from 0 (−1: none)"
            )
        return images, labels


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a file by their names; what is in it cannot run.

    Raises:
        DataError: if it is not there, not of a known kind, or damaged.
    """
    if (suffix := path.suffix.lower()) not in READERS:
        raise DataError(f"{path} should be a file that ends in {', '.join(READERS)}")
    try:
        if is_special(path):
            raise ValueError("it is neither a file nor a folder")
        return READERS[suffix](path)
    except Exception as error:
        raise DataError(f"{path} cannot be read as {suffix}: {one_line(error)}") from error


def _npz(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is not an archive of arrays as numpy.savez writes it")
    with np.load(path, allow_pickle=False) as arrays:
        used = [name for name in arrays.files if name in ARRAYS] or arrays.files
        return {name: _tensor(name, arrays[name]) for name in used}


def _tensor(name: str, array: np.ndarray[Any, Any]) -> Tensor:
    if array.dtype.kind not in "biufc":
        raise ValueError(f"its {name} holds {array.dtype}, and should hold numbers")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _pt(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings(action="ignore"):  # of files that another torch has written
        arrays = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(arrays, Tensor):
        arrays = {"images": arrays}
    if isinstance(arrays, dict):
        arrays = {name: arrays[name] for name in ARRAYS if name in arrays} or arrays
    if not isinstance(arrays, dict) or not all(map(_is_plain, arrays.values())):
        raise ValueError("it should hold a dict of dense tensors")
    return arrays


def _is_plain(value: object) -> bool:
    """True for a tensor whose numbers all lie in the file."""
    if not isinstance(value, Tensor) or value.is_nested or value.is_meta:
        return False
    if value.layout != torch.strided:
        return False
    return value.nbytes <= value.untyped_storage().nbytes()  # and is not one that is repeated


READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    ".npz": _npz,
    ".pt": _pt,
    ".safetensors": safetensors.torch.load_file,
}
