"""A line of metrics for each epoch."""

import logging
import math
from collections.abc import Mapping, Sequence

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from workbench.module import reports_of
from workbench.text import WIDTH

log = logging.getLogger(__name__)


class EpochLines(L.Callback):
    """Logs a line after each epoch, with or without a progress bar.

    It has the first of the module's `shown` metrics as its training mean, and as many of them as
    fit a terminal from a validation at the end of the epoch; without a validation, as many training
    means. A validation within an epoch has a line of its own.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        reports = reports_of(pl_module)
        train, val = reports.metrics("train"), reports.validation()
        if trainer.is_global_zero:
            names = reports.shown
            trained = _words("train", train, names[:1] if val else names)
            log.info("%s", _line(epoch_name(trainer), trained + _words("val", val, names)))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        in_training = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        reports = reports_of(pl_module)
        if in_training and not trainer.is_last_batch and trainer.is_global_zero:
            validated = _words("val", reports.validation(), reports.shown)
            log.info("%s", _line(f"step {trainer.global_step}", validated))


def epoch_name(trainer: L.Trainer) -> str:
    """The current epoch, such as `epoch  3/10`, padded to the same length in all of a training."""
    last = trainer.max_epochs
    number = str(trainer.current_epoch + 1)
    return f"epoch {number:>{len(str(last))}}/{last}" if last and last > 0 else f"epoch {number}"


def four_digits(value: float) -> str:
    """A value with four significant digits."""
    return f"{value:#.4g}".removesuffix(".")


def _words(stage: str, metrics: Mapping[str, float], names: Sequence[str]) -> list[str]:
    known = {k: metrics[k] for k in names if math.isfinite(metrics.get(k, math.nan))}
    words = [f" {name} {four_digits(value)}" for name, value in known.items()]
    return [f"   {stage}{words[0]}", *words[1:]] if words else []


def _line(start: str, words: Sequence[str]) -> str:
    """A line with as many of the words as fit a terminal."""
    line = start
    for word in words:
        if len(line + word) > WIDTH:
            break
        line += word
    return line
