"""The story of one run, from its config to its results."""

import logging
import math
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import RandomSampler

from workbench.callbacks.checkpoints import add_validation, best_checkpoint, has_validation
from workbench.callbacks.graceful_stop import interruptible, stoppable
from workbench.callbacks.pruning import Judge, Pruning, was_pruned
from workbench.config.batch_limits import parts_measured
from workbench.config.blame import blaming
from workbench.config.launch import Launch
from workbench.console import display_path, next_steps, set_up_logging, show_results, show_summary
from workbench.distributed import (
    children_run_job,
    connected_processes,
    ending_silently,
    folder_to_join,
    launcher,
    single_process,
)
from workbench.errors import ConfigError, UserError
from workbench.foreign import is_foreign
from workbench.meaning import Meanings
from workbench.module import ReportingModule, reports_of
from workbench.preparing import PreparedRun, prepare
from workbench.project import the_project
from workbench.runs.environment import describe_environment
from workbench.runs.folder import RunFolder
from workbench.runs.recording import recorded
from workbench.runs.tracking import open_trackers
from workbench.runs.values import write_values
from workbench.runs.weights import is_best_by_metric, load_checkpoint

log = logging.getLogger(__name__)


def run(
    launch: Launch, folder: RunFolder | None = None, judge: Judge | None = None
) -> float | None:
    """Run a job and return its `optimized_metric`.

    Args:
        launch: the job.
        folder: its folder, claimed already; a run that was begun there is resumed. By default a
            new folder, or the one that the job resumes.
        judge: decides whether a trial of a search ends early.

    Raises:
        UserError: if something is wrong that the user can fix; nothing expensive has begun.
        SystemExit: with status 130, if the user stopped the run.
    """
    set_up_logging(first_process=folder_to_join() is None)
    with interruptible():
        processes = single_process() if _is_single(launch) else connected_processes()
        if processes.rank > 0:
            set_up_logging(first_process=False)
        prepared = prepare(launch, folder, processes)
        trainer = prepared.trainer
        if prepared.folder.read_metrics().get("trial") is not None:  # in every rank
            pruning = Pruning(launch.config["optimized_metric"], judge)
            trainer.callbacks.append(pruning)  # type: ignore[attr-defined]
        is_new = folder is None and launch.config["resume"] is None and trainer.is_global_zero
        try:
            return _run(launch, prepared)
        except UserError:
            if is_new and not trainer.global_step:
                prepared.folder.discard()
            raise


def _is_single(launch: Launch) -> bool:
    """Whether a job is done by one process even if a launcher has started others.

    Processes that were given the same sweep share its jobs. Slurm's variables are also set where
    nothing was started with srun, as in a script for `sbatch`.
    """
    trainer = launch.config["trainer"]
    is_small = trainer.get("devices") == 1 and trainer.get("num_nodes", 1) == 1
    return launch.in_sweep or (is_small and isinstance(launcher(), SLURMEnvironment))


def _run(launch: Launch, prepared: PreparedRun) -> float | None:
    config, folder, data, module, trainer, resume_from, _ = prepared
    meanings = the_project().meanings(config, module, data)
    is_first, joined = trainer.is_global_zero, folder_to_join() is not None
    with (
        children_run_job(folder.path, launch.overrides),
        recorded(folder) if is_first else ending_silently(joined=joined),
        open_trackers(trainer.loggers) as tracked_runs,
    ):
        if is_first:
            _record_start(launch, prepared, meanings, tracked_runs)
        try:
            with blaming("trainer", only_if=lambda: not trainer.global_step):
                metrics, weights = train(
                    module, data, trainer, resume_from=resume_from, test=config["test"]
                )
        except MisconfigurationException as error:
            raise ConfigError(f"trainer: {error}") from error
        finally:
            if is_first and (best := best_checkpoint(trainer)):
                folder.write_metrics(best=folder.inside(best))
        if is_first:
            _record_results(prepared, meanings, metrics, weights, launch.in_sweep)
    return optimized_value(config["optimized_metric"], metrics, reports_of(module).monitor)


def _record_start(
    launch: Launch, prepared: PreparedRun, meanings: Meanings, tracked_runs: dict[str, str]
) -> None:
    config, folder, data, module, trainer, _, transfer = prepared
    overrides = launch.overrides
    if launch.config["resume"] is not None:  # keep those of the command that began the run
        new = [override for override in overrides if not override.startswith("resume=")]
        overrides = [*folder.read_overrides(), *new]
    count, before = trainer.world_size, folder.read_metrics().get("processes", trainer.world_size)
    if count != before:
        log.warning(
            "processes: %s instead of %s. A step now takes as many batches, at the same learning "
            "rate, so the run will differ from one without this change; the rest of an unfinished "
            "epoch may be short, or without its validation",
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


def train(
    module: L.LightningModule,
    data: L.LightningDataModule,
    trainer: L.Trainer,
    *,
    resume_from: Path | None = None,
    test: bool = True,
) -> tuple[dict[str, float], str]:
    """Fit, validate the final weights if that was not done, then test the best checkpoint.

    A run that was pruned is not tested. Values that are not finite are left out.

    Returns:
        Metrics by name, `train/...` of the last epoch, `val/...` and `test/...` of the measured
        weights; and a description of these weights.

    Raises:
        KeyboardInterrupt: if the user stopped it.
    """
    reports = reports_of(module)
    with stoppable(trainer):
        trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=True)
    with stoppable(trainer, at_once=True):
        if has_validation(trainer) and not reports.validation():
            log.info("validating the final weights")
            trainer.validate(module, datamodule=data, verbose=False)
            add_validation(trainer, module)
        best, weights = _measured_weights(trainer)
        metrics = {
            "train": reports.metrics("train"),
            "val": best["validation"] if best else reports.validation(),
        }
        if best:
            # Not by `ckpt_path`, which weight averaging would replace.
            module.load_state_dict(best["state_dict"])
            reports.tested_step = best["global_step"]
        if test and not is_overridden("test_step", module):
            log.info("no test: %s has no test_step", type(module).__name__)
        elif test and not was_pruned(trainer):
            log.info("testing the %s", weights)
            trainer.test(module, datamodule=data, verbose=False)
            metrics["test"] = reports.metrics("test")
    measured = {
        f"{stage}/{name}": value
        for stage in metrics
        for name, value in metrics[stage].items()
        if math.isfinite(value)
    }
    return measured, weights


def _measured_weights(trainer: L.Trainer) -> tuple[dict[str, Any] | None, str]:
    """The checkpoint to measure after training, None for the final weights, and its description."""
    path = best_checkpoint(trainer)
    if path is None:
        return None, f"final weights: step {trainer.global_step}"
    best = load_checkpoint(path)
    kind = "best checkpoint" if is_best_by_metric(best) else "final weights"
    return best, f"{kind}: epoch {best['epoch'] + 1}, step {best['global_step']}"


def _record_results(
    prepared: PreparedRun,
    meanings: Meanings,
    metrics: dict[str, float],
    weights: str,
    in_sweep: bool,
) -> None:
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
        commands = {} if is_foreign(type(module)) else project.after_training
        lines |= next_steps(folder.path, trainer.loggers, commands)
    show_results(metrics, meanings, ", ".join([weights, *about]), lines)


def _test_values(trainer: L.Trainer, module: L.LightningModule) -> dict[str, Any]:
    """The values of each test example by metric; none if they are shuffled or on several ranks."""
    if not isinstance(module, ReportingModule):
        return {}
    loader: Any = trainer.test_dataloaders
    is_random = isinstance(getattr(loader, "sampler", None), RandomSampler)
    return {} if is_random or trainer.world_size > 1 else module.test_values.arrays()


def optimized_value(name: str | None, metrics: dict[str, float], monitor: str) -> float | None:
    """The metric that a search optimizes, by default the monitored one; None if it is NaN.

    Raises:
        ConfigError: if there is no metric of that name.
    """
    if name is not None and name not in metrics:
        raise ConfigError(
            f"optimized_metric={name} is not among the metrics of this run: {', '.join(metrics)}"
        )
    value = metrics.get(name or f"val/{monitor}", math.nan)
    return None if math.isnan(value) else value
