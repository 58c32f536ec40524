"""Check images and labels that were read into memory."""

import torch
from torch import Tensor

from musigma.data.splits import NO_LABEL
from musigma.shapes import ImageShape
from workbench.errors import DataError


def check_arrays(images: Tensor, labels: Tensor, image_shape: ImageShape, prefix: str) -> None:
    """Check images `[N, C, H, W]` and labels `[N]`, which messages call `prefix` + "images".

    Raises:
        DataError: if images are not uint8 of that shape, or labels not integers from −1.
    """
    if images.dtype != torch.uint8 or images.shape[1:] != torch.Size(image_shape):
        raise DataError(
            f"{prefix}images are {images.dtype} {list(images.shape)}, and should be grey levels 0 "
            f"to 255, uint8 [N, {', '.join(map(str, image_shape))}] for this image_shape "
            "(channels, height, width)"
        )
    is_integer = not (labels.is_floating_point() or labels.is_complex())
    if labels.shape != (len(images),) or not is_integer:
        raise DataError(
            f"{prefix}labels are {labels.dtype} {list(labels.shape)}, and should be whole numbers "
            f"[{len(images)}]; give −1 to images without a label"
        )
    if (labels := labels.long()).numel() and labels.min() < NO_LABEL:
        raise DataError(
            f"{prefix}labels hold {labels.min()}, and should count from 0 (−1: no label)"
        )
