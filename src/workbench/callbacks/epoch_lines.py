"""A line of metrics for each epoch."""

import logging
import math

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from workbench.module import ReportingModule, reports_of

log = logging.getLogger(__name__)

WIDTH = 80
"""Of a terminal, in characters."""


class EpochLines(L.Callback):
    """Logs a line after each epoch, with or without a progress bar.

    It has the means over the epoch of the metrics that the module shows, and the validation of the
    weights that the epoch ended with; two lines where one would be too long. A validation within an
    epoch has a line too.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        pl_module = reports_of(pl_module)
        train, val = pl_module.metrics("train"), pl_module.validation()
        if trainer.is_global_zero:
            epoch = epoch_name(trainer)
            trained = f"{epoch}   train {_in_words(train, pl_module)}"
            validated = f"val {_in_words(val, pl_module)}"
            line = f"{trained}   {validated}"
            below = f"{trained}\n{'':{len(epoch)}}   {validated.replace('val', 'val  ', 1)}"
            log.info("%s", line if len(line) <= WIDTH else below)

    def on_validation_end(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        in_training = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        pl_module = reports_of(pl_module)
        if in_training and not trainer.is_last_batch and trainer.is_global_zero:
            shown = _in_words(pl_module.validation(), pl_module)
            log.info("step %d   val %s", trainer.global_step, shown)


def epoch_name(trainer: L.Trainer) -> str:
    """The present epoch, such as `epoch 3/10`."""
    last = trainer.max_epochs
    return f"epoch {trainer.current_epoch + 1}" + (f"/{last}" if last and last > 0 else "")


def _in_words(metrics: dict[str, float], module: ReportingModule) -> str:
    known = {k: metrics[k] for k in module.shown if math.isfinite(metrics.get(k, math.nan))}
    return " ".join(f"{name} {value:.4g}" for name, value in known.items()) or "–"
