"""Which classes are reconstructed badly."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from musigma.figures.style import MOST_CLASSES
from workbench.plots.style import BLUE, new_figure, plot_axes


def draw_class_errors(
    mean: Tensor, error: Tensor, *, quantity: str, classes: Sequence[str]
) -> Figure:
    """An error by class, `[C]`, with its standard error, `[C]`; over 50 classes are only counted.

    Args:
        mean: of the error, for each class.
        error: of that mean.
        quantity: what the error is, with its unit.
        classes: their names.
    """
    figure = new_figure(max(6, 0.25 * min(len(classes), 40)), 3)
    axes = figure.subplots()
    places = range(len(classes))
    axes.errorbar(
        places, mean.tolist(), error.tolist(), fmt="o", color=BLUE, markersize=4, capsize=4
    )
    if len(classes) <= MOST_CLASSES:
        axes.set_xticks(places, classes)
    plot_axes(axes, "class", quantity, f"{quantity} by class, mean ± standard error")
    return figure
