"""Read the images and codes that a trained model is applied to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musigma.data import ImageDataModule
from musigma.data.batch import outside_unit
from musigma.data.image_files import is_image_file, read_files
from musigma.data.splits import NO_LABEL
from musigma.data.tensor_file import READERS, open_npz, read_arrays
from musigma.loading import Run
from musigma.models import LatentVariableModel
from musigma.seeding import FIXED_SEED
from musigma.shapes import ImageShape
from workbench.errors import ConfigError, DataError
from workbench.links import is_special

IMAGES = ("images", "x")
"""Names of the array of images in a file with several arrays."""

LABELS = ("labels", "label")
"""Names of the array of labels."""


def images_of(run: Run, source: str, label: int | None) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Normalised images `[N, C, H, W]`, the labels that the model takes, and arrays to write.

    These are `label` or `name`, `[N]`, as far as known.

    Args:
        run: the run, whose data define the normalisation and whether image files are resized.
        source: `test` or `val`, a folder of image files, an image file, or a file of tensors, whose
            labels are its array `labels` or `label`, if these are whole numbers.
        label: the label of all images that have none of their own; None if there is none.

    Raises:
        ConfigError: if there is a label, and the images have labels of their own.
        DataError: if the source is none of these, is damaged, has images of another shape, or
            lacks labels that the model needs.
    """
    x, about = _read_images(run.data, source)
    labels = torch.as_tensor(about["label"]) if "label" in about else None
    if labels is not None and label is not None:
        raise ConfigError(f"label={label}: the images of input={source} have labels of their own")
    y = labels_for(run, len(x), labels, label, f"input={source} holds")
    return x, y, {**about, "label": y.numpy()} if run.model.conditioned_on else about


def labels_for(
    run: Run, count: int, labels: Tensor | None, label: int | None, subject: str = ""
) -> Tensor:
    """`label` for all `[count]`, or else `labels`; −1 if there are none and none are needed.

    An error message begins with `subject`, the source of the labels and a verb.
    """
    if label is not None:
        y = torch.full((count,), label)
    elif labels is not None:
        y = labels
    elif run.model.conditioned_on:
        raise DataError(f"{subject} no labels, and this model needs them: set label=...")
    else:
        y = torch.full((count,), NO_LABEL)
    run.model.check(y)
    return y


def _read_images(data: ImageDataModule, source: str) -> tuple[Tensor, dict[str, Any]]:
    """Normalised images `[N, C, H, W]`, and their `label` or `name`, `[N]`, as far as known."""
    if source in ("test", "val"):
        return _own_images(data, source)
    path = Path(source)
    about: dict[str, Any] = {}
    if source and path.is_dir():
        paths = sorted(filter(is_image_file, path.iterdir()))
        if not paths:
            raise DataError(f"{path} holds no image files")
    elif path.suffix.lower() not in READERS and not is_image_file(path):
        raise DataError(
            f"input={source} is not a folder of images, an image file or a file of tensors "
            f"({', '.join(READERS)})"
        )
    else:
        paths = [path]
    if paths[0].suffix.lower() in READERS:
        arrays = read_arrays(path)
        pixels = _pixels(path, arrays, data.image_shape)
        labels = next((arrays[name] for name in LABELS if name in arrays), None)
        if (y := _whole_numbers(labels, len(pixels))) is not None:
            about["label"] = y.numpy()
    else:
        pixels = read_files(paths, data.image_shape, resize=data.resizes)
        about["name"] = [path.name for path in paths]
    generator = torch.Generator().manual_seed(FIXED_SEED)
    return data.normalization(data.normalization.prepare(pixels), generator), about


def _own_images(data: ImageDataModule, source: str) -> tuple[Tensor, dict[str, Any]]:
    """The run's test or validation images and their labels."""
    data.prepare_data()
    data.setup("test" if source == "test" else "fit")
    loader: Any = data.evaluation_loader("test" if source == "test" else "val")
    if isinstance(loader, list) and source == "test":
        raise DataError("the data of this run have no test set")
    if isinstance(loader, list):
        raise DataError("this run has no validation images: data.val_size is 0")
    x, y = loader.images().tensors()
    return x, {"label": y.numpy()} if NO_LABEL not in y else {}


def _pixels(path: Path, arrays: Mapping[str, Tensor], shape: ImageShape) -> Tensor:
    """Grey levels 0 … 255 of the images in a file, `[N, C, H, W]`, as uint8 or floats.

    The file has uint8, or floats on the [0, 1] scale as `task=decode` writes them.
    """
    name = next((name for name in IMAGES if name in arrays), None)
    if name is None and len(arrays) == 1:
        (name,) = arrays
    if name is None:
        held = ", ".join(map(str, arrays)) or "nothing"
        raise DataError(f"{path} holds {held}, and should hold images or x")
    images = arrays[name]
    images = images.unsqueeze(0) if images.shape == shape else images
    if images.shape[1:] != shape or not len(images):
        raise DataError(
            f"{path}: {name} has the shape {list(images.shape)}, and the model takes images "
            f"[N, {', '.join(map(str, shape))}]"
        )
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise DataError(
            f"{path}: {name} is {images.dtype}, and should be uint8 (grey levels 0 to 255) or "
            "floats from 0 to 1"
        )
    images = images.float()
    if found := outside_unit(images):
        raise DataError(
            f"{path}: {name} holds floats {found}, and should hold uint8 or floats from 0 to 1; "
            "predict normalises them"
        )
    return images * 255


def codes_of(path: Path, model: LatentVariableModel) -> tuple[Tensor, Tensor | None]:
    """Codes `[N, d]`, float32, and labels `[N]` or None: the arrays `z` or `mu`, and `label`.

    Raises:
        DataError: if the `.npz` is missing or damaged, or its codes do not fit the model.
    """
    try:
        if is_special(path):
            raise ValueError("it is neither a file nor a folder")
        with open_npz(path) as arrays:
            if not {"z", "mu"} & {*arrays}:
                raise ValueError(f"it holds {', '.join(arrays) or 'nothing'}")
            codes = np.asarray(arrays["z" if "z" in arrays else "mu"])
            labels = arrays.get("label")
    except Exception as error:  # damaged archives raise many kinds
        raise DataError(f"{path} cannot be read as an .npz with z or mu: {error}") from error
    if codes.dtype.kind not in "fiu":
        raise DataError(f"{path} holds codes of type {codes.dtype}, and the model takes floats")
    if codes.ndim != 2 or codes.shape[1] != model.latent_dim or len(codes) == 0:
        raise DataError(
            f"{path} holds codes of shape {list(codes.shape)}, and the model takes "
            f"[N, {model.latent_dim}]"
        )
    with np.errstate(over="ignore"):  # values too large for 32 bits become infinite, checked below
        z = torch.from_numpy(codes.astype(np.float32))
    finite = z.isfinite().all(1)
    if not finite.all():
        raise DataError(f"{path}: code {int((~finite).nonzero()[0])} is not finite in 32 bits")
    return z, _whole_numbers(labels, len(z))


def _whole_numbers(labels: Any, count: int) -> Tensor | None:
    """Labels as int64 `[count]`; None unless they are that many whole numbers from 0 on."""
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" or array.shape != (count,) or (array < 0).any():
        return None
    return torch.from_numpy(array.astype(np.int64))
