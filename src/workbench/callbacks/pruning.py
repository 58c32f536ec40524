"""Pruning: ending a trial of a search whose validation curve is hopeless."""

from collections.abc import Callable

import lightning as L

from workbench.module import reports_of

Judge = Callable[[float, int], bool]
"""(value, epoch) → whether the trial is hopeless; epochs count from 0, as Optuna's steps do."""


class Pruning(L.Callback):
    """Passes the optimized metric of each validated epoch to a judge, which may end the run.

    Every rank needs this callback. The checkpoints of the epoch are written first, so the run can
    be resumed.

    Args:
        metric: a metric such as `val/loss`; by default the module's `monitor`.
        judge: decides in rank 0; None in the others.
    """

    def __init__(self, metric: str | None, judge: Judge | None) -> None:
        self.metric = metric
        self.judge = judge
        self.has_pruned = False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        reports = reports_of(pl_module)
        name = self.metric or f"val/{reports.monitor}"
        value = reports.validation().get(name.removeprefix("val/"))
        is_hopeless = False
        if value is not None and self.judge:
            is_hopeless = self.judge(value, trainer.current_epoch)
        if trainer.strategy.reduce_boolean_decision(is_hopeless, all=False):
            self.has_pruned = trainer.should_stop = True


def was_pruned(trainer: L.Trainer) -> bool:
    """True if the run was ended early by `Pruning`."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return any(isinstance(callback, Pruning) and callback.has_pruned for callback in callbacks)
