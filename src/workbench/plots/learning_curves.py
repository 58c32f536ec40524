"""Learning curves of many runs, one over the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from workbench.plots.axes import add_legend, colours, one_plot, plain


class Curve(NamedTuple):
    """A metric over optimizer steps; curves of one label share a colour."""

    label: str
    steps: Sequence[int]
    values: Sequence[float]


def plot_learning_curves(curves: Sequence[Curve], *, y: str) -> Figure:
    """All curves in one plot; a curve of a single point is a dot."""
    figure, axes = one_plot("optimizer steps", y)
    labels = list(dict.fromkeys(curve.label for curve in curves))
    colour = dict(zip(labels, colours(len(labels)), strict=True))
    unnamed = set(labels)
    for curve in curves:
        axes.plot(
            curve.steps,
            np.asarray(curve.values, dtype=float),
            color=colour[curve.label],
            linewidth=1.2,
            marker="." if len(curve.steps) < 20 else "",
            alpha=0.8,
            label=plain(curve.label) if curve.label in unnamed else None,
        )
        unnamed.discard(curve.label)
    add_legend(figure, labels)
    return figure
