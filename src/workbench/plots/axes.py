"""What plots of many runs share: one pair of axes, a colour for each label, and a legend."""

from collections.abc import Collection

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.plots.style import BLUE, CLASS_COLOURS, PALE, VERMILLION, new_figure, plot_axes

TOO_FAINT = ("#F0E442", PALE)
LINES = tuple(
    colour
    for colour in dict.fromkeys((BLUE, VERMILLION, *CLASS_COLOURS))
    if colour not in TOO_FAINT
)
"""The colours of lines on white, the most distinct ones first."""

MOST_NAMED = 12
"""Labels that a legend can hold."""


def one_plot(x: str, y: str, title: str = "") -> tuple[Figure, Axes]:
    """A figure of one plot, with its axes named."""
    figure = new_figure(6.4, 4.4, plain(title))
    axes = figure.add_subplot()
    plot_axes(axes, plain(x), plain(y))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def colours(count: int) -> list[str | tuple[float, ...]]:
    """That many colours; where there are not enough to tell apart, steps from dark to light."""
    if count <= len(LINES):
        return list(LINES[:count])
    return [colormaps["cividis"](step / count) for step in range(count)]


def add_legend(figure: Figure, labels: Collection[str]) -> None:
    """Name what is drawn, below the plot, where that is more than one thing and not too many."""
    if 1 < len(labels) <= MOST_NAMED:
        columns = max(1, min(4, 70 // (6 + max(map(len, labels)))))
        figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def plain(text: str) -> str:
    """Text that matplotlib prints as it is, and does not read as mathematics."""
    return text.replace("$", r"\$")
