"""The settings in which the runs of a sweep differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from workbench.config.identity import changes_metrics
from workbench.config.naming import short_names
from workbench.sweeps.collect import SweepRun

SEEDS = ("seed", "data.seed")
ABSENT = "–"


def seeds_of(run: SweepRun) -> tuple[str, ...]:
    """The seeds of a run, in the order of `SEEDS`."""
    return tuple(str(run.settings.get(name)) for name in SEEDS)


def varied_settings(runs: Sequence[SweepRun]) -> dict[str, str]:
    """The settings in which runs differ: dotted names → short names, seeds last.

    Includes every setting that the command line varied. Of the others it leaves out settings that
    change no metric, such as the folder of the data, and copies of another setting (`data.seed` of
    `seed`). If all runs come from sweeps, it also leaves out settings that follow from a varied
    name or class, as those of a preset do.
    """
    columns = _columns(runs)
    swept = {name for run in runs for name in run.swept}
    by_preset = "model" in swept and len(set(columns.get("name", ()))) > 1
    if by_preset:  # what was typed is in `name`; `model` has the class, which several may share
        swept = swept - {"model"} | {"name"}
    differing = {
        name: column
        for name, column in columns.items()
        if len(set(column)) > 1 and (name in swept | {"name"} or changes_metrics(name))
    }
    choices = {n for n in differing if any(isinstance(r.settings.get(n), str) for r in runs)}
    is_sweep = all(run.swept for run in runs if run.settings)

    def causes_first(name: str) -> tuple[bool, bool, int, bool]:
        return name not in swept, name not in choices, -len(set(columns[name])), name != "name"

    varied: list[str] = []
    for name in sorted(differing, key=causes_first):
        column = columns[name]
        is_copy = any(column == columns[other] for other in varied)
        is_implied = any(_follows(column, columns[n]) for n in choices.intersection(varied))
        if name in swept or not (is_copy or (is_sweep and is_implied)):
            varied.append(name)
    ordered = sorted(varied, key=lambda name: (name in SEEDS, list(columns).index(name)))
    typed = ["model" if name == "name" and by_preset else name for name in ordered]
    return dict(zip(ordered, short_names(typed), strict=True))


def differing_settings(runs: Sequence[SweepRun]) -> list[str]:
    """All settings in which any two runs differ, including those that do not count as varied."""
    return [name for name, column in _columns(runs).items() if len(set(column)) > 1]


def common_settings(runs: Sequence[SweepRun]) -> dict[str, str]:
    """The settings that are the same in all runs, as text by dotted name."""
    return {name: column[0] for name, column in _columns(runs).items() if len(set(column)) == 1}


def table_of(runs: Sequence[SweepRun], varied: dict[str, str]) -> pd.DataFrame:
    """A row for each run: name, status, varied settings by short name, seconds, every metric."""
    rows = []
    for run in runs:
        values = {short: run.settings.get(name) for name, short in varied.items()}
        cells = {
            k: v if isinstance(v, int | float | str) else text_of(v) for k, v in values.items()
        }
        first = {"run": run.path.name, "status": run.status}
        rows.append({**first, **cells, "seconds": run.seconds, **run.metrics})
    return pd.DataFrame(rows)


def text_of(value: Any) -> str:
    """The value of a setting as text."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return f"{value:.0f}"  # 1.0 in a config and 1 on a command line are the same setting
    return ABSENT if value is None else str(value)


def label_of(settings: Mapping[str, Any]) -> str:
    """Settings in one line, as in the names of run folders: `vae, beta=4`."""
    parts = (v if isinstance(v, str) else f"{k}={text_of(v)}" for k, v in settings.items())
    return ", ".join(parts)


def _columns(runs: Sequence[SweepRun]) -> dict[str, list[str]]:
    """The values of each setting as text, one for each run whose settings are known."""
    readable = [run.settings for run in runs if run.settings]
    names = dict.fromkeys(name for settings in readable for name in settings)
    return {name: [text_of(settings.get(name)) for settings in readable] for name in names}


def _follows(values: list[str], choice: list[str]) -> bool:
    """True if the choice determines the value."""
    return len(set(zip(choice, values, strict=True))) == len(set(choice))
