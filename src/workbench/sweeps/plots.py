"""A plot of a sweep's page, as projects give them."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes


class Spot(NamedTuple):
    """A place in a plot that says something under the pointer.

    `left` and `top` are fractions of the plot's width and height.
    """

    left: float
    top: float
    words: str


class Plot(NamedTuple):
    """A plot as a `data:` address, empty if there is none, and its caption or why there is none."""

    source: str
    caption: str
    spots: Sequence[Spot] = ()


def spot_at(axes: Axes, x: float, y: float, words: str) -> Spot:
    """The spot at a point of axes whose figure has been laid out."""
    across, up = axes.figure.transFigure.inverted().transform(axes.transData.transform((x, y)))
    return Spot(round(across, 4), round(1 - up, 4), words)
