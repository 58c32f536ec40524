"""Where the rate goes."""

from matplotlib.figure import Figure
from torch import Tensor

from musigma.figures.style import name_of
from workbench.plots.style import BLUE, PALE, new_figure, plot_axes


def draw_rates(rate: Tensor, active: Tensor) -> Figure:
    """The rate of each dimension, `[d]` in nats per image, falling, with the active ones marked.

    For a model trained without a rate it shows only what nothing has held down.

    Args:
        rate: of each dimension.
        active: which are active, a mask `[d]`.
    """
    order = rate.argsort(descending=True, stable=True)
    room = max(6, len(rate))  # a bar should not look like a wall
    figure = new_figure(max(5, 0.25 * len(rate) + 1.5), 3.5)
    axes = figure.subplots()
    kinds = (("active", BLUE, "", active[order]), ("inactive", PALE, "///", ~active[order]))
    for name, colour, hatch, chosen in kinds:
        places = chosen.nonzero().squeeze(1).tolist()
        if places:
            heights = rate[order][places].tolist()
            axes.bar(places, heights, color=colour, hatch=hatch, edgecolor="white", label=name)
    axes.set_xticks(range(len(rate)), [name_of(j) for j in order.tolist()])
    axes.set_xlim((len(rate) - 1 - room) / 2, (len(rate) - 1 + room) / 2)
    figure.legend(loc="outside right upper", frameon=False)
    title = f"{rate.sum():.2f} nats per image, {int(active.sum())} of {len(rate)} units active"
    plot_axes(axes, "latent dimension", "rate (nats per image)", title)
    return figure
