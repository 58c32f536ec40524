"""A sweep as plain values, for the script of its page."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.runs.curves import read_curves
from workbench.runs.evaluation import PAGE
from workbench.sweeps.collect import SweepRun
from workbench.sweeps.compare import Comparison, Scale, scale_of
from workbench.sweeps.varied import SEEDS, text_of

MOST_CURVES = 60
"""Runs whose curves are read and shown."""

MOST_POINTS = 200
"""The most points of one curve."""


def page_data(
    compared: Comparison, unfinished: Sequence[SweepRun], place: Path, reload: float | None
) -> dict[str, Any]:
    """The data of charts, filter and comparison; values that are not known are None.

    Args:
        compared: the sweep.
        unfinished: its other runs, shown after the completed ones.
        place: the folder of the page, from which links lead to the runs.
        reload: seconds after which the page is to be read anew; None for never.
    """
    group_of = {run.path: n for n, group in enumerate(compared.groups) for run in group.runs}
    runs = [*compared.runs(), *unfinished]
    differing = _differing(runs)
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
                "metrics": [_known(run.metrics.get(name)) for name in compared.metrics],
                "seconds": _known(run.seconds),
                "differing": [text_of(run.settings.get(name)) for name in differing],
            }
            for run in runs
        ],
        "differing": differing,
        "curves": _curves(compared, runs),
        "reload": reload,
    }


def link_to(run: SweepRun, place: Path) -> str:
    """The address of a run's page, or of its folder if it was not evaluated, from `place`."""
    page = run.path / PAGE
    try:
        relative = os.path.relpath(run.path.absolute(), place.absolute())
    except ValueError:  # on another drive of Windows
        return ""
    return quote(Path(relative).as_posix()) + (f"/{PAGE}" if page.is_file() else "/")


def curve_tags(compared: Comparison, runs: Sequence[SweepRun]) -> list[str]:
    """The curves to show: of the metrics that may decide and of those of the table."""
    named = [name for run in runs if run.meanings for name in run.meanings.deciding]
    shown = [metric.rpartition("/")[2] for metric in compared.metrics]
    decider = [(compared.metric or "loss").rpartition("/")[2]]
    names = dict.fromkeys([*decider, *named, *shown])
    return [f"{stage}/{name}" for stage in ("val", "train") for name in names]


def _curves(compared: Comparison, runs: Sequence[SweepRun]) -> dict[str, list[list[Any]]]:
    """Tag → [place of the run, steps, values] for each run that logged it."""
    tags = curve_tags(compared, runs)
    found: dict[str, list[list[Any]]] = {tag: [] for tag in tags}
    for n, run in enumerate(runs[:MOST_CURVES]):
        logged = read_curves(run.path)
        for tag in tags:
            if tag in logged:
                found[tag].append([n, *_thinned(*logged[tag])])
    return {tag: curves for tag, curves in found.items() if curves}


def _thinned(steps: Sequence[int], values: Sequence[float]) -> tuple[list[int], list[Any]]:
    """At most `MOST_POINTS` of them, the last one included, to seven digits."""
    every = math.ceil(len(steps) / MOST_POINTS)
    chosen = [*range(len(steps) - 1, -1, -every)][::-1]
    return [steps[n] for n in chosen], [_known(values[n]) for n in chosen]


def _differing(runs: Sequence[SweepRun]) -> list[str]:
    """The settings in which any two runs differ, those too that do not count as varied."""
    readable = [run.settings for run in runs if run.settings]
    first: Mapping[str, Any] = readable[0] if readable else {}
    names = dict.fromkeys(name for settings in readable for name in settings)
    texts = {name: text_of(first.get(name)) for name in names}
    return [n for n in names if any(text_of(s.get(n)) != texts[n] for s in readable)]


def _plain(value: Any) -> Any:
    """A number or None as it is, anything else as text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number:
        return value if math.isfinite(value) else str(value)
    return None if value is None else text_of(value)


def _known(value: float | None) -> float | None:
    """A metric to eight digits, None if it is not a finite number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.8g}")


def best_groups(compared: Comparison) -> dict[str, set[int]]:
    """The places of the groups with the best mean of each metric, among others of its scale.

    Of a metric of several scales only if it decides, as then each scale has its winner.
    """
    return {
        name: _best(
            compared,
            name,
            [
                (n, group.scale(name), group.means[name])
                for n, group in enumerate(compared.groups)
                if group.has(name)
            ],
        )
        for name in compared.metrics
    }


def best_runs(compared: Comparison) -> dict[str, set[int]]:
    """The places of the runs with the best value of each metric, among others of its scale."""
    runs = compared.runs()
    return {
        name: _best(
            compared,
            name,
            [
                (n, scale_of(run, name), run.metrics[name])
                for n, run in enumerate(runs)
                if not math.isnan(run.metrics.get(name, math.nan))
            ],
        )
        for name in compared.metrics
    }


def _best(compared: Comparison, name: str, found: Sequence[tuple[int, Scale, float]]) -> set[int]:
    better = compared.meaning(name).better
    if better == "neither" or (name != compared.metric and compared.mixed(name)):
        return set()
    by_scale: dict[Scale, list[tuple[float, int]]] = {}
    for n, scale, value in found:
        by_scale.setdefault(scale, []).append((-value if better == "higher" else value, n))
    return {min(values)[1] for values in by_scale.values() if min(values)[0] < max(values)[0]}


def progress_of(data: Mapping[str, Any], runs: Sequence[SweepRun]) -> dict[Path, str]:
    """The progress of runs that are not completed: the last point of their first curve."""
    found: dict[Path, str] = {}
    for tag, curves in data["curves"].items():
        for n, steps, values in curves:
            if not runs[n].is_done and steps and values[-1] is not None:
                found.setdefault(runs[n].path, f"{tag} {values[-1]:.5g} at step {steps[-1]:,}")
    return found
