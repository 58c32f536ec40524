"""What loggers and checkpoints get of the metrics of an epoch, of our own and foreign modules."""

from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer

from workbench.project import Config


class EpochMetrics(L.Callback):
    """Makes a module report an epoch before other callbacks handle the end of that epoch.

    Lightning calls the module's own hook last: without this, callbacks would find the metrics of
    the previous epoch in `trainer.callback_metrics`.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Report the training."""
        pl_module.report_epoch("train")

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Report the validation."""
        pl_module.report_epoch("val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Report the test."""
        pl_module.report_epoch("test")


class EpochLog:
    """Logs the means of batches, and keeps settings and the validation metrics in checkpoints.

    It is mixed into a LightningModule or a callback, which has the `means` of each stage.
    """

    means: Any
    _trainer: Any

    config: Config | None
    """The config that the module was built from; None if there was none."""

    def __init__(self) -> None:
        super().__init__()
        self.config = None
        self.settings: dict[str, float] = {}
        self.tested_step: int | None = None
        self._validation: dict[str, float] = {}
        self._validated_step: int | None = None

    def is_fitting(self) -> bool:
        """True in training; a checkpoint may also be loaded to test or predict."""
        return self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING

    def validation(self) -> dict[str, float]:
        """The validation metrics of the present weights; empty if they were not validated."""
        is_now = self._trainer is not None and self._validated_step == self._trainer.global_step
        return self._validation if is_now else {}

    def add_validation(self, checkpoint: dict[str, Any]) -> None:
        """Add the validation metrics of these weights, and the step of the validation."""
        checkpoint["validation"] = self.validation()
        checkpoint["validated_step"] = self._validated_step if self.validation() else None

    def log_step(self, optimizer: Optimizer) -> None:
        """Log `train/..._step` every `log_every_n_steps`: the means of the last batch.

        If gradients are accumulated, that is the last of their batches. The learning rate is read
        here because at the end of an epoch a scheduler has already set that of the next epoch.
        """
        if optimizer.param_groups:  # Lightning's stand-in for a missing optimizer has none
            self.settings = {**self.settings, "lr": optimizer.param_groups[0]["lr"]}
        step, every_n_steps = self._trainer.global_step, self._trainer.log_every_n_steps
        if every_n_steps and (step + 1) % every_n_steps == 0:
            means = self.means["train"].of_last_batch()
            self.log_now({f"train/{name}_step": value for name, value in means.items()}, step)

    def log_now(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics before a checkpoint of this step is written.

        Lightning would log them afterwards: a run that is killed in between and resumed would lack
        a point in its curves.
        """
        for logger in self._trainer.loggers if self._trainer and metrics else []:
            logger.log_metrics(dict(metrics), step=step)

    def save_epoch(self, checkpoint: dict[str, Any], means: Mapping[str, Any]) -> None:
        """Add to a checkpoint the means of the epoch so far, and what is kept besides them."""
        checkpoint["epoch_means"] = means
        checkpoint["settings"] = self.settings
        if self.config is not None:
            checkpoint["config"] = self.config
        self.add_validation(checkpoint)

    def restore_epoch(self, checkpoint: Mapping[str, Any]) -> None:
        """Restore what `save_epoch` added, except for the means."""
        self.settings = checkpoint.get("settings", {})  # absent before version 0.2
        self._validation = checkpoint.get("validation", {})
        # Absent if the validation in the checkpoint may be that of other weights.
        self._validated_step = checkpoint.get("validated_step")
