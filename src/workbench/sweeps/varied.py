"""The settings in which the runs of a sweep differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from workbench.config.identity import changes_metrics
from workbench.config.naming import short_names
from workbench.sweeps.collect import SweepRun

SEEDS = ("seed", "data.seed")
ABSENT = "–"


def what_varied(runs: Sequence[SweepRun]) -> dict[str, str]:
    """The settings in which runs differ, by dotted name, with their short names; seeds last.

    Unless the sweep was asked to vary them, these are left out: settings that change no metric,
    such as the folder of the data; a copy of another setting (`data.seed` of `seed`); and in a
    sweep a setting that is the same wherever a name or a class is the same (as a preset sets it).
    Runs that were put together by hand were asked nothing, and all of the latter are shown.
    """
    columns = _columns(runs)
    asked = {name.replace("/", ".") for run in runs for name in run.asked}
    differing = {
        name: column
        for name, column in columns.items()
        if len(set(column)) > 1 and (name in asked | {"name"} or changes_metrics(name))
    }
    choices = {n for n in differing if any(isinstance(r.settings.get(n), str) for r in runs)}
    is_sweep = all(run.asked for run in runs if run.settings)

    def least_likely_to_follow(name: str) -> tuple[bool, bool, int, bool]:
        return name not in asked, name not in choices, -len(set(columns[name])), name != "name"

    varied: list[str] = []
    for name in sorted(differing, key=least_likely_to_follow):
        column = columns[name]
        is_copy = any(column == columns[other] for other in varied)
        is_implied = any(_follows(column, columns[n]) for n in choices.intersection(varied))
        if name in asked or not (is_copy or (is_sweep and is_implied)):
            varied.append(name)
    ordered = sorted(varied, key=lambda name: (name in SEEDS, list(columns).index(name)))
    typed = ["model" if name == "name" and "model" in asked else name for name in ordered]
    return dict(zip(ordered, short_names(typed), strict=True))


def what_is_common(runs: Sequence[SweepRun]) -> dict[str, str]:
    """The settings in which no two runs differ."""
    return {name: column[0] for name, column in _columns(runs).items() if len(set(column)) == 1}


def table_of(runs: Sequence[SweepRun], varied: dict[str, str]) -> pd.DataFrame:
    """A row for each run: name, status, varied settings by short name, seconds, every metric."""
    rows = []
    for run in runs:
        values = {short: run.settings.get(name) for name, short in varied.items()}
        plain = {
            k: v if isinstance(v, int | float | str) else text_of(v) for k, v in values.items()
        }
        about = {"run": run.path.name, "status": run.status}
        rows.append({**about, **plain, "seconds": run.seconds, **run.metrics})
    return pd.DataFrame(rows)


def text_of(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return f"{value:.0f}"  # 1.0 from a config and 1 from a command line are one setting
    return ABSENT if value is None else str(value)


def label_of(settings: Mapping[str, Any]) -> str:
    """Settings in a line, as in the names of run folders; words stand without their names."""
    parts = (v if isinstance(v, str) else f"{k}={text_of(v)}" for k, v in settings.items())
    return ", ".join(parts)


def _columns(runs: Sequence[SweepRun]) -> dict[str, list[str]]:
    readable = [run.settings for run in runs if run.settings]
    names = dict.fromkeys(name for settings in readable for name in settings)
    return {name: [text_of(settings.get(name)) for settings in readable] for name in names}


def _follows(values: list[str], choice: list[str]) -> bool:
    return len(set(zip(choice, values, strict=True))) == len(set(choice))
