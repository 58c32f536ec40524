"""Encode an image, or many images as tiles of a sprite, as the bytes of an image file."""

import io
import math

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from musigma.plots.style import viewable


def png_of(image: Tensor) -> bytes:
    """An image `[C, H, W]` in [0, 1] as a PNG file, in grey if its channels are equal."""
    return _encoded(image, "PNG")


def sprite(images: Tensor) -> tuple[str, bytes]:
    """Images `[N, C, H, W]` in [0, 1] as the tiles of a square, row by row: format and bytes.

    Grey images become a PNG file, images in colour a JPEG file, which is smaller.
    """
    images = viewable(images)
    side = math.ceil(math.sqrt(len(images)))
    blank = images.new_zeros(side * side - len(images), *images.shape[1:])
    tiles = make_grid(torch.cat([images, blank]), nrow=side, padding=0)
    is_grey = images.shape[1] == 1
    return ("png", png_of(tiles)) if is_grey else ("jpeg", _encoded(tiles, "JPEG"))


def _encoded(image: Tensor, kind: str) -> bytes:
    pixels = (image.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    if len(pixels) == 3 and bool((pixels == pixels[:1]).all()):
        pixels = pixels[:1]
    shown = pixels.permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(shown[:, :, 0] if shown.shape[2] == 1 else shown).save(buffer, kind, quality=85)
    return buffer.getvalue()
