"""The style of all plots: colours, an empty figure, plain axes."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, PALE = "#222222", "#999999"
BLUE, VERMILLION = "#0072B2", "#D55E00"
CLASS_COLOURS = (
    *(BLUE, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", VERMILLION, "#F0E442", "#6644FF"),
    *(PALE, "#DD0044"),
)
"""Seven colours of Okabe and Ito, distinct to colour-blind readers, then violet, grey and crimson.

Their eighth colour is black, which is invisible on a dark page. Violet and crimson are the colours
farthest from the others, also to colour-blind readers, that are visible on light and dark pages.
"""


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """An empty white figure of a size in inches, not registered with pyplot."""
    figure = Figure((width, height), layout="constrained", facecolor="white", dpi=150)
    if title:
        figure.suptitle(title, fontsize="medium", color=INK)
    return figure


def plot_axes(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Label axes, and remove the top and right side of their frame."""
    axes.set_title(title, fontsize="medium", color=INK)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize="small")
