"""Scatter plots of codes, coloured by class."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from torch import Tensor

from musigma.plots.style import MOST_CLASSES, class_name, name_of
from workbench.plots.style import CLASS_COLOURS, INK, PALE, new_figure, plot_axes

ELLIPSES = 100
"""The number of posteriors shown as ellipses, evenly spaced among the images."""


def plot_latent_scatter(
    mu: Tensor, y: Tensor, std: Tensor | None = None, dimensions: tuple[int, int] = (0, 1)
) -> Figure:
    """The posterior means in two dimensions, coloured by class.

    Args:
        mu: posterior means, `[N, d]`.
        y: labels, `[N]`; equal ones count as no labels.
        std: posterior standard deviations, `[N, d]`, for ellipses; None for a point posterior.
        dimensions: the two dimensions that are the axes.
    """
    pair = list(dimensions)
    points, y = mu[:, pair].detach().cpu(), y.cpu()
    rows = torch.linspace(0, len(mu) - 1, min(ELLIPSES, len(mu))).long()
    title = f"μ of {len(mu):,} images{_by_class(y)}"
    figure = new_figure(6.5, 6)
    axes = figure.subplots()
    if std is not None:
        title += f", with one standard deviation of q(z|x) for {len(rows)} of them"
        widths, heights = 2 * std[:, pair].detach().cpu()[rows].T.numpy()
        ellipses = EllipseCollection(
            widths,
            heights,
            [0.0],
            units="xy",
            offsets=points[rows].numpy(),
            offset_transform=axes.transData,
            facecolors=to_rgba_array(_colours(y[rows]), 0.35),
            edgecolors=INK,
            linewidths=0.4,
        )
        axes.add_collection(ellipses)
    _scatter(axes, points, y)
    plot_axes(axes, f"μ of {name_of(pair[0])}", f"μ of {name_of(pair[1])}", title)
    return figure


def plot_latent_pca(mu: Tensor, y: Tensor) -> Figure:
    """The posterior means `[N, d]`, d ≥ 2, along the first two principal components, by class.

    The sign of a component is chosen so that its largest weight is positive.
    """
    codes = mu.detach().cpu().double()
    centred = codes - codes.mean(0)
    _, values, vectors = torch.linalg.svd(centred, full_matrices=False)
    largest = vectors[:2].gather(1, vectors[:2].abs().argmax(1, keepdim=True))
    shares = values.square() / values.square().sum().clamp(min=1e-300)  # 0 for equal codes
    figure = new_figure(6.5, 6)
    axes = figure.subplots()
    _scatter(axes, centred @ (vectors[:2] * largest.sign()).T, y.cpu())
    first, second = (
        f"principal component {i + 1} ({shares[i]:.0%} of the variance)" for i in (0, 1)
    )
    title = f"μ of {len(mu):,} images{_by_class(y)}, principal components"
    plot_axes(axes, first, second, title)
    return figure


def _scatter(axes: Axes, points: Tensor, y: Tensor) -> None:
    """Plot points `[N, 2]`, with the name of each class near the median of its points.

    More than 50 classes have no names; more than ten share colours.
    """
    across, upwards = points.T.numpy()
    size = min(max(20_000 / len(points), 4), 16)
    axes.scatter(across, upwards, size, _colours(y), alpha=0.7, linewidths=0, rasterized=True)
    axes.set_aspect("equal", adjustable="datalim")
    labels = y.unique()
    if not 1 < len(labels) <= MOST_CLASSES:
        return
    medians = torch.stack([points[y == label].median(0).values for label in labels])
    extent = (points.amax(0) - points.amin(0)).max().item()
    positions = _apart(medians, 0.055 * extent).tolist()
    axes.update_datalim(positions)
    for label, (x, up), colour in zip(labels.tolist(), positions, _colours(labels), strict=True):
        ring = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": colour}
        name = class_name(label)
        text = axes.text(x, up, name, color=INK, ha="center", va="center", bbox=ring)
        text.set_fontweight("bold")
        axes.scatter([], [], 30, colour, label=name)
    columns = math.ceil(len(labels) / 16)
    axes.legend(
        title="class", ncols=columns, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False
    )


def _apart(points: Tensor, distance: float) -> Tensor:
    """Move points `[C, 2]` until they are at least `distance` apart, approximately."""
    for _ in range(100):
        offsets = points.unsqueeze(1) - points
        gaps = offsets.norm(dim=2, keepdim=True).clamp(min=1e-12)
        points = points + ((distance - gaps).clamp(min=0) / 2 * offsets / gaps).sum(1)
    return points


def _by_class(y: Tensor) -> str:
    return " by class" if len(y.unique()) > 1 else ""


def _colours(y: Tensor) -> list[str]:
    """The colours of labels; pale for images without one, if other images have labels."""
    count, has_labels = len(CLASS_COLOURS), bool((y >= 0).any())
    return [
        PALE if label < 0 and has_labels else CLASS_COLOURS[max(0, label) % count]
        for label in y.tolist()
    ]
