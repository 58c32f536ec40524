"""How fast the run goes."""

import time
from typing import Any

import lightning as L
import torch

from workbench.module import ReportingModule


class Throughput(L.Callback):
    """Reports `train/examples_per_second` of each epoch, over all devices, without validation.

    A module that calls its examples something else has the metric called so.
    """

    def __init__(self) -> None:
        self._validating = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        """Start the clock, in the middle of an epoch too."""
        self._count = 0
        self._validating = 0.0
        self._start = time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        """Start it again."""
        self.on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: ReportingModule, outputs: Any, batch: Any, *_: object
    ) -> None:
        """Count the examples of this rank."""
        self._count += len(batch[0])

    def on_validation_start(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        """Stop the clock."""
        self._validation_start = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        """Let it go on."""
        if not trainer.sanity_checking:
            self._validating += time.perf_counter() - self._validation_start

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        """Report, unless the run went on when this epoch's training was over."""
        if not self._count:
            return
        seconds = time.perf_counter() - self._start - self._validating
        rate = torch.tensor(self._count / seconds, device=pl_module.device)
        total = trainer.strategy.reduce(rate, reduce_op="sum")
        pl_module.report({f"train/{pl_module.examples}_per_second": float(total)})
