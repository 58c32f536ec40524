"""Print the plan of a sweep before it starts, and its failures at its end."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from workbench.console import display_path
from workbench.project import the_project
from workbench.runs.folder import RunFolder
from workbench.sweeps.job import job_path
from workbench.text import counted, show_table
from workbench.training.launch import Launch

MOST_LINES = 60


def show_plan(jobs: Sequence[Launch]) -> list[str]:
    """Print the states of a sweep's jobs and return them; see `state_of`."""
    states = [state_of(job) for job in jobs]
    counts = Counter(states)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"sweep       {display_path(jobs[0].parent)}")
    print(f"{counted(len(jobs), 'job'):<12}{summary}", flush=True)
    if set(counts) == {"new"}:
        return states
    names = [job.name for job in jobs]
    rows = sorted(zip(names, states, strict=True), key=lambda row: row[1] == "done")
    if len(rows) > MOST_LINES:
        rows[MOST_LINES:] = [(f"... and {len(rows) - MOST_LINES} more", "")]
    show_table("", ("job", "state"), rows)
    return states


def state_of(job: Launch) -> str:
    """A job's state: `new`, `done`, `running` elsewhere, `to be resumed` or `to be retried`."""
    path = job_path(job)
    if not path.exists():
        return "new"
    folder = RunFolder(path)
    status = folder.status(folder.read_metrics())
    states = {"completed": "done", "failed": "to be retried", "running": "running"}
    return states.get(status, "to be resumed")


def show_failures(jobs: Sequence[Launch]) -> int:
    """Print the jobs that failed, each with its error; return their number."""
    lines = []
    for job in jobs:
        folder = RunFolder(job_path(job))
        metrics = folder.read_metrics()
        if metrics.get("status") == "failed":
            where = display_path(folder.path / "failure.txt")
            lines.append(f"  {job.name}: {metrics['error']}\n    {where}")
    if lines:
        print("\nFailed:", *lines, sep="\n")
        print(f"\n{len(lines)} of {len(jobs)} jobs failed; the same command tries them again.")
    return len(lines)


def show_report_command(sweep: Path) -> None:
    """Print the command that compares the runs, if the project has a script for it."""
    if (the_project().root / "scripts" / "report.py").is_file():
        print(
            f"{'report':<12}python scripts/report.py sweep={shlex.quote(str(display_path(sweep)))}"
        )
