"""Reconstruct the command lines of a sweep from the overrides of its runs."""

import itertools
import shlex
from collections.abc import Sequence

from workbench.errors import UserError
from workbench.runs.folder import RunFolder
from workbench.sweeps.collect import SweepRun

Overrides = dict[str, str]
"""The values of a run's overrides, by their names as typed."""


def commands_of(runs: Sequence[SweepRun]) -> list[str]:
    """The command lines that gave these runs; runs that do not form a full grid give none.

    Runs belong to one command if their overrides have the same names and the same fixed values, and
    the runs are all combinations of the varied values.
    """
    grids: dict[str, list[Overrides]] = {}
    for run in runs:
        if overrides := _overrides(run):
            fixed = {n: v for n, v in overrides.items() if _dotted(n) not in run.swept}
            grids.setdefault(str((list(overrides), fixed)), []).append(overrides)
    return [command for grid in grids.values() if (command := _command(grid))]


def _overrides(run: SweepRun) -> Overrides:
    if not run.swept:  # includes damaged runs, of which no further file is read
        return {}
    try:
        typed = RunFolder(run.path).read_overrides()
    except (UserError, OSError):
        return {}
    pairs = (text.partition("=") for text in typed)
    return {name: value for name, _, value in pairs if name != "varied"}


def _command(grid: Sequence[Overrides]) -> str:
    """The command line of a grid, empty if combinations are missing."""
    values = {name: list(dict.fromkeys(job[name] for job in grid)) for name in grid[0]}
    jobs = {tuple(job.values()) for job in grid}
    if jobs != set(itertools.islice(itertools.product(*values.values()), len(jobs) + 1)):
        return ""
    texts = (f"{name}={','.join(options)}" for name, options in values.items())
    return "python scripts/train.py -m " + " ".join(map(_quoted, texts))


def _dotted(name: str) -> str:
    return name.lstrip("+").replace("/", ".")


def _quoted(text: str) -> str:
    name, _, value = text.partition("=")
    bare = value.strip("'\"") if name == "sweep" else value
    return shlex.quote(f"{name}={bare}")
