"""A plot on a sweep's page, with tooltips."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes


class Spot(NamedTuple):
    """A point of a plot that shows a text under the pointer.

    Args:
        left: distance from the left edge, as a fraction of the plot's width.
        top: distance from the top edge, as a fraction of its height.
        words: the text.
    """

    left: float
    top: float
    words: str


class Plot(NamedTuple):
    """A plot as a `data:` URL with a caption; empty if it cannot be made, with the reason."""

    source: str
    caption: str
    spots: Sequence[Spot] = ()


def spot_at(axes: Axes, x: float, y: float, words: str) -> Spot:
    """A spot at a point in data coordinates; the figure must have been laid out."""
    across, up = axes.figure.transFigure.inverted().transform(axes.transData.transform((x, y)))
    return Spot(round(across, 4), round(1 - up, 4), words)
