"""One run, from its config to its results."""

import logging
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException

from workbench.callbacks.checkpoints import add_validation, best_checkpoint, has_validation
from workbench.callbacks.graceful_stop import interruptible, stoppable
from workbench.config.blame import blaming
from workbench.config.launch import Launch
from workbench.config.trainer_rules import parts_measured
from workbench.console import set_up_logging, show_results, show_summary
from workbench.distributed import folder_to_join, others_join
from workbench.errors import ConfigError, UserError
from workbench.module import ReportingModule
from workbench.preparing import Prepared, prepare
from workbench.project import the_project
from workbench.runs.environment import describe_environment
from workbench.runs.folder import RunFolder
from workbench.runs.recording import recorded
from workbench.runs.tracking import tracked
from workbench.runs.weights import is_compared, load_checkpoint

log = logging.getLogger(__name__)


def train(
    module: ReportingModule,
    data: L.LightningDataModule,
    trainer: L.Trainer,
    *,
    resume_from: Path | None = None,
    test: bool = True,
) -> dict[str, float]:
    """Fit, validate the final weights where that was not done, then measure the best checkpoint.

    Returns figures by name: `train/...` of the last epoch, `val/...` and `test/...` of the weights
    that `measured_weights` names. What is not a finite number was not measured and is not there.

    Raises:
        KeyboardInterrupt: if the user stopped it.
    """
    with stoppable(trainer):
        trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=True)
    with stoppable(trainer, at_once=True):
        if has_validation(trainer) and not module.validation():
            log.info("validating the final weights")
            trainer.validate(module, datamodule=data, verbose=False)
            add_validation(trainer, module)
        best, words = measured_weights(trainer)
        figures = {
            "train": module.metrics("train"),
            "val": best["validation"] if best else module.validation(),
        }
        if best:
            # Not by `ckpt_path`, which under weight averaging is made something else of.
            module.load_state_dict(best["state_dict"])
            module.tested_step = best["global_step"]
        if test:
            log.info("testing the %s", words)
            trainer.test(module, datamodule=data, verbose=False)
            figures["test"] = module.metrics("test")
    return {
        f"{stage}/{name}": value
        for stage in figures
        for name, value in figures[stage].items()
        if math.isfinite(value)
    }


def measured_weights(trainer: L.Trainer) -> tuple[dict[str, Any] | None, str]:
    """The checkpoint that is measured after training, and its name; None for the final weights."""
    path = best_checkpoint(trainer)
    if path is None:
        return None, f"final weights: step {trainer.global_step}"
    best = load_checkpoint(path)
    kind = "best checkpoint" if is_compared(best) else "final weights"
    return best, f"{kind}: epoch {best['epoch'] + 1}, step {best['global_step']}"


def run(launch: Launch, folder: RunFolder | None = None) -> float | None:
    """Do what a command line asked for and return its `optimized_metric`.

    Args:
        launch: the job.
        folder: where to do it, claimed already; what was begun there goes on. By default a new
            folder, or the one that the job resumes.

    Raises:
        UserError: if something is wrong that the user can mend; nothing expensive has begun.
        SystemExit: with status 130, if the user stopped it.
    """
    set_up_logging(first_process=folder_to_join() is None)
    with interruptible():
        prepared = prepare(launch, folder)
        is_new = (
            folder is None and launch.config["resume"] is None and prepared.trainer.is_global_zero
        )
        try:
            return _run(launch, prepared)
        except UserError:
            if is_new and not prepared.trainer.global_step:
                prepared.folder.discard()
            raise


def _run(launch: Launch, prepared: Prepared) -> float | None:
    config, folder, data, module, trainer, resume_from = prepared
    project = the_project()
    meanings = project.meanings(config, module, data)
    first = trainer.is_global_zero
    with (
        others_join(folder.path, launch.overrides),
        recorded(folder) if first else nullcontext(),
        tracked(trainer.loggers) as runs,
    ):
        if first:
            folder.write_config(config, _typed(launch, folder))
            folder.write_environment(describe_environment(str(trainer.strategy.root_device)))
            folder.write_metrics(
                status="running",
                **{f"data_{name}": value for name, value in project.found(data).items()},
                monitor=module.monitor,
                meanings=meanings.plain(),
                tracked=runs or None,
                error=None,
            )
            show_summary(config, module, data, trainer, folder.path)
        try:
            with blaming("trainer", only_if=lambda: not trainer.global_step):
                metrics = train(module, data, trainer, resume_from=resume_from, test=config["test"])
        except MisconfigurationException as error:
            raise ConfigError(f"trainer: {error}") from error
        finally:
            if first and (best := best_checkpoint(trainer)):
                folder.write_metrics(best=folder.inside(best))
        if first:
            _, weights = measured_weights(trainer)
            parts = parts_measured(trainer, metrics) or None
            folder.write_metrics(
                status="completed",
                metrics={**metrics, **project.derive(metrics, module, data)},
                weights=weights,
                measured_on=parts,
            )
            about = [f"{k} on {v}" for k, v in (parts or {}).items()]
            about += [f"data {k}: {v}" for k, v in project.found(data).items()]
            weights = ", ".join([weights, *about])
            show_results(metrics, meanings, weights, folder.path)
    return value_of(config["optimized_metric"], metrics, module.monitor)


def _typed(launch: Launch, folder: RunFolder) -> list[str]:
    """Of a run that goes on, what was typed before stays."""
    if launch.config["resume"] is None:
        return launch.overrides
    new = [override for override in launch.overrides if not override.startswith("resume=")]
    return [*folder.read_overrides(), *new]


def value_of(name: str | None, metrics: dict[str, float], monitor: str) -> float | None:
    """The figure that a sweep's search looks at; by default what the objective monitors.

    None where it is not a number: to a search such a run has failed.

    Raises:
        ConfigError: if there is no figure of that name.
    """
    if name is not None and name not in metrics:
        raise ConfigError(
            f"optimized_metric={name} is not among the figures of this run: {', '.join(metrics)}"
        )
    value = metrics.get(name or f"val/{monitor}", math.nan)
    return None if math.isnan(value) else value
