"""Which classes, and which images, are reconstructed badly."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from musigma.figures.style import BLUE, new_figure, picture_size, plot_axes, show_images


def draw_class_errors(
    mean: Tensor,
    error: Tensor,
    *,
    quantity: str,
    classes: Sequence[str],
    x: Tensor,
    x_hat: Tensor,
    captions: Sequence[str],
) -> Figure:
    """An error by class, and the worst-reconstructed images above their reconstructions.

    Args:
        mean: of the error, for each class, `[C]`.
        error: its standard error, `[C]`.
        quantity: what the error is, with its unit.
        classes: their names.
        x: the worst images, `[B, C, H, W]` in [0, 1].
        x_hat: their reconstructions.
        captions: a few words under each of them, such as its class and its error.
    """
    pairs = torch.stack([x, x_hat])
    width, height = picture_size(pairs)
    figure = new_figure(max(6, width + 1.1), 3 + height + 0.5)
    above, below = figure.subplots(2, height_ratios=[3, height + 0.5])
    places = range(len(classes))
    above.errorbar(
        places, mean.tolist(), error.tolist(), fmt="o", color=BLUE, markersize=4, capsize=4
    )
    above.set_xticks(places, classes)
    plot_axes(above, "class", quantity, f"{quantity} by class, mean ± standard error")
    rows = ("original", "reconstruction")
    show_images(below, pairs, "Worst-reconstructed images", rows=rows, columns=captions)
    return figure
