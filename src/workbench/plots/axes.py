"""Parts of plots: a figure with one pair of axes, a colour for each label, a legend."""

import textwrap
from collections.abc import Collection

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.plots.style import BLUE, CLASS_COLOURS, PALE, VERMILLION, new_figure, plot_axes

TOO_FAINT = ("#F0E442", PALE)
LINE_COLOURS = [c for c in dict.fromkeys((BLUE, VERMILLION, *CLASS_COLOURS)) if c not in TOO_FAINT]
"""The colours of lines on white, the most distinct ones first."""

MOST_LABELS = 12
"""The most labels that fit into a legend."""

LEGEND_WIDTH = 80
"""The most characters in a line of a legend."""


LINE_HEIGHT = 0.16
"""The height of a line of a legend, in inches."""


def one_plot(x: str, y: str, title: str = "") -> tuple[Figure, Axes]:
    """A figure with one pair of axes, labelled `x` and `y`."""
    figure = new_figure(6.4, 4.4, escaped(title))
    axes = figure.add_subplot()
    plot_axes(axes, escaped(x), escaped(y))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def colours(count: int) -> list[str | tuple[float, ...]]:
    """`count` distinct colours, or if there are not enough, steps from dark to light."""
    if count <= len(LINE_COLOURS):
        return [*LINE_COLOURS[:count]]
    return [colormaps["cividis"](step / count) for step in range(count)]


def add_legend(figure: Figure, labels: Collection[str]) -> None:
    """Add a legend below the plot, unless there is only one label or too many.

    A legend of many lines makes the figure higher, or it would leave no room for the axes.
    """
    if 1 < len(labels) <= MOST_LABELS:
        columns = max(1, min(4, 70 // (6 + max(map(len, labels)))))
        lines = sum(len(textwrap.wrap(label, LEGEND_WIDTH)) for label in labels) / columns
        figure.set_figheight(figure.get_figheight() + LINE_HEIGHT * max(0, lines - MOST_LABELS))
        figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def escaped(text: str) -> str:
    """Text in which matplotlib sees no mathematics."""
    return text.replace("$", r"\$")


def legend_label(label: str) -> str:
    """A label for a legend, escaped and wrapped."""
    return escaped(textwrap.fill(label, LEGEND_WIDTH))
