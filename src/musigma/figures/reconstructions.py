"""Originals and their reconstructions, one above the other."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from musigma.figures.style import in_columns, picture_figure, picture_size, show_images, viewable
from workbench.plots.style import new_figure

COLUMNS = 10


def pair_rows(above: Tensor, below: Tensor, columns: int = 8) -> Tensor:
    """Two sets of images `[B, C, H, W]` in [0, 1] → one picture, rows of the two in turn."""
    above, below = viewable(above), viewable(below)
    blank = above.new_zeros(-len(above) % columns, *above.shape[1:])
    rows = [torch.cat([images, blank]).split(columns) for images in (above, below)]
    pairs = torch.cat([torch.cat(pair) for pair in zip(*rows, strict=True)])
    return make_grid(pairs.clamp(0, 1), nrow=columns)


def draw_reconstructions(x: Tensor, from_mu: Tensor, from_sample: Tensor) -> Figure:
    """Originals, and what is decoded of μ and of one draw of z; `[B, C, H, W]` in [0, 1] each.

    The two differ by what the posterior's noise costs; for a point posterior they are the same.
    """
    # Ten images a block, and three rows in each: [R, 3, K, C, H, W].
    blocks = torch.stack([in_columns(images, COLUMNS) for images in (x, from_mu, from_sample)], 1)
    width, height = picture_size(blocks.flatten(0, 1))
    figure = new_figure(width + 1.1, height + 0.2 * len(blocks) + 0.2)
    all_axes = figure.subplots(len(blocks), squeeze=False)[:, 0]
    for axes, block in zip(all_axes, blocks, strict=True):
        title = "Images and their reconstructions" if axes is all_axes[0] else ""
        show_images(axes, block, title, rows=("original", "from μ", "from a draw of z"))
    return figure


def draw_worst(x: Tensor, x_hat: Tensor, captions: Sequence[str]) -> Figure:
    """The images that are reconstructed worst, above their reconstructions.

    Args:
        x: originals, `[B, C, H, W]` in [0, 1].
        x_hat: their reconstructions.
        captions: a few words under each of them, such as its class and its error.
    """
    return picture_figure(
        torch.stack([x, x_hat]),
        "Worst-reconstructed images",
        rows=("original", "reconstruction"),
        columns=captions,
    )
