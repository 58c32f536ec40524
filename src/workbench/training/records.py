"""The records of a run in its folder and on the screen, when it starts and when it is done."""

import logging
from typing import Any

import lightning as L
from torch.utils.data import RandomSampler

from workbench.callbacks.checkpoints import best_checkpoint
from workbench.callbacks.pruning import was_pruned
from workbench.config.batch_limits import parts_measured
from workbench.console import display_path, next_steps, show_results, show_summary
from workbench.foreign import is_foreign
from workbench.meaning import Meanings
from workbench.module import ReportingModule, reports_of
from workbench.project import the_project
from workbench.runs.environment import describe_environment
from workbench.runs.values import write_values
from workbench.training.launch import Launch
from workbench.training.preparing import PreparedRun

log = logging.getLogger(__name__)


def record_start(
    launch: Launch, prepared: PreparedRun, meanings: Meanings, tracked_runs: dict[str, str]
) -> None:
    """Record the config and the environment of a run that starts, and log a summary."""
    config, folder, data, module, trainer, _, transfer = prepared
    overrides = launch.overrides
    if launch.config["resume"] is not None:  # keep those of the command that began the run
        new = [override for override in overrides if not override.startswith("resume=")]
        overrides = [*folder.read_overrides(), *new]
    count, before = trainer.world_size, folder.read_metrics().get("processes", trainer.world_size)
    if count != before:
        log.warning(
            "processes: %s instead of %s. A step takes a batch of each, at the same learning rate: "
            "from here on the run differs from one without this change, and the rest of an "
            "unfinished epoch may be short, or without its validation",
            count,
            before,
        )
    folder.write_config(config, overrides)
    folder.write_environment(describe_environment(str(trainer.strategy.root_device)))
    folder.write_metrics(
        status="running",
        processes=count,
        **{f"data_{name}": value for name, value in the_project().data_facts(data).items()},
        monitor=reports_of(module).monitor,
        meanings=meanings.plain(),
        tracked=tracked_runs or None,
        error=None,
    )
    show_summary(config, module, data, trainer, folder.path)
    if transfer:
        folder.write_metrics(origin=transfer.plain())
        transfer.show()


def record_results(
    prepared: PreparedRun,
    meanings: Meanings,
    metrics: dict[str, float],
    weights: str,
    in_sweep: bool,
) -> None:
    """Record the metrics of a run that is done, and log them."""
    _, folder, data, module, trainer, *_ = prepared
    project = the_project()
    parts = parts_measured(trainer, metrics)
    try:
        write_values(folder.path, _test_values(trainer, module))
    except OSError as error:  # the means are written all the same
        log.warning("the values of single test examples are not kept: %s", error)
    folder.write_metrics(
        status="pruned" if was_pruned(trainer) else "completed",
        metrics={**metrics, **project.derive(metrics, module, data)},
        weights=weights,
        measured_on=parts or None,
    )
    if was_pruned(trainer):
        log.info("pruned after epoch %s: hopeless compared to other trials", trainer.current_epoch)
    about = [f"{stage} on {part}" for stage, part in parts.items()]
    about += [f"data {name}: {value}" for name, value in project.data_facts(data).items()]
    lines = {"run folder": str(display_path(folder.path))}
    if not in_sweep:  # a sweep has a page of its own
        is_opened = best_checkpoint(trainer) and not is_foreign(type(module))
        commands = project.after_training if is_opened else {}
        lines |= next_steps(folder.path, trainer.loggers, commands)
    show_results(metrics, meanings, ", ".join([weights, *about]), lines)


def _test_values(trainer: L.Trainer, module: L.LightningModule) -> dict[str, Any]:
    """The values of each test example by metric; none if they are shuffled or on several ranks."""
    if not isinstance(module, ReportingModule):
        return {}
    loader: Any = trainer.test_dataloaders
    is_random = isinstance(getattr(loader, "sampler", None), RandomSampler)
    return {} if is_random or trainer.world_size > 1 else module.test_values.arrays()
