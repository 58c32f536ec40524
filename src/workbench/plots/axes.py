"""The parts of plots of many runs: one pair of axes, a colour for each label, a legend."""

import textwrap
from collections.abc import Collection

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.plots.style import BLUE, CLASS_COLOURS, PALE, VERMILLION, new_figure, plot_axes

TOO_FAINT = ("#F0E442", PALE)
LINES = [c for c in dict.fromkeys((BLUE, VERMILLION, *CLASS_COLOURS)) if c not in TOO_FAINT]
"""The colours of lines on white, the most distinct ones first."""

MOST_NAMED = 12
"""Labels that fit into a legend."""

LONGEST = 80
"""Letters of a line of a legend."""


def one_plot(x: str, y: str, title: str = "") -> tuple[Figure, Axes]:
    """One plot, with its axes named."""
    figure = new_figure(6.4, 4.4, plain(title))
    axes = figure.add_subplot()
    plot_axes(axes, plain(x), plain(y))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def colours(count: int) -> list[str | tuple[float, ...]]:
    """As many colours as asked for; if too many to be distinct, steps from dark to light."""
    if count <= len(LINES):
        return [*LINES[:count]]
    return [colormaps["cividis"](step / count) for step in range(count)]


def add_legend(figure: Figure, labels: Collection[str]) -> None:
    """Name the labels below the plot, if there is more than one and not too many."""
    if 1 < len(labels) <= MOST_NAMED:
        columns = max(1, min(4, 70 // (6 + max(map(len, labels)))))
        figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def named(label: str) -> str:
    """A label in a legend, of several lines if it is long."""
    return plain(textwrap.fill(label, LONGEST))
