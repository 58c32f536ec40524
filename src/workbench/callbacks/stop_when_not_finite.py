"""Stop a run when its loss becomes NaN or infinite."""

import math
from typing import Any

import lightning as L

from workbench.errors import RunError
from workbench.module import reports_of
from workbench.ranges import Count, checked


class StopWhenNotFinite(L.Callback):
    """Stops a run with a RunError once a metric of a training batch is infinite or NaN.

    The last batch of an epoch is always checked, before the epoch's checkpoint is written, so that
    the last good checkpoint is kept.

    Args:
        every_n_batches: how often batches are checked; each check waits for the device.
    """

    @checked
    def __init__(self, every_n_batches: Count = 20) -> None:
        self.every_n_batches = every_n_batches

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        done = index + 1
        if done % self.every_n_batches == 0 or done >= trainer.num_training_batches:
            self.on_train_epoch_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        means = reports_of(pl_module).means["train"].of_last_batch()
        broken = [f"{name} = {value}" for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise RunError(
                f"At step {trainer.global_step} the metrics of a batch were not finite: "
                f"{', '.join(broken)}.\nEarlier checkpoints are kept. Try a smaller "
                "optimizer.lr, trainer.gradient_clip_val=0.01, or debug=anomaly to find the "
                "operation, and look for NaN in the data."
            )
