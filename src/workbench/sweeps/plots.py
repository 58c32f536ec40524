"""The plots of a sweep's page, each as a `data:` address."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from workbench.pages.render import embedded
from workbench.plots.learning_curves import Curve, plot_learning_curves
from workbench.plots.parameter_plot import Series, plot_parameter
from workbench.runs.curves import read_curves
from workbench.sweeps.collect import SweepRun
from workbench.sweeps.compare import Comparison, Group, Scale, meaning_of, scale_of
from workbench.sweeps.varied import label_of, text_of

MOST_CURVES = 60
"""Runs whose curves are read and plotted."""


class Plot(NamedTuple):
    """A plot as a `data:` address, empty if there is none, and its caption or why there is none."""

    source: str
    caption: str


def parameter_plots(compared: Comparison) -> Iterator[Plot]:
    """The deciding metric against each setting that varied, one plot for each of its scales."""
    metric = compared.metric or ""
    for winner in compared.winners:
        for name in winner.groups[0].settings:
            lines: dict[str, list[Group]] = {}
            for group in winner.groups:
                others = {compared.varied[n]: v for n, v in group.settings.items() if n != name}
                lines.setdefault(label_of(others), []).append(group)
            if len({text_of(group.settings[name]) for group in winner.groups}) > 1:
                series = [
                    Series(
                        label,
                        [group.settings[name] for group in line],
                        [group.means[metric] for group in line],
                        [group.errors[metric] for group in line],
                    )
                    for label, line in lines.items()
                ]
                figure = plot_parameter(
                    series, parameter=name, y=_with_unit(metric, compared.runs())
                )
                yield Plot(embedded(figure), ", ".join(winner.scale))


def curve_plots(compared: Comparison, unfinished: Sequence[SweepRun]) -> Iterator[Plot]:
    """The deciding metric, and its alternatives, of validation over training; a plot per scale."""
    labels = {run.path: group.label for group in compared.groups for run in group.runs}
    runs = [*compared.runs(), *unfinished][:MOST_CURVES]
    named = [name for run in runs if run.meanings for name in run.meanings.deciding[1:]]
    decider = (compared.metric or "loss").rpartition("/")[2]
    tags = [f"val/{name}" for name in dict.fromkeys([*named, decider])]
    overlaid: dict[tuple[str, Scale], list[Curve]] = {}
    for run in runs:
        label = labels.get(run.path, f"{run.path.name} ({run.status})")
        logged = read_curves(run.path)
        for tag in [tag for tag in tags if tag in logged]:
            curve = Curve(label, *logged[tag])
            overlaid.setdefault((tag, scale_of(run, tag)), []).append(curve)
    for (tag, scale), curves in sorted(overlaid.items(), key=lambda item: tags.index(item[0][0])):
        figure = plot_learning_curves(curves, y=_with_unit(tag, runs))
        yield Plot(embedded(figure), ", ".join(scale))


def _with_unit(metric: str, runs: Sequence[SweepRun]) -> str:
    return f"{metric} ({meaning_of(runs, metric).unit})"
