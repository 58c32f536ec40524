"""Training curves, the rate of each dimension, and errors by class."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from musigma.plots.style import MOST_CLASSES, name_of
from musigma.words import unit_of
from workbench.plots.style import BLUE, PALE, VERMILLION, new_figure, plot_axes

PANELS = ("loss", "distortion", "rate")
COLOURS = {"train": BLUE, "val": VERMILLION}


def plot_training_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> Figure:
    """Loss, distortion and rate over training, one panel each, with train and val curves.

    Args:
        curves: tag, such as `train/loss`, → steps and values. Other metrics are ignored, and a
            metric without curves has no panel.

    Raises:
        ValueError: if no curve is left.
    """
    panels = [name for name in PANELS if any(f"{stage}/{name}" in curves for stage in COLOURS)]
    if not panels:
        raise ValueError(f"no curve of {', '.join(PANELS)} among {', '.join(curves) or 'nothing'}")
    # At most two panels side by side, which stay legible on a phone.
    layout: Any = [panels] if len(panels) < 3 else [panels[:1] * 2, panels[1:]]
    figure = new_figure(7.2, 3.0 * len(layout))
    for name, axes in figure.subplot_mosaic(layout).items():
        for stage, colour in COLOURS.items():
            if points := curves.get(f"{stage}/{name}"):
                axes.plot(*points, "o-", color=colour, markersize=3, label=stage)
        axes.legend(frameon=False)
        plot_axes(axes, "optimizer step", unit_of(name), name)
    return figure


def plot_rates(rate: Tensor, active: Tensor) -> Figure:
    """The rate of each dimension in decreasing order, with active dimensions marked.

    It says nothing about a model that was trained without a rate.

    Args:
        rate: the rate of each dimension, `[d]`, in nats per image.
        active: a mask of the active dimensions, `[d]`.
    """
    order = rate.argsort(descending=True, stable=True)
    width = max(6, len(rate))  # so that bars stay narrow for small d
    figure = new_figure(max(5, 0.25 * len(rate) + 1.5), 3.5)
    axes = figure.subplots()
    kinds = (("active", BLUE, "", active[order]), ("inactive", PALE, "///", ~active[order]))
    for name, colour, hatch, mask in kinds:
        positions = mask.nonzero().squeeze(1).tolist()
        if positions:
            heights = rate[order][positions].tolist()
            axes.bar(positions, heights, color=colour, hatch=hatch, edgecolor="white", label=name)
    axes.set_xticks(range(len(rate)), [name_of(j) for j in order.tolist()])
    axes.set_xlim((len(rate) - 1 - width) / 2, (len(rate) - 1 + width) / 2)
    figure.legend(loc="outside right upper", frameon=False)
    title = f"{rate.sum():.2f} nats per image, {int(active.sum())} of {len(rate)} units active"
    plot_axes(axes, "latent dimension", "rate (nats per image)", title)
    return figure


def plot_class_errors(
    mean: Tensor, error: Tensor, *, quantity: str, classes: Sequence[str]
) -> Figure:
    """The reconstruction error of each of C classes; more than 50 classes have no names.

    Args:
        mean: the mean error of each class, `[C]`.
        error: the standard error of that mean, `[C]`.
        quantity: the name of the error with its unit.
        classes: the names of the classes.
    """
    figure = new_figure(max(6, 0.25 * min(len(classes), 40)), 3)
    axes = figure.subplots()
    positions = range(len(classes))
    values, errors = mean.tolist(), error.tolist()
    axes.errorbar(positions, values, errors, fmt="o", color=BLUE, markersize=4, capsize=4)
    if len(classes) <= MOST_CLASSES:
        axes.set_xticks(positions, classes)
    plot_axes(axes, "class", quantity, f"{quantity} by class, mean ± standard error")
    return figure
