"""Images side by side, such as a model's samples."""

from matplotlib.figure import Figure
from torch import Tensor

from musigma.figures.style import in_columns, picture_figure


def image_grid(images: Tensor, title: str, columns: int = 10) -> Figure:
    """Images `[B, C, H, W]` in [0, 1], row by row.

    Decoded draws from the prior say nothing of a model that was trained without a rate.
    """
    return picture_figure(in_columns(images, columns), title)
