"""A metric against one setting."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.plots.axes import add_legend, colours, one_plot, plain

WIDE = 20
"""The ratio of largest to smallest value from which an axis is logarithmic."""


class Series(NamedTuple):
    """Means and their standard errors (NaN: unknown) over values of a setting, one label."""

    label: str
    values: Sequence[Any]
    means: Sequence[float]
    errors: Sequence[float]


def plot_parameter(series: Sequence[Series], *, parameter: str, y: str) -> Figure:
    """Lines if the setting is a number, on a logarithmic axis if it spans decades; else dots."""
    figure, axes = one_plot(parameter, y)
    everything = [value for one in series for value in one.values]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in everything)
    names = sorted({str(value) for value in everything})
    for one, colour in zip(series, colours(len(series)), strict=True):
        x = one.values if numeric else [names.index(str(value)) for value in one.values]
        order = np.argsort(x, kind="stable")
        axes.errorbar(
            np.asarray(x, dtype=float)[order],
            np.asarray(one.means, dtype=float)[order],
            yerr=np.nan_to_num(one.errors)[order],
            fmt="o-" if numeric else "o",
            color=colour,
            capsize=3,
            linewidth=1.2,
            label=plain(one.label),
        )
    if numeric:
        _scale(axes, np.unique(np.asarray(everything, dtype=float)))
    else:
        axes.set_xticks(range(len(names)), [plain(name) for name in names])
        axes.tick_params("x", rotation=30 if len("".join(names)) > 60 else 0)
        axes.margins(x=0.2)
    add_legend(figure, [one.label for one in series])
    return figure


def _scale(axes: Axes, values: np.ndarray) -> None:
    positive = values[values > 0]
    if values[0] < 0 or not len(positive) or positive[-1] < WIDE * positive[0]:
        return
    if values[0] == 0:
        axes.set_xscale("symlog", linthresh=positive[0])
    else:
        axes.set_xscale("log")
    if len(values) <= 8:
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xticks([], minor=True)
