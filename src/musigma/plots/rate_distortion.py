"""The rate–distortion plane."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.plots.axes import add_legend, colours, named, one_plot, plain
from workbench.plots.style import PALE

LABEL = 34.0, 12.0
"""The size of a label, in points."""


class Point(NamedTuple):
    """A model's rate and distortion with their standard errors, in nats per image.

    Points of one series have one colour. An unknown error is NaN.
    """

    label: str
    rate: float
    distortion: float
    rate_error: float = np.nan
    distortion_error: float = np.nan
    series: str = ""


def plot_rate_distortion(points: Sequence[Point]) -> Figure:
    """Distortion over rate, with lines of equal ELBO = −(D + R).

    A label that would cover another one is left out. After Alemi et al. 2018, figure 1.
    """
    figure, axes = one_plot("rate R (nats per image)", "distortion D (nats per image)")
    names = list(dict.fromkeys(point.series for point in points))
    for name, colour in zip(names, colours(len(names)), strict=True):
        mine = sorted((p for p in points if p.series == name), key=lambda point: point.rate)
        axes.errorbar(
            [point.rate for point in mine],
            [point.distortion for point in mine],
            xerr=np.nan_to_num([point.rate_error for point in mine]),
            yerr=np.nan_to_num([point.distortion_error for point in mine]),
            fmt="o-" if name else "o",
            color=colour,
            capsize=2,
            linewidth=1,
            markersize=4,
            label=named(name),
        )
    axes.margins(0.15)
    right, top = axes.get_xlim(), axes.get_ylim()
    grid = np.meshgrid(np.linspace(*right), np.linspace(*top))
    lines = axes.contour(
        *grid, -(grid[0] + grid[1]), colors=PALE, linewidths=0.8, linestyles="solid"
    )
    axes.clabel(lines, fmt=lambda elbo: f"ELBO {elbo:.0f}".replace("-", "−"), fontsize="x-small")
    _name(axes, points)
    add_legend(figure, names)
    return figure


def _name(axes: Axes, points: Sequence[Point]) -> None:
    """Label the points, in their order, unless labels would overlap."""
    places = axes.transData.transform([(point.rate, point.distortion) for point in points])
    places *= 72 / axes.figure.dpi
    taken: list[np.ndarray] = []
    for point, place in zip(points, places, strict=True):
        if any((abs(place - other) < LABEL).all() for other in taken):
            continue
        taken.append(place)
        axes.annotate(
            plain(point.label),
            (point.rate, point.distortion),
            (4, 4),
            textcoords="offset points",
            fontsize="small",
        )
