"""Images in one file of tensors as a data set."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from musigma.data.datamodule import NO_LABEL, TEST_SHARE, ImageDataModule, split
from musigma.errors import DataError
from musigma.ranges import ImageShape, checked


class TensorFileDataModule(ImageDataModule):
    """Images and labels by name in an `.npz`, `.safetensors` or `.pt` file, a dict in the latter.

    `images` is `[N, C, H, W]` uint8 and `labels`, if there are any, `[N]`; so are `test_images`
    and `test_labels`. Without the former a tenth of the images, drawn by a fixed seed, is the test
    set. Nothing in a file is run.

    Args:
        path: the file.
        image_shape: C, H and W.
        settings: the others of `ImageDataModule`.
    """

    @checked
    def __init__(self, *, path: str | Path, image_shape: ImageShape, **settings: Any) -> None:
        super().__init__(image_shape=image_shape, **settings)
        self.path = Path(path).expanduser()
        self.name = self.path.name

    def prepare_data(self) -> None:
        """Hold the file against what it should be.

        Raises:
            DataError: if it cannot be read, or an array is missing, of another shape or type.
        """
        self.read(train=False)

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, C, H, W]` uint8 and labels `[N]`."""
        arrays = read_arrays(self.path)
        images, labels = self._set(arrays, "")
        if "test_images" not in arrays:
            rows = split(len(images), TEST_SHARE) != train
            return images[rows], labels[rows]
        test_images, test_labels = self._set(arrays, "test_")
        if unknown := set(test_labels.tolist()).difference(labels.tolist()):
            raise DataError(
                f"{self.path}: a test image has the label {unknown.pop()} (−1: none), which no "
                "training image has"
            )
        return (images, labels) if train else (test_images, test_labels)

    def _set(self, arrays: Mapping[str, Tensor], prefix: str) -> tuple[Tensor, Tensor]:
        """The images and labels whose names begin so."""
        name = f"{prefix}images"
        if name not in arrays:
            raise DataError(f"{self.path} holds {', '.join(arrays)}, and should hold {name}")
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
        labels = arrays.get(f"{prefix}labels", torch.full((count,), NO_LABEL))
        if labels.shape != (count,) or labels.is_floating_point():
            raise DataError(
                f"{self.path}: {prefix}labels is {labels.dtype} {list(labels.shape)}, and should "
                f"be whole numbers [{count}]"
            )
        return images, labels.long()


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a file by their names; what is in it cannot run.

    Raises:
        DataError: if it is not there, not of a known kind, or damaged.
    """
    if path.suffix not in READERS:
        raise DataError(f"{path} should be a file that ends in {', '.join(READERS)}")
    try:
        return READERS[path.suffix](path)
    except Exception as error:
        raise DataError(f"{path} cannot be read as {path.suffix}: {error}") from error


def _npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


def _pt(path: Path) -> dict[str, Tensor]:
    arrays = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(arrays, dict) or not all(isinstance(v, Tensor) for v in arrays.values()):
        raise ValueError("it should hold a dict of tensors")
    return arrays


READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    ".npz": _npz,
    ".pt": _pt,
    ".safetensors": safetensors.torch.load_file,
}
