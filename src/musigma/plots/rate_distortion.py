"""The rate–distortion plane."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.plots.axes import add_legend, colours, escaped, legend_label, one_plot
from workbench.plots.style import PALE

LABEL = 34.0, 12.0
"""The size of a label, in points."""
LONGEST_LABEL = 40
"""The most characters of a label; longer ones would leave no room for the axes."""


class Point(NamedTuple):
    """A model's rate and distortion with standard errors, in nats per image; NaN if unknown.

    Points with the same `series` have the same colour and are joined by lines.
    """

    label: str
    rate: float
    distortion: float
    rate_error: float = np.nan
    distortion_error: float = np.nan
    series: str = ""


def plot_rate_distortion(points: Sequence[Point]) -> Figure:
    """Distortion over rate, with lines of equal ELBO = −(D + R), as in Alemi et al. 2018, figure 1.

    Labels that would overlap are left out.
    """
    figure, axes = one_plot("rate R (nats per image)", "distortion D (nats per image)")
    names = list(dict.fromkeys(point.series for point in points))
    for name, colour in zip(names, colours(len(names)), strict=True):
        series = sorted((p for p in points if p.series == name), key=lambda point: point.rate)
        axes.errorbar(
            [point.rate for point in series],
            [point.distortion for point in series],
            xerr=np.nan_to_num([point.rate_error for point in series]),
            yerr=np.nan_to_num([point.distortion_error for point in series]),
            fmt="o-" if name else "o",
            color=colour,
            capsize=2,
            linewidth=1,
            markersize=4,
            label=legend_label(name),
        )
    axes.margins(0.15)
    right, top = axes.get_xlim(), axes.get_ylim()
    grid = np.meshgrid(np.linspace(*right), np.linspace(*top))
    lines = axes.contour(
        *grid, -(grid[0] + grid[1]), colors=PALE, linewidths=0.8, linestyles="solid"
    )
    axes.clabel(lines, fmt=lambda elbo: f"ELBO {elbo:.0f}".replace("-", "−"), fontsize="x-small")
    _add_labels(axes, points)
    add_legend(figure, names)
    return figure


def _add_labels(axes: Axes, points: Sequence[Point]) -> None:
    """Label points unless a label would overlap an earlier one."""
    positions = axes.transData.transform([(point.rate, point.distortion) for point in points])
    positions *= 72 / axes.figure.dpi
    labelled: list[np.ndarray] = []
    for point, position in zip(points, positions, strict=True):
        if any((abs(position - other) < LABEL).all() for other in labelled):
            continue
        labelled.append(position)
        axes.annotate(
            escaped(_shortened(point.label)),
            (point.rate, point.distortion),
            (4, 4),
            textcoords="offset points",
            fontsize="small",
        )


def _shortened(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
