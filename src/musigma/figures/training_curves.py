"""How training went."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from musigma.units import unit_of
from workbench.plots.style import BLUE, VERMILLION, new_figure, plot_axes

PANELS = ("loss", "distortion", "rate")
COLOURS = {"train": BLUE, "val": VERMILLION}


def draw_training_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> Figure:
    """Loss, distortion and rate over training, each in a panel of its own, train beside val.

    Args:
        curves: `train/loss`, `val/loss`, `train/distortion` and so on → steps and values; other
            names are passed over, and a quantity without curves has no panel.

    Raises:
        ValueError: if nothing is left to draw.
    """
    panels = [name for name in PANELS if any(f"{stage}/{name}" in curves for stage in COLOURS)]
    if not panels:
        raise ValueError(f"no curve of {', '.join(PANELS)} among {', '.join(curves) or 'nothing'}")
    figure = new_figure(3.5 * len(panels) + 0.2, 3)
    for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for stage, colour in COLOURS.items():
            if f"{stage}/{name}" in curves:
                steps, values = curves[f"{stage}/{name}"]
                axes.plot(steps, values, "o-", color=colour, markersize=3, label=stage)
        axes.legend(frameon=False)
        plot_axes(axes, "optimizer step", unit_of(name), name)
    return figure
