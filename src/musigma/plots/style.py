"""Images side by side, and the names of latent dimensions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from workbench.plots.style import INK, new_figure

MOST_CLASSES = 50
"""The most classes whose names fit beside a plot."""

TILE = 0.62
"""The width of an image among others, in inches."""


def show_images(
    axes: Axes,
    images: Tensor,
    title: str = "",
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    gap: int = 1,
) -> None:
    """Images in rows and columns, `[R, K, C, H, W]` in [0, 1], as one image.

    Args:
        axes: where; afterwards image (r, k) is centred on x = k, y = r.
        images: what is outside [0, 1] is clipped.
        title: above the image.
        rows: a label for each row; none if empty.
        columns: a label for each column; none if empty.
        gap: white pixels on each side of an image.
    """
    tiles = F.pad(viewable(images).detach().cpu().float().clamp(0, 1), [gap] * 4, value=1.0)
    image = tiles.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    shown = image.squeeze(2) if image.shape[2] == 1 else image
    edges = (-0.5, tiles.shape[1] - 0.5, tiles.shape[0] - 0.5, -0.5)
    aspect = tiles.shape[3] / tiles.shape[4]
    axes.imshow(
        shown.numpy(), "gray", vmin=0, vmax=1, extent=edges, aspect=aspect, interpolation="none"
    )  # an SVG then holds the pixels themselves: sharp, and a fifth of the size
    axes.set_title(title, fontsize="medium", color=INK)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize="small")


def viewable(images: Tensor) -> Tensor:
    """`[..., C, H, W]`, of which in other than grey and colour only the first channel is left."""
    return images if images.shape[-3] in (1, 3) else images[..., :1, :, :]


def image_size(images: Tensor, tile: float = TILE) -> tuple[float, float]:
    """Width and height in inches of `[R, K, C, H, W]`, its columns `tile` apart."""
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
    """A page that holds what `show_images` draws and no more, with names for both directions."""
    width, height = image_size(images, tile)
    beside = 0.1 + 0.075 * max(map(len, rows), default=0) + 0.25 * bool(y)
    above_and_below = 0.3 + 0.15 * bool(columns) + 0.25 * bool(x)
    figure = new_figure(max(width + beside, 0.09 * len(title)), height + above_and_below)
    axes = figure.subplots()
    show_images(axes, images, title, rows=rows, columns=columns, gap=gap)
    axes.set(xlabel=x, ylabel=y)
    return figure


def in_columns(images: Tensor, columns: int) -> Tensor:
    """`[B, C, H, W]` → `[R, K, C, H, W]`, filled up with white; K is `columns`, or B if less."""
    columns = min(columns, len(images))
    blank = images.new_ones(-len(images) % columns, *images.shape[1:])
    return torch.cat([images, blank]).unflatten(0, (-1, columns))


def name_of(dimension: int) -> str:
    """z₃ for 3: dimensions are counted from 0, as in code."""
    return "z" + str(dimension).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def tick_of(value: float) -> str:
    """A coordinate to one digit, with a proper minus, and none before 0."""
    return f"{round(value, 1) + 0.0:.1f}".replace("-", "−")


def class_name(label: int) -> str:
    """A class in words; that of an image without one is −1."""
    return str(label) if label >= 0 else "none"
