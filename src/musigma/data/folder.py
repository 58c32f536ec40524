"""A folder of image files as pixels."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from musigma.errors import DataError

MODES = {1: "L", 3: "RGB"}


def read_images(folder: Path, image_shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Every image of a folder, by name: `[N, C, H, W]` uint8, and the names.

    Grey or colour is made what the model takes; sizes are not touched.

    Raises:
        DataError: if there are no images, or one cannot be read or has another size.
    """
    channels, height, width = image_shape
    if channels not in MODES:
        raise DataError(f"files hold 1 or 3 channels, and the model takes {channels}")
    endings = Image.registered_extensions()
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of images")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    if not paths:
        raise DataError(f"{folder} holds no image files ({', '.join(sorted(endings)[:5])}, ...)")
    images = []
    for path in paths:
        try:
            with Image.open(path) as file:
                pixels = np.asarray(file.convert(MODES[channels]))
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"{path} cannot be read as an image: {error}") from error
        if pixels.shape[:2] != (height, width):
            found = " × ".join(map(str, pixels.shape[:2]))
            raise DataError(
                f"{path} has {found} pixels, and the model takes {height} × {width}: resize it"
            )
        images.append(torch.from_numpy(pixels.copy()).reshape(height, width, channels))
    return torch.stack(images).permute(0, 3, 1, 2).contiguous(), [path.name for path in paths]
