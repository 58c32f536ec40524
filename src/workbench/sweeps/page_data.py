"""The data of a sweep's page, as plain values for its script."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.runs.curves import read_curves
from workbench.runs.evaluation import PAGE
from workbench.sweeps.collect import SweepRun
from workbench.sweeps.compare import Comparison
from workbench.sweeps.scales import Scale, scale_of
from workbench.sweeps.varied import SEEDS, differing_settings, text_of

MOST_CURVES = 60
"""The number of runs whose curves are read and shown."""

MOST_POINTS = 200
"""The number of points of a curve."""


def page_data(
    compared: Comparison, unfinished: Sequence[SweepRun], place: Path, reload: float | None
) -> dict[str, Any]:
    """The data of charts, filter and side-by-side table; unknown values are None.

    Args:
        compared: the completed runs.
        unfinished: the other runs, shown after the completed ones.
        place: the folder of the page, to which links are relative.
        reload: seconds after which the browser reloads the page; None for never.
    """
    group_of = {run.path: n for n, group in enumerate(compared.groups) for run in group.runs}
    runs = [*compared.runs(), *unfinished]
    differing = differing_settings(runs)
    return {
        "metric": compared.metric,
        "metrics": [
            {
                "name": name,
                "unit": compared.meaning(name).unit,
                "better": compared.meaning(name).better,
                "places": compared.meaning(name).places,
                "mixed": bool(compared.mixed(name)),
            }
            for name in compared.metrics
        ],
        "settings": [
            {"name": name, "short": short, "seed": name in SEEDS}
            for name, short in compared.varied.items()
        ],
        "groups": [group.label for group in compared.groups],
        "runs": [
            {
                "name": run.path.name,
                "status": run.status,
                "link": link_to(run, place),
                "group": group_of.get(run.path, -1),
                "settings": [_plain(run.settings.get(name)) for name in compared.varied],
                "metrics": [_rounded(run.metrics.get(name)) for name in compared.metrics],
                "seconds": _rounded(run.seconds),
                "differing": [text_of(run.settings.get(name)) for name in differing],
            }
            for run in runs
        ],
        "differing": differing,
        "curves": _curves(compared, runs),
        "reload": reload,
    }


def link_to(run: SweepRun, place: Path) -> str:
    """The address of a run's page relative to `place`, or of its folder if there is no page."""
    relative = os.path.relpath(run.path.absolute(), place.absolute())
    return f"{quote(relative)}/{PAGE if (run.path / PAGE).is_file() else ''}"


def _curve_tags(compared: Comparison, runs: Sequence[SweepRun]) -> list[str]:
    """The tags of curves to show: deciding metrics of all runs, then metrics of the table."""
    chosen = (compared.metric or "loss").rpartition("/")[2]
    deciding = [name for run in runs if run.meanings for name in run.meanings.deciding]
    shown = [metric.rpartition("/")[2] for metric in compared.metrics]
    names = dict.fromkeys([chosen, *deciding, *shown])
    return [f"{stage}/{name}" for stage in ("val", "train") for name in names]


def _curves(compared: Comparison, runs: Sequence[SweepRun]) -> dict[str, list[list[Any]]]:
    """Tag → [index of the run, steps, values] of each run that logged it."""
    tags = _curve_tags(compared, runs)
    curves: dict[str, list[list[Any]]] = {tag: [] for tag in tags}
    for n, run in enumerate(runs[:MOST_CURVES]):
        logged = read_curves(run.path)
        for tag in tags:
            if tag in logged:
                curves[tag].append([n, *_thinned(*logged[tag])])
    return {tag: curves_of_tag for tag, curves_of_tag in curves.items() if curves_of_tag}


def _thinned(steps: Sequence[int], values: Sequence[float]) -> tuple[list[int], list[Any]]:
    """At most `MOST_POINTS` evenly spaced points, including the last."""
    every = math.ceil(len(steps) / MOST_POINTS)
    kept = range(len(steps) - 1, -1, -every)[::-1]
    return [steps[n] for n in kept], [_rounded(values[n]) for n in kept]


def _plain(value: Any) -> Any:
    """A finite number or None as it is, anything else as text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if math.isfinite(value) else str(value)
    return None if value is None else text_of(value)


def _rounded(value: float | None) -> float | None:
    """A metric to eight significant digits, None if it is not a finite number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.8g}")


def best_groups(compared: Comparison) -> dict[str, set[int]]:
    """For each metric the indices of the groups with the best mean on their scale.

    If a metric has several scales, only the deciding metric has best groups.
    """
    return {
        name: _best(compared, name, [(g.scale(name), g.means.get(name)) for g in compared.groups])
        for name in compared.metrics
    }


def best_runs(compared: Comparison) -> dict[str, set[int]]:
    """For each metric the indices of the runs with the best value on their scale."""
    runs = compared.runs()
    return {
        name: _best(compared, name, [(scale_of(run, name), run.metrics.get(name)) for run in runs])
        for name in compared.metrics
    }


def _best(
    compared: Comparison, name: str, values: Sequence[tuple[Scale, float | None]]
) -> set[int]:
    """The index of the best value on each scale, from scales and values; none if all tie."""
    better = compared.meaning(name).better
    if better == "neither" or (name != compared.metric and compared.mixed(name)):
        return set()
    by_scale: dict[Scale, list[tuple[float, int]]] = {}
    for n, (scale, value) in enumerate(values):
        if value is not None and not math.isnan(value):
            by_scale.setdefault(scale, []).append((-value if better == "higher" else value, n))
    return {min(pairs)[1] for pairs in by_scale.values() if min(pairs)[0] < max(pairs)[0]}


def progress_of(data: Mapping[str, Any], runs: Sequence[SweepRun]) -> dict[Path, str]:
    """The last point of the first curve of each run that is not completed, by run folder."""
    progress: dict[Path, str] = {}
    for tag, curves in data["curves"].items():
        for n, steps, values in curves:
            if not runs[n].is_done and steps and values[-1] is not None:
                progress.setdefault(runs[n].path, f"{tag} {values[-1]:.5g} at step {steps[-1]:,}")
    return progress
