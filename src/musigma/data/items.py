"""Convert the items of a data set to images and labels."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from musigma.data.batch import warn_of_unused
from musigma.data.image_files import EIGHT_BITS, check_channels, scale_and_crop
from musigma.data.splits import NO_LABEL
from musigma.shapes import ImageShape
from workbench.errors import DataError

log = logging.getLogger(__name__)

LARGEST_LABEL = torch.iinfo(torch.long).max


@dataclass(frozen=True)
class ItemConverter:
    """Converts an item: an image, `(image, label)` or a mapping with `x` and perhaps `y`.

    Args:
        image_shape: C, H and W.
        place: the setting of the data set, for messages.
    """

    image_shape: ImageShape
    place: str

    def __call__(self, item: Any, row: int) -> tuple[Tensor, int]:
        """The image and the label of an item.

        Raises:
            DataError: if it has no image of the model's shape.
        """
        image, label = self._parts(item, row)
        number = _class_of(label)
        return self._image(image, row), NO_LABEL if number is None else number

    def check_first(self, item: Any) -> None:
        """Convert the first item, and warn of what is not used in items like it.

        Raises:
            DataError: as for others.
        """
        image, label = self._parts(item, 0)
        self._image(image, 0)
        if label is not None and _class_of(label) is None:
            log.warning(
                "%s: the label of item 0 is %s, which is no class counted from 0 (−1: none): such\n"
                "labels are not used",
                self.place,
                _describe(label),
            )
        if isinstance(item, Mapping):
            warn_of_unused(item)

    def _parts(self, item: Any, row: int) -> tuple[Any, Any]:
        """What an item has as its image and as its label, None if there is no label."""
        if isinstance(item, Mapping):
            if "x" not in item:
                raise DataError(
                    f"{self.place}: item {row} has the keys {', '.join(map(str, item))}, and "
                    "should have its image as x and its label, if it has one, as y"
                )
            return item["x"], item.get("y")
        if isinstance(item, tuple | list):
            return (*item, None, None)[:2]
        return item, None

    def _image(self, image: Any, row: int) -> Tensor:
        if isinstance(image, Image.Image) and image.mode in EIGHT_BITS:
            check_channels(self.image_shape)
            return scale_and_crop(image, self.image_shape)
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


def _class_of(label: Any) -> int | None:
    """A label as a class, or as −1 for no label; None if it is something else."""
    if isinstance(label, Tensor | np.ndarray | np.generic) and label.shape in ((), (1,)):
        label = label.item()
    if isinstance(label, int) and NO_LABEL <= label <= LARGEST_LABEL:
        return int(label)  # a truth value too
    return None


def _describe(label: Any) -> str:
    if isinstance(label, Tensor | np.ndarray) and label.size:
        return f"{type(label).__name__} {list(label.shape)}"
    return repr(label)
