"""Grids of images in plots, and the names of dimensions and classes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from workbench.plots.style import INK, new_figure

MOST_CLASSES = 50
"""The most classes whose names fit into a plot."""

TILE = 0.62
"""The width of an image in a grid, in inches."""


def show_images(
    axes: Axes,
    images: Tensor,
    title: str = "",
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    gap: int = 1,
) -> None:
    """Show images in rows and columns as one image.

    Args:
        axes: the axes, on which image (r, k) is centred at x = k, y = r.
        images: `[R, K, C, H, W]`, clipped to [0, 1].
        title: the title above the images.
        rows: a label for each row, or none.
        columns: a label for each column, or none.
        gap: white pixels on each side of an image.
    """
    tiles = F.pad(viewable(images).detach().cpu().float().clamp(0, 1), [gap] * 4, value=1.0)
    image = tiles.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    shown = image.squeeze(2) if image.shape[2] == 1 else image
    edges = (-0.5, tiles.shape[1] - 0.5, tiles.shape[0] - 0.5, -0.5)
    aspect = tiles.shape[3] / tiles.shape[4]
    axes.imshow(
        shown.numpy(), "gray", vmin=0, vmax=1, extent=edges, aspect=aspect, interpolation="none"
    )  # without interpolation an SVG keeps the pixels: sharp, and a fifth of the size
    axes.set_title(title, fontsize="medium", color=INK)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize="small")


def viewable(images: Tensor) -> Tensor:
    """Images `[..., C, H, W]`, reduced to the first channel unless they have one or three."""
    return images if images.shape[-3] in (1, 3) else images[..., :1, :, :]


def image_size(images: Tensor, tile: float = TILE) -> tuple[float, float]:
    """Width and height in inches of a grid `[R, K, C, H, W]` whose columns are `tile` wide."""
    rows, columns, _, height, width = images.shape
    return columns * tile, rows * tile * height / width


def image_figure(
    images: Tensor,
    title: str,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    x: str = "",
    y: str = "",
    gap: int = 1,
    tile: float = TILE,
) -> Figure:
    """A figure with one grid of images, see `show_images`, and names `x` and `y` of its axes."""
    width, height = image_size(images, tile)
    left = 0.1 + 0.075 * max(map(len, rows), default=0) + 0.25 * bool(y)
    above_and_below = 0.3 + 0.15 * bool(columns) + 0.25 * bool(x)
    figure = new_figure(max(width + left, 0.09 * len(title)), height + above_and_below)
    axes = figure.subplots()
    show_images(axes, images, title, rows=rows, columns=columns, gap=gap)
    axes.set(xlabel=x, ylabel=y)
    return figure


def in_columns(images: Tensor, columns: int) -> Tensor:
    """`[B, C, H, W]` → `[R, K, C, H, W]`, padded with white; K is `columns`, or B if smaller."""
    columns = min(columns, len(images))
    blank = images.new_ones(-len(images) % columns, *images.shape[1:])
    return torch.cat([images, blank]).unflatten(0, (-1, columns))


def name_of(dimension: int) -> str:
    """The name of a dimension, counted from 0 as in code: z₃ for 3."""
    return "z" + str(dimension).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def tick_of(value: float) -> str:
    """A coordinate with one decimal and a proper minus sign, never −0."""
    return f"{round(value, 1) + 0.0:.1f}".replace("-", "−")


def class_name(label: int) -> str:
    """The name of a class; `none` for −1, the label of images without one."""
    return str(label) if label >= 0 else "none"
