"""The rate–distortion plane: what a code costs against what it leaves out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from musigma.figures.axes import one_plot, plain
from musigma.figures.style import BLUE, PALE

MOST_LABELS = 30


class Point(NamedTuple):
    """A model's rate and distortion with their standard errors, in nats per image.

    An error that nobody knows is NaN.
    """

    label: str
    rate: float
    distortion: float
    rate_error: float = np.nan
    distortion_error: float = np.nan


def draw_rate_distortion(points: Sequence[Point], title: str = "") -> Figure:
    """Distortion over rate, with lines of equal ELBO = −(D + R); of over 30 points none is named.

    After Alemi et al. 2018, figure 1.
    """
    figure, axes = one_plot(title, "rate R (nats per image)", "distortion D (nats per image)")
    table = np.array([point[1:] for point in points], dtype=float)
    rate, distortion, *errors = table.T
    rate_error, distortion_error = np.nan_to_num(errors)
    axes.errorbar(
        rate,
        distortion,
        xerr=rate_error,
        yerr=distortion_error,
        fmt="o",
        color=BLUE,
        ecolor=PALE,
        capsize=2,
    )
    axes.margins(0.15)
    right, top = axes.get_xlim(), axes.get_ylim()
    grid = np.meshgrid(np.linspace(*right), np.linspace(*top))
    lines = axes.contour(
        *grid, -(grid[0] + grid[1]), colors=PALE, linewidths=0.8, linestyles="solid"
    )
    axes.clabel(lines, fmt="ELBO %.0f", fontsize="x-small")
    for point in points if len(points) <= MOST_LABELS else ():
        is_right = point.rate > sum(right) / 2
        axes.annotate(
            plain(point.label),
            (point.rate, point.distortion),
            (-5 if is_right else 5, 5),
            textcoords="offset points",
            ha="right" if is_right else "left",
            fontsize="small",
        )
    return figure
