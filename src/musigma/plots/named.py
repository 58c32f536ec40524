"""A plot with its name and caption, and its files."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from workbench.pages.render import image_files, image_url

log = logging.getLogger(__name__)


class NamedPlot(NamedTuple):
    """A plot that is made on demand, or the reason why it is left out.

    Args:
        name: the name of its files, without an ending.
        caption: the content; the reason if the plot is left out.
        plot: makes the plot; None if it is left out.
    """

    name: str
    caption: str
    plot: Callable[[], Figure] | None = None


class PlotFiles(NamedTuple):
    """The files of a plot.

    Args:
        name: the name of the files, without an ending.
        caption: the content; the reason if the plot is left out.
        source: the plot as a `data:` URL for a page; empty if it is left out.
        files: contents by file name; empty if it is left out.
    """

    name: str
    caption: str
    source: str
    files: dict[str, bytes]


def plot_files(named: NamedPlot) -> PlotFiles:
    """Make a plot; if that fails, it is left out."""
    if named.plot is None:
        return PlotFiles(named.name, named.caption, "", {})
    try:
        files = image_files(named.plot())
    except Exception as error:  # measurements must not be lost because of a plot
        log.warning("%s cannot be plotted: %s", named.name, error)
        return PlotFiles(named.name, f"left out: it cannot be plotted: {error}", "", {})
    by_name = {f"{named.name}.{ending}": content for ending, content in files.items()}
    return PlotFiles(named.name, named.caption, image_url(files), by_name)
