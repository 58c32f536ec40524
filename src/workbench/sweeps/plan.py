"""What a sweep will do, said before it does it, and what went wrong, said at its end."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from workbench.config.launch import Launch
from workbench.runs.folder import RunFolder
from workbench.runs.status import status_of
from workbench.sweeps.job import job_path

MOST_LINES = 60


def show_plan(jobs: Sequence[Launch]) -> list[str]:
    """Show the jobs of a sweep, and return their states."""
    states = [state_of(job) for job in jobs]
    counts = Counter(states)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"sweep       {jobs[0].parent}")
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    console.print(f"{len(jobs)} jobs".ljust(12) + summary)
    if set(counts) == {"new"}:
        return states
    table = Table("job", "state")
    left = sorted(zip(jobs, states, strict=True), key=lambda item: item[1] == "done")
    for job, state in left[:MOST_LINES]:
        table.add_row(job.name, state)
    if len(left) > MOST_LINES:
        table.add_row(f"... and {len(left) - MOST_LINES} more", "")
    console.print(table)
    return states


def state_of(job: Launch) -> str:
    """`new`, `done`, `running` in another process, or that it goes on after what it met before."""
    path = job_path(job)
    if not path.exists():
        return "new"
    folder = RunFolder(path)
    status = status_of(folder, folder.read_metrics())
    known = {"completed": "done", "failed": "failed before, tried again", "running": "running"}
    return known.get(status, "goes on")


def show_failures(jobs: Sequence[Launch]) -> int:
    """List the jobs that failed, each with its error; how many there are."""
    failed = 0
    for job in jobs:
        folder = RunFolder(job_path(job))
        metrics = folder.read_metrics()
        if metrics.get("status") == "failed":
            if not failed:
                print("\nFailed:")
            failed += 1
            print(f"  {job.name}: {metrics['error']}\n    {folder.path / 'failure.txt'}")
    if failed:
        print(f"\n{failed} of {len(jobs)} jobs failed; the same command tries them again.")
    return failed
