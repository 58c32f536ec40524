"""Sweeps of many small jobs: what each costs before its first step, while it runs, and done."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarking.commands import EndAtFirstStep, Took, time_command

FEW, MANY = 20, 220
"""The jobs of sweeps by whose difference the cost of one is measured."""

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


def measure_sweeps(overrides: Sequence[str], jobs: int) -> dict[str, Took]:
    """The cost of whole commands by what they do, for sweeps of up to so many jobs.

    Args:
        overrides: of the config that `scripts/train.py` composes.
        jobs: of the largest sweep.
    """
    took: dict[str, Took] = {}
    with TemporaryDirectory() as folder:
        train = ["scripts/train.py", "-m", *SMALL, *overrides, f"log_dir={folder}"]
        ends = f"+callbacks.end._target_={EndAtFirstStep.__module__}.{EndAtFirstStep.__qualname__}"
        for count in (FEW, MANY):
            betas = ",".join(f"{0.01 * (n + 1):.2f}" for n in range(count))
            sweep = f"sweep=first{count}"
            took[f"to the first step, {count} seeds"] = time_command(
                [*train, ends, sweep, f"seed=range({count})"]
            )
            took[f"to the first step, {count} β"] = time_command(
                [*train, ends, f"{sweep}b", "model=vae", f"model.objective.beta={betas}"]
            )
        for count in _sizes(jobs):
            command = [*train, f"sweep={count}", f"seed=range({count})"]
            report = ["scripts/report.py", f"sweep={count}", f"log_dir={folder}"]
            took[f"{count} jobs"] = time_command(command)
            took[f"{count} jobs, all done"] = time_command(command)
            page = Path(folder, "sweeps", str(count), "report.html")
            took[f"{count} jobs, report"] = time_command(report)
            took[f"{count} jobs, report"] = took[f"{count} jobs, report"]._replace(
                size=page.stat().st_size / 2**20
            )
    return took


def costs_of_a_job(took: Mapping[str, Took]) -> dict[str, float]:
    """Milliseconds of CPU that one more job costs, by what is done with it.

    Args:
        took: as `measure_sweeps` gives it.
    """
    costs = {}
    for what in ("seeds", "β"):
        few, many = (took[f"to the first step, {count} {what}"] for count in (FEW, MANY))
        costs[f"before the first step, {what}"] = _each(few, many, MANY - FEW)
    sizes = sorted({int(name.split()[0]) for name in took if name[0].isdigit()})
    smallest, largest = sizes[0], sizes[-1]
    for what in ("", ", all done", ", report"):
        few, many = (took[f"{count} jobs{what}"] for count in (smallest, largest))
        name = what.removeprefix(", ") or "done whole"
        costs[name] = _each(few, many, largest - smallest)
    return costs


def _each(few: Took, many: Took, more: int) -> float:
    return 1000 * (many.cpu - few.cpu) / max(more, 1)


def _sizes(jobs: int) -> list[int]:
    return sorted({max(2, jobs // 100), max(3, jobs // 10), jobs})


def plain(took: Mapping[str, Took]) -> dict[str, Any]:
    """The costs of commands and of a job, for JSON."""
    return {
        "commands": {name: one._asdict() for name, one in took.items()},
        "ms_a_job": costs_of_a_job(took),
    }
