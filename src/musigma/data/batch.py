"""The `Batch` of this project, and the conversion of any other loader's batches to it."""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from musigma.data.splits import NO_LABEL
from musigma.objectives.likelihoods import Pixels
from workbench.errors import ConfigError, DataError

log = logging.getLogger(__name__)

ACCEPTED = "x, (x, y), a mapping with x and perhaps y, or a musigma.data.Batch"


class Batch(NamedTuple):
    """B images, their labels, and their indices in the data set.

    Args:
        x: normalised images, `[B, C, H, W]`, float32.
        y: class labels, `[B]`; −1 where there are none.
        row: indices in the loader's data set, `[B]`; None if unknown.
    """

    x: Tensor
    y: Tensor
    row: Tensor | None


def as_batch(batch: Any, image_shape: Sequence[int], dtype: Any) -> Batch:
    """Convert `x`, `(x, y)`, a mapping with `x` and perhaps `y`, or a `Batch` to a `Batch`.

    Images are cast to the model's `dtype`. Labels that are not one integer per image, such as lists
    of attributes, are dropped.

    Raises:
        DataError: if it is none of these, or its images are not floats of the model's shape.
        ConfigError: if the weights have 16 bits.
    """
    if dtype.itemsize < 4:
        raise ConfigError(
            f"the model's weights are {dtype}, and codes and densities need 32 bits: keep "
            "float32 weights and train with precision='bf16-mixed'"
        )
    x, y, row = parts_of(batch)
    if x.shape == torch.Size(image_shape):
        raise DataError(
            "the loader gives single images, and the model takes batches of them: put the data set "
            "into a DataLoader with a batch_size"
        )
    if x.shape[1:] != torch.Size(image_shape) or not len(x):
        raise DataError(
            f"a batch of the loader holds images of shape {list(x.shape)}, and the model takes "
            f"[B, {', '.join(map(str, image_shape))}]: change the data set's transform, or the "
            "model's image_shape"
        )
    if not x.is_floating_point():
        raise DataError(
            f"a batch of the loader holds {x.dtype} pixels, and the model takes floats, scaled as "
            "its likelihood expects: torchvision's ToTensor() gives [0, 1]"
        )
    if not isinstance(y, Tensor) or y.shape != (len(x),) or y.is_floating_point():
        y = torch.full((len(x),), NO_LABEL, device=x.device)
    return Batch(x.to(dtype), y, row)


def parts_of(batch: Any) -> tuple[Tensor, Any, Tensor | None]:
    """The images of a batch of any loader, and its labels and indices, None where it has none.

    Raises:
        DataError: if there are no images.
    """
    x, y, row = batch, None, None
    if isinstance(batch, Batch):
        x, y, row = batch
    elif isinstance(batch, Mapping) and "x" in batch:
        x, y = batch["x"], batch.get("y")
        warn_of_unused(batch)
    elif isinstance(batch, Sequence) and 1 <= len(batch) <= 2:
        x, y = (*batch, None)[:2]
    if not isinstance(x, Tensor):
        raise DataError(f"a batch of the loader is {_describe(batch)}; it should be {ACCEPTED}")
    return x, y, row


def warn_of_unused(batch: Mapping[Any, Any]) -> None:
    """Say once which tensors or arrays of a batch, or of an item of a data set, are not used."""
    kinds = (Tensor, np.ndarray)
    _warn_of(*(n for n, v in batch.items() if n not in ("x", "y") and isinstance(v, kinds)))


@functools.cache
def _warn_of(*names: Any) -> None:
    if names:
        log.warning(
            "only x and y of a batch are used, not %s: pass what else your model or likelihood "
            "needs, such as a mask of missing pixels, in further channels of x",
            ", ".join(map(str, names)),
        )


def check_pixels(x: Tensor, pixels: Sequence[Pixels]) -> None:
    """Check that pixels are of a kind that a likelihood is for; synchronises with the device.

    Raises:
        DataError: if they are not, or not finite.
    """
    if "real" not in pixels and (found := outside_unit(x)):
        raise DataError(
            f"the loader's pixels lie {found}, and the likelihood is for "
            f"{' or '.join(pixels)} pixels: leave out Normalize, or choose another likelihood"
        )
    if "real" not in pixels and "unit" not in pixels and not ((x == 0) | (x == 1)).all():
        raise DataError(
            "the loader's pixels are grey, and the likelihood is for binary pixels: round "
            "them, or choose another likelihood"
        )
    if not x.isfinite().all():
        raise DataError("the loader's pixels are not all finite: check its transform")


def outside_unit(x: Tensor) -> str | None:
    """The range, as `between -0.42 and 2.82`, unless it is within [0, 1]; synchronises."""
    low, high = x.min().item(), x.max().item()
    if low >= 0 and high <= 1:  # false for NaN
        return None
    return f"between {low:.3g} and {high:.3g}"


def size_of(loader: Any) -> int | None:
    """The number of images of a loader's data set; None if unknown."""
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError, NotImplementedError):
        return None


def has_indices(loader: Any) -> bool:
    """True if a loader's data set is map-style and has a length, so that images have indices."""
    return size_of(loader) is not None and not isinstance(loader.dataset, IterableDataset)


def _describe(batch: Any) -> str:
    name = type(batch).__name__
    if isinstance(batch, Mapping):
        return f"a {name} with the keys {', '.join(map(str, batch))}"
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return f"a {name} of {', '.join(type(part).__name__ for part in batch)}"
    return f"a {name}"
