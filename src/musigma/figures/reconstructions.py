"""Originals and their reconstructions, one above the other."""

import torch
from torch import Tensor
from torchvision.utils import make_grid


def pair_rows(above: Tensor, below: Tensor, columns: int = 8) -> Tensor:
    """Two sets of images `[B, C, H, W]` in [0, 1] → one picture, rows of the two in turn."""
    blank = above.new_zeros(-len(above) % columns, *above.shape[1:])
    rows = [torch.cat([images, blank]).split(columns) for images in (above, below)]
    pairs = torch.cat([torch.cat(pair) for pair in zip(*rows, strict=True)])
    return make_grid(pairs.clamp(0, 1), nrow=columns)
