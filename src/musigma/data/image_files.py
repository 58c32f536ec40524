"""Read image files as tensors."""

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
"""Formats that are tried first, which saves time."""
RUN_CODE = ("EPS",)
"""Formats whose files are programs, which Pillow runs in an interpreter."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → the transpose that makes the image upright."""


def is_image_file(path: Path) -> bool:
    """True for a visible file with an image's suffix; a broken link counts too."""
    known = Image.registered_extensions().get(path.suffix.lower()) in _formats()
    return known and not path.name.startswith(".") and (path.is_file() or path.is_symlink())


def read_files(
    paths: Sequence[Path | str], image_shape: tuple[int, int, int], *, resize: bool
) -> Tensor:
    """Read image files as `[N, C, H, W]` uint8, upright; grey if C is 1, RGB if it is 3.

    Of an animation, the first frame is read.

    Args:
        paths: the files.
        image_shape: channels, height and width.
        resize: scale images of another size to cover `image_shape` and crop them centrally;
            otherwise they are an error.

    Raises:
        DataError: if a file cannot be read, has another size, exceeds Pillow's limit on pixels, or
            has more than 8 bits per channel.
    """
    check_channels(image_shape)
    with strict_pillow(), ThreadPoolExecutor() as pool:
        images = list(pool.map(partial(read_file, image_shape=image_shape, resize=resize), paths))
    return torch.stack(images)


def check_channels(image_shape: tuple[int, int, int]) -> None:
    """Raise a DataError unless the number of channels is 1 or 3."""
    if image_shape[0] not in MODES:
        raise DataError(f"image files have 1 or 3 channels, and the model takes {image_shape[0]}")


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Make images beyond Pillow's limit on pixels errors instead of warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # Palette images are converted to L or RGB, which ignores transparency anyway.
        warnings.filterwarnings("ignore", "Palette images with Transparency")
        yield


def read_file(path: Path | str, image_shape: tuple[int, int, int], resize: bool) -> Tensor:
    """Read one image file as `[C, H, W]`; call it within `strict_pillow`. See `read_files`."""
    channels, height, width = image_shape
    try:
        with Image.open(path, formats=_formats()) as file:
            if file.mode not in EIGHT_BITS:
                raise DataError(f"{path} holds {file.mode} pixels: save it with 8 bits a channel")
            image = file.convert(MODES[channels])
            if (transpose := UPRIGHT.get(_orientation(file))) is not None:
                image = image.transpose(transpose)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path} has more than the {Image.MAX_IMAGE_PIXELS:,} pixels that are allowed: "
            "scale it down or remove it"
        ) from error
    except Exception as error:  # Pillow raises many kinds of errors on damaged files
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    if not resize and image.size != (width, height):
        raise DataError(
            f"{path} has {image.height} × {image.width} pixels, and the model takes "
            f"{height} × {width}: resize it"
        )
    return scale_and_crop(image, image_shape)


def scale_and_crop(image: Image.Image, image_shape: tuple[int, int, int]) -> Tensor:
    """Scale an image to cover the shape, and crop it centrally: `[C, H, W]` uint8."""
    channels, height, width = image_shape
    if image.mode != MODES[channels]:
        image = image.convert(MODES[channels])
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).reshape(height, width, channels)
    return pixels.permute(2, 0, 1)  # not contiguous, but stacking copies it anyway


def _orientation(file: Image.Image) -> int:
    """The EXIF orientation; 1, upright, by default. Call it after the pixels were read."""
    try:
        return int(file.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data beside intact pixels
        return 1


@cache
def _formats() -> tuple[str, ...]:
    """The formats that Pillow can read, without those that run code."""
    Image.init()
    rest = (name for name in Image.OPEN if name not in (*COMMON, *RUN_CODE))
    return (*COMMON, *rest)
