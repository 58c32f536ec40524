"""Fitting a model and measuring its best weights: built objects in, metrics out."""

import logging
import math
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.model_helpers import is_overridden

from workbench.callbacks.checkpoints import BestAndLast, best_checkpoint, has_validation
from workbench.callbacks.graceful_stop import stoppable
from workbench.callbacks.pruning import was_pruned
from workbench.module import reports_of
from workbench.runs.weights import is_best_by_metric, load_checkpoint

log = logging.getLogger(__name__)


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
            _add_validation(trainer, module)
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
        elif test and trainer.limit_test_batches and not was_pruned(trainer):
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


def _add_validation(trainer: L.Trainer, module: L.LightningModule) -> None:
    """Let the final weights, which were validated after training, compete for the best."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, BestAndLast):
            callback.add_validation(trainer, module)
        elif isinstance(callback, ModelCheckpoint):
            # It saves only in a fit, at the end of a validation or of an epoch.
            epochs, fn = trainer.fit_loop.epoch_progress.current, trainer.state.fn
            epochs.completed, trainer.state.fn = epochs.completed - 1, TrainerFn.FITTING
            callback.on_validation_end(trainer, module)
            callback.on_train_epoch_end(trainer, module)
            epochs.completed, trainer.state.fn = epochs.completed + 1, fn


def _measured_weights(trainer: L.Trainer) -> tuple[dict[str, Any] | None, str]:
    """The checkpoint to measure after training, None for the final weights, and its description."""
    path = best_checkpoint(trainer)
    if path is None:
        return None, f"final weights: step {trainer.global_step}"
    best = load_checkpoint(path)
    kind = "best checkpoint" if is_best_by_metric(best) else "final weights"
    return best, f"{kind}: epoch {best['epoch'] + 1}, step {best['global_step']}"
