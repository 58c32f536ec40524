"""The story of one run, from its config to its results."""

import math
from collections.abc import Callable

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException

from workbench.callbacks.checkpoints import best_checkpoint
from workbench.callbacks.graceful_stop import interruptible
from workbench.callbacks.pruning import Judge, Pruning
from workbench.child_processes import children_run_job, ending_silently, folder_to_join
from workbench.config.blame import blaming
from workbench.console import set_up_logging
from workbench.errors import ConfigError, UserError
from workbench.loader_workers import naming_lost_workers
from workbench.module import reports_of
from workbench.processes import connected_processes, launcher, single_process
from workbench.project import the_project
from workbench.runs.folder import RunFolder
from workbench.runs.recording import recorded
from workbench.runs.tracking import open_trackers
from workbench.training.fitting import train
from workbench.training.launch import Launch
from workbench.training.preparing import PreparedRun, prepare
from workbench.training.records import record_results, record_start


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

        def is_discarded() -> bool:
            return is_new and not trainer.global_step

        try:
            return _run(launch, prepared, is_discarded)
        except UserError:
            if is_discarded():
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


def _run(launch: Launch, prepared: PreparedRun, is_discarded: Callable[[], bool]) -> float | None:
    config, folder, data, module, trainer, resume_from, _ = prepared
    meanings = the_project().meanings(config, module, data)
    is_first, joined = trainer.is_global_zero, folder_to_join() is not None
    with (
        children_run_job(folder.path, launch.overrides),
        recorded(folder, is_discarded) if is_first else ending_silently(joined=joined),
        open_trackers(trainer.loggers) as tracked_runs,
    ):
        if is_first:
            record_start(launch, prepared, meanings, tracked_runs)
        try:
            with (
                blaming("trainer", only_if=lambda: not trainer.global_step),
                naming_lost_workers(),
            ):
                metrics, weights = train(
                    module, data, trainer, resume_from=resume_from, test=config["test"]
                )
        except MisconfigurationException as error:
            raise ConfigError(f"trainer: {error}") from error
        finally:
            if is_first and (best := best_checkpoint(trainer)):
                folder.write_metrics(best=folder.inside(best))
        if is_first:
            record_results(prepared, meanings, metrics, weights, launch.in_sweep)
    return optimized_value(config["optimized_metric"], metrics, reports_of(module).monitor)


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
