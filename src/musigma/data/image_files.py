"""Image files as pixels."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from workbench.errors import DataError

MODES = {1: "L", 3: "RGB"}
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
COMMON = ("JPEG", "PNG")
"""Formats that are tried first; every other one costs time."""
RUN_CODE = ("EPS",)
"""Formats whose files are programs, for an interpreter that Pillow starts."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation of a camera → what makes its image upright."""


def is_image_file(path: Path) -> bool:
    """True if its name ends like an image's and it is not hidden; a broken link counts too."""
    known = Image.registered_extensions().get(path.suffix.lower()) in _formats()
    return known and not path.name.startswith(".") and (path.is_file() or path.is_symlink())


def read_files(
    paths: Sequence[Path | str], image_shape: tuple[int, int, int], *, resize: bool
) -> Tensor:
    """Image files as `[N, C, H, W]` uint8, upright, grey or in colour as C is 1 or 3.

    Of an animation it is the first image.

    Args:
        paths: the files.
        image_shape: channels, height and width.
        resize: whether an image of another size is scaled until it covers that one, and what
            stands out is cut off evenly; otherwise it is an error.

    Raises:
        DataError: if a file cannot be read, has another size or more pixels than Pillow takes for
            harmless, or holds grey levels of more than 8 bits.
    """
    check_channels(image_shape)
    with strict(), ThreadPoolExecutor() as pool:
        images = list(pool.map(partial(read_file, image_shape=image_shape, resize=resize), paths))
    return torch.stack(images)


def check_channels(image_shape: tuple[int, int, int]) -> None:
    """Raise a DataError unless image files hold images of so many channels."""
    if image_shape[0] not in MODES:
        raise DataError(f"image files hold 1 or 3 channels, and {image_shape[0]} are wanted")


@contextmanager
def strict() -> Iterator[None]:
    """Within it, images of more pixels than Pillow takes for harmless are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # The colours that are asked for are the same either way.
        warnings.filterwarnings("ignore", "Palette images with Transparency")
        yield


def read_file(path: Path | str, image_shape: tuple[int, int, int], resize: bool) -> Tensor:
    """One image file as `[C, H, W]`, within `strict`; see `read_files`."""
    channels, height, width = image_shape
    try:
        with Image.open(path, formats=_formats()) as file:
            if file.mode not in EIGHT_BITS:
                raise DataError(f"{path} holds {file.mode} pixels: save it with 8 bits a channel")
            image = file.convert(MODES[channels])
            if (turn := UPRIGHT.get(_orientation(file))) is not None:
                image = image.transpose(turn)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path} has more than the {Image.MAX_IMAGE_PIXELS:,} pixels that an image may have: "
            "scale it down or remove it"
        ) from error
    except Exception as error:  # Pillow raises all kinds of them on damaged files
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    if not resize and image.size != (width, height):
        raise DataError(
            f"{path} has {image.height} × {image.width} pixels, and the model takes "
            f"{height} × {width}: resize it"
        )
    return fitted(image, image_shape)


def fitted(image: Image.Image, image_shape: tuple[int, int, int]) -> Tensor:
    """An image as `[C, H, W]` uint8: scaled until it covers that shape, and cut evenly."""
    channels, height, width = image_shape
    if image.mode != MODES[channels]:
        image = image.convert(MODES[channels])
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).reshape(height, width, channels)
    return pixels.permute(2, 0, 1)  # stacking will copy it


def _orientation(file: Image.Image) -> int:
    """The way in which a camera was held, after the pixels are read; 1, upright, by default."""
    try:
        return int(file.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # of damaged EXIF, beside good pixels
        return 1


@cache
def _formats() -> tuple[str, ...]:
    """The formats that can be read, and are only data."""
    Image.init()
    rest = (name for name in Image.OPEN if name not in (*COMMON, *RUN_CODE))
    return (*COMMON, *rest)
