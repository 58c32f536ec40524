"""Give the jobs of a sweep to a launcher."""

from pathlib import Path
from typing import Any

from workbench.jobs import hydra_adapter
from workbench.jobs.command_line import CommandLine
from workbench.runs.output import check_writable
from workbench.sweeps.plan import show_failures, show_plan, show_report_command
from workbench.training.init_from import read_source, with_weights_file


def launch_all(command: CommandLine, launcher: Any, at_once: int | None) -> int:
    """Launch the jobs that are not done; return how many jobs of the sweep have failed.

    If settings refer to the job's number, jobs that are done are launched too and end at once:
    launchers number the jobs that they are given. The launcher gets `at_once` jobs at a time; by
    default all of them, or one if it is serial.
    """
    jobs = [with_weights_file(job) for job in command.jobs]
    for path in {job.config["init_from"] for job in jobs if job.config.get("init_from")}:
        read_source(Path(path))
    states = show_plan(jobs)
    left = [n for n, state in enumerate(states) if state != "done" or command.is_numbered]
    for job, state in zip(jobs, states, strict=True):
        if state == "done" and not command.is_numbered:
            print(f"{job.name}   is done already")
    if left:
        check_writable(
            [jobs[0].parent / "plan"],
            "Choose another place with log_dir=... or hydra.sweep.dir=...",
        )
    is_serial = hydra_adapter.is_serial(launcher)
    if is_serial and (composer := command.composer):
        hydra_adapter.compose_by(lambda overrides: composer.compose(overrides).config, launcher)
    # A launcher keeps the results of all jobs that it was given until the last of them is done.
    size = at_once or (1 if is_serial else len(left) or 1)
    try:
        for start in range(0, len(left), size):
            numbers = left[start : start + size]
            if hasattr(launcher, "run_jobs"):  # our own, which takes checked jobs
                launcher.run_jobs([jobs[n] for n in numbers])
                continue
            batch = [command.arguments[n] for n in numbers]
            for result in launcher.launch(batch, initial_job_idx=start):
                _ = result.return_value  # raises the job's exception
    finally:
        failed = show_failures(jobs)
        if failed < len(jobs):
            show_report_command(jobs[0].parent)
    return failed
