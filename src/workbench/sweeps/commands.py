"""The commands that ask for the runs of a sweep, from the overrides of its jobs."""

import itertools
import shlex
from collections.abc import Sequence

from workbench.errors import UserError
from workbench.runs.folder import RunFolder
from workbench.sweeps.collect import SweepRun

Overrides = dict[str, str]
"""The values of a job's overrides, by their names as typed."""


def commands_of(runs: Sequence[SweepRun]) -> list[str]:
    """The command lines that ask for these runs, as far as they are grids; other runs have none.

    Jobs that share the names of their overrides and the values of what was not varied belong to
    one command, if they are all combinations of what was.
    """
    batches: dict[str, list[Overrides]] = {}
    for run in runs:
        if overrides := _overrides(run):
            asked = {name.replace("/", ".") for name in run.asked}
            fixed = {n: v for n, v in overrides.items() if _plain(n) not in asked}
            batches.setdefault(str((list(overrides), fixed)), []).append(overrides)
    return [command for jobs in batches.values() if (command := _command(jobs))]


def _overrides(run: SweepRun) -> Overrides:
    if not run.asked:  # nor is a damaged run, in whose folder nothing more is read
        return {}
    try:
        typed = RunFolder(run.path).read_overrides()
    except (UserError, OSError):
        return {}
    pairs = (text.partition("=") for text in typed)
    return {name: value for name, _, value in pairs if name != "varied"}


def _command(jobs: Sequence[Overrides]) -> str:
    values = {name: list(dict.fromkeys(job[name] for job in jobs)) for name in jobs[0]}
    asked = {tuple(job.values()) for job in jobs}
    if asked != set(itertools.islice(itertools.product(*values.values()), len(asked) + 1)):
        return ""
    texts = (f"{name}={','.join(options)}" for name, options in values.items())
    return "python scripts/train.py -m " + " ".join(map(_quoted, texts))


def _plain(name: str) -> str:
    return name.lstrip("+").replace("/", ".")


def _quoted(text: str) -> str:
    name, _, value = text.partition("=")
    bare = value.strip("'\"") if name == "sweep" else value
    return shlex.quote(f"{name}={bare}")
