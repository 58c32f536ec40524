"""The end of a run whose loss is no number any more."""

import math
from typing import Any

import lightning as L

from workbench.errors import RunError
from workbench.module import ReportingModule
from workbench.ranges import Count, checked


class StopWhenNotFinite(L.Callback):
    """Stops a run once a term of its loss is infinite or not a number.

    It does so before the epoch's checkpoint is written, so the last good one stays.

    Args:
        every_n_batches: how often it looks; looking makes a GPU wait.
    """

    @checked
    def __init__(self, every_n_batches: Count = 20) -> None:
        self.every_n_batches = every_n_batches

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: ReportingModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look now and then, and after the last batch of an epoch.

        Raises:
            RunError: names the step and the terms.
        """
        due = (batch_idx + 1) % self.every_n_batches == 0
        if due or batch_idx + 1 >= trainer.num_training_batches:
            self._look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        """Look once more where an epoch ends early, as it does at `max_steps`."""
        self._look(trainer, pl_module)

    def _look(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        means = pl_module.means["train"].of_last_batch()
        broken = [f"{name} = {value}" for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise RunError(
                f"At step {trainer.global_step} the figures of a batch were no numbers: "
                f"{', '.join(broken)}.\nThe checkpoint of the epoch before is kept. Try a smaller "
                "optimizer.lr, trainer.gradient_clip_val=0.01, or debug=anomaly to find the "
                "operation."
            )
