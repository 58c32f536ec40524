"""The progress bar, and a line of metrics for each epoch."""

import logging
import math
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.trainer.states import TrainerFn
from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn

from workbench.module import ReportingModule
from workbench.ranges import Count, checked

log = logging.getLogger(__name__)


class Progress(RichProgressBar):
    """Lightning's Rich bar with the last batch's metrics that the module shows, and the time left.

    After each epoch it logs one line: the means over the epoch, and the validation of the weights
    that it ended with. A validation within an epoch has a line too.

    Args:
        every_n_batches: how often the bar is updated; reading metrics makes the device wait.
    """

    @checked
    def __init__(self, every_n_batches: Count = 20) -> None:
        super().__init__()
        self.every_n_batches = every_n_batches

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: ReportingModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if index % self.every_n_batches == 0 or index + 1 == trainer.num_training_batches:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, index)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        train, val = pl_module.metrics("train"), pl_module.validation()
        if trainer.is_global_zero:
            epoch = self._get_train_description(trainer.current_epoch)
            shown = _in_words(train, pl_module), _in_words(val, pl_module)
            log.info("%s   train %s   val %s", epoch, *shown)

    def on_validation_end(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        super().on_validation_end(trainer, pl_module)
        in_training = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if in_training and not trainer.is_last_batch and trainer.is_global_zero:
            shown = _in_words(pl_module.validation(), pl_module)
            log.info("step %d   val %s", trainer.global_step, shown)

    def get_metrics(self, trainer: L.Trainer, pl_module: ReportingModule) -> dict[str, Any]:
        means = pl_module.means["train"].of_last_batch()
        return {name: f"{means[name]:.4g}" for name in pl_module.shown if name in means}

    def configure_columns(self, trainer: L.Trainer) -> list[ProgressColumn]:
        """Fits a terminal of 80 characters."""
        return [TextColumn("{task.description}"), BarColumn(bar_width=12), TimeRemainingColumn()]

    def _get_train_description(self, current_epoch: int) -> str:
        last = self.trainer.max_epochs
        return f"epoch {current_epoch + 1}" + (f"/{last}" if last and last > 0 else "")


def _in_words(metrics: dict[str, float], module: ReportingModule) -> str:
    known = {k: metrics[k] for k in module.shown if math.isfinite(metrics.get(k, math.nan))}
    return " ".join(f"{name} {value:.4g}" for name, value in known.items()) or "–"
