"""Do the jobs of a sweep, training as many as possible in stacks."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from workbench.callbacks import BestAndLast, GracefulStop, Progress, StopWhenNotFinite, Throughput
from workbench.callbacks.graceful_stop import interruptible
from workbench.config.build import nodes_in
from workbench.config.identity import changes_metrics
from workbench.config.nested import flatten, matches
from workbench.config.targets import find_class
from workbench.console import set_up_logging
from workbench.errors import one_line
from workbench.runs.folder import RunFolder
from workbench.stacked.member import Member
from workbench.stacked.training import train
from workbench.sweeps.gpus import take_one_gpu
from workbench.sweeps.job import job_path, mark_running, run_job
from workbench.training.launch import Launch
from workbench.training.rehearsal import LOCAL

log = logging.getLogger(__name__)

MAY_DIFFER = ("optimizer.*", "parameter_groups.*", "model.*", "seed", "*.seed")
"""Settings in which the runs of a stack may differ, if they are numbers."""

TRAINER = ("_target_", "accelerator", "devices", "precision", "max_epochs", "log_every_n_steps")
"""Settings of the trainer that a stack supports; others must be unset or change no metric."""

UNSUPPORTED = ("init_from", "freeze", "compile", "scheduler")
"""Settings that must be unset."""

CALLBACKS = (BestAndLast, GracefulStop, Progress, StopWhenNotFinite, Throughput)
"""Callbacks that a stack replaces; it also accepts callbacks with `only_shows`, and skips them."""


def run_jobs(jobs: Sequence[Launch], at_once: int) -> None:
    """Train checked jobs in stacks of at most `at_once` runs, then test each alone.

    A job that was in no stack is trained alone; jobs that are done are left as they are.
    """
    set_up_logging()
    take_one_gpu(jobs[0].config)
    with interruptible():
        for group in _groups(jobs):
            for start in range(0, len(group), at_once):
                _train_group(group[start : start + at_once])
    for job in jobs:
        run_job(job)


def _groups(jobs: Sequence[Launch]) -> Iterator[list[Launch]]:
    """Groups of two or more jobs that are not done and differ only in numbers."""
    groups: dict[str, list[Launch]] = {}
    for job in jobs:
        if RunFolder(job_path(job)).read_metrics().get("status") == "completed":
            continue
        if reason := next(_obstacles(job.config), None):
            log.info("%s   is trained alone: %s", job.name, reason)
            continue
        groups.setdefault(str(_without_numbers(job.config)), []).append(job)
    yield from (group for group in groups.values() if len(group) > 1)


def _obstacles(config: dict[str, Any]) -> Iterator[str]:
    """The reasons why a run with these settings cannot be in a stack."""
    trainer = config["trainer"]
    for name, value in trainer.items():
        if name not in TRAINER and changes_metrics(f"trainer.{name}") and value is not None:
            yield f"trainer.{name}={value} is set"
    if (trainer.get("devices"), trainer.get("precision", "32-true")) != (1, "32-true"):
        yield "trainer.devices is not 1, or trainer.precision not 32-true"
    if trainer.get("max_epochs", -1) < 1:
        yield "trainer.max_epochs is less than 1"
    yield from (f"{name} is set" for name in UNSUPPORTED if config.get(name))
    callbacks = nodes_in(config, "callbacks").values()
    kinds = [find_class(node["_target_"], "callbacks") for node in callbacks]
    if kinds.count(BestAndLast) != 1:
        yield "it does not keep its checkpoints with one BestAndLast"
    others = [k for k in kinds if k not in CALLBACKS and not getattr(k, "only_shows", False)]
    yield from (f"a stack does not call {kind.__name__}" for kind in others)
    for name, node in nodes_in(config, "logger").items():
        # Those with runs of their own elsewhere have one run at a time in a process.
        if not issubclass(find_class(node["_target_"], "logger"), LOCAL):
            yield f"a stack does not log to {name}"


def _without_numbers(config: dict[str, Any]) -> dict[str, Any]:
    """A flat config in which "number" replaces the numbers in which runs may differ."""
    return {
        name: "number" if type(value) in (int, float) and matches(name, MAY_DIFFER) else value
        for name, value in flatten(config).items()
    }


def _train_group(jobs: Sequence[Launch]) -> None:
    """Train each stack of jobs that have the same structure and have done as many epochs."""
    with ExitStack() as opened:
        stacks: dict[Any, list[Member]] = {}
        first: Member | None = None
        for job in jobs:
            if member := _open_member(job, first):
                opened.callback(member.close)
                first = first or member
                stacks.setdefault((member.epochs, member.structure), []).append(member)
        for members in stacks.values():
            if len(members) > 1:
                _train_stack(members)
            else:
                name = members[0].launch.name
                log.info("%s   is trained alone: no other run has its structure", name)


def _open_member(job: Launch, first: Member | None) -> Member | None:
    """Claim a job's folder and build its run; None if the run has to be trained alone."""
    folder = RunFolder.at(job_path(job))
    try:
        folder.claim()
        mark_running(folder, job)
        return Member(job, folder, first)
    except Exception as error:  # a real fault is reported when the run is trained alone
        log.info("%s   is trained alone: %s", job.name, one_line(error))
        folder.release()
        return None


def _train_stack(members: Sequence[Member]) -> None:
    """Train a stack; if it cannot be trained, its runs are left to be trained alone."""
    try:
        train(members)
    except KeyboardInterrupt:
        for member in members:
            member.folder.write_metrics(status="interrupted")
        log.warning("Stopped. The same command resumes the sweep.")
        raise SystemExit(130) from None
    except Exception as error:
        log.warning("%s runs are trained one by one: %s", len(members), one_line(error))
