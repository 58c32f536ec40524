"""Measure the cost of a job in large sweeps: before the first step, as a whole, once done."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarking.commands import Cost, EndAtFirstStep, time_command

FEW, MANY = 20, 220
"""The numbers of jobs of two sweeps whose difference gives the cost of a job."""

SMALL = (
    "data.source=sample",
    "trainer=cpu",
    "trainer.max_epochs=1",
    "+trainer.limit_train_batches=2",
    "+trainer.limit_val_batches=1",
    "+trainer.limit_test_batches=1",
    "callbacks.image_panel=null",
    "callbacks.latent_panel=null",
    "model.network.encoder_sizes=[8]",
    "model.network.decoder_sizes=[8]",
)


def measure_sweeps(overrides: Sequence[str], jobs: int) -> dict[str, Cost]:
    """The costs of commands on sweeps of several sizes, by what the command does.

    Args:
        overrides: overrides of the config of `scripts/train.py`.
        jobs: the number of jobs of the largest sweep.
    """
    costs: dict[str, Cost] = {}
    with TemporaryDirectory() as folder:
        train = ["scripts/train.py", "-m", *SMALL, *overrides, f"log_dir={folder}"]
        ends = f"+callbacks.end._target_={EndAtFirstStep.__module__}.{EndAtFirstStep.__qualname__}"
        for count in (FEW, MANY):
            betas = ",".join(f"{0.01 * (n + 1):.2f}" for n in range(count))
            sweep = f"sweep=first{count}"
            costs[f"to the first step, {count} seeds"] = time_command(
                [*train, ends, sweep, f"seed=range({count})"]
            )
            costs[f"to the first step, {count} β"] = time_command(
                [*train, ends, f"{sweep}b", "model=vae", f"model.objective.beta={betas}"]
            )
        for count in _sizes(jobs):
            command = [*train, f"sweep={count}", f"seed=range({count})"]
            report = ["scripts/report.py", f"sweep={count}", f"log_dir={folder}"]
            costs[f"{count} jobs"] = time_command(command)
            costs[f"{count} jobs, all done"] = time_command(command)
            page = Path(folder, "sweeps", str(count), "report.html")
            cost = time_command(report)
            costs[f"{count} jobs, report"] = cost._replace(size=page.stat().st_size / 2**20)
    return costs


def costs_per_job(costs: Mapping[str, Cost]) -> dict[str, float]:
    """The CPU milliseconds of one more job, by what is done with it.

    Args:
        costs: the result of `measure_sweeps`.
    """
    per_job = {}
    for varied in ("seeds", "β"):
        few, many = (costs[f"to the first step, {count} {varied}"] for count in (FEW, MANY))
        per_job[f"before the first step, {varied}"] = _per_job(few, many, MANY - FEW)
    sizes = sorted({int(name.split()[0]) for name in costs if name[0].isdigit()})
    smallest, largest = sizes[0], sizes[-1]
    for suffix in ("", ", all done", ", report"):
        few, many = (costs[f"{count} jobs{suffix}"] for count in (smallest, largest))
        name = suffix.removeprefix(", ") or "as a whole"
        per_job[name] = _per_job(few, many, largest - smallest)
    return per_job


def _per_job(few: Cost, many: Cost, jobs: int) -> float:
    return 1000 * (many.cpu - few.cpu) / max(jobs, 1)


def _sizes(jobs: int) -> list[int]:
    return sorted({max(2, jobs // 100), max(3, jobs // 10), jobs})


def plain(costs: Mapping[str, Cost]) -> dict[str, Any]:
    """The costs of commands and of a job, for JSON."""
    return {
        "commands": {name: cost._asdict() for name, cost in costs.items()},
        "ms_a_job": costs_per_job(costs),
    }
