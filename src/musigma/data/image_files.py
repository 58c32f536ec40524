"""Image files as pixels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from musigma.errors import DataError

MODES = {1: "L", 3: "RGB"}
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


def is_image_file(path: Path) -> bool:
    """Whether its name says so; hidden files are none."""
    endings = Image.registered_extensions()
    return path.suffix.lower() in endings and not path.name.startswith(".") and path.is_file()


def read_files(paths: Sequence[Path], image_shape: tuple[int, int, int], *, resize: bool) -> Tensor:
    """Image files as `[N, C, H, W]` uint8, grey or in colour as C is 1 or 3.

    Args:
        paths: the files.
        image_shape: channels, height and width.
        resize: whether an image of another size is scaled until it covers that one, and what
            stands out is cut off evenly; otherwise it is an error.

    Raises:
        DataError: if a file cannot be read, has another size, or holds more than 8 bits a channel.
    """
    if image_shape[0] not in MODES:
        raise DataError(f"image files hold 1 or 3 channels, and {image_shape[0]} are wanted")
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(partial(_read, image_shape=image_shape, resize=resize), paths))
    return torch.stack(images)


def _read(path: Path, image_shape: tuple[int, int, int], resize: bool) -> Tensor:
    channels, height, width = image_shape
    try:
        with Image.open(path) as file:
            if file.mode not in EIGHT_BITS:
                raise DataError(f"{path} holds {file.mode} pixels: save it with 8 bits a channel")
            image = file.convert(MODES[channels])
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    if resize:
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    elif image.size != (width, height):
        raise DataError(
            f"{path} has {image.height} × {image.width} pixels, and the model takes "
            f"{height} × {width}: resize it"
        )
    pixels = torch.from_numpy(np.array(image)).reshape(height, width, channels)
    return pixels.permute(2, 0, 1).contiguous()
