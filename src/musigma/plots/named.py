"""A plot with its name and caption, and its files."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from workbench.pages.render import image_files, smaller

log = logging.getLogger(__name__)


class NamedPlot(NamedTuple):
    """A plot that is made when it is wanted.

    Args:
        name: of its files.
        caption: the content; of a plot that would mean nothing for this model, the reason.
        plot: makes it; None if it would mean nothing.
    """

    name: str
    caption: str
    plot: Callable[[], Figure] | None = None


class PlotFiles(NamedTuple):
    """A plot as pages and folders hold it; if it is left out the caption says why.

    Args:
        name: of its files.
        caption: the content.
        source: the `data:` address of the page; empty if left out.
        files: contents by file name; none if left out.
    """

    name: str
    caption: str
    source: str
    files: dict[str, bytes]


def plot_files(named: NamedPlot) -> PlotFiles:
    """Make a plot; one that fails is left out."""
    if named.plot is None:
        return PlotFiles(named.name, named.caption, "", {})
    try:
        files = image_files(named.plot())
    except Exception as error:  # one plot must not cost what was measured
        log.warning("%s cannot be plotted: %s", named.name, error)
        return PlotFiles(named.name, f"left out: it cannot be plotted: {error}", "", {})
    endings = {f"{named.name}.{ending}": content for ending, content in files.items()}
    return PlotFiles(named.name, named.caption, smaller(files), endings)
