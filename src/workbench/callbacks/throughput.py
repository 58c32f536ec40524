"""The throughput of training in examples per second."""

import time

import lightning as L
import torch

from workbench.module import reports_of


class Throughput(L.Callback):
    """Reports `train/examples_per_second` of each epoch, over all devices, validation excluded.

    The metric's name has the module's word for its examples.
    """

    _validating = 0.0

    def on_train_start(self, *_: object) -> None:
        self._count = 0
        self._validating = 0.0
        self._start = time.perf_counter()

    def on_train_epoch_start(self, *_: object) -> None:
        self.on_train_start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object
    ) -> None:
        self._count += reports_of(pl_module).means["train"].last_size

    def on_validation_start(self, *_: object) -> None:
        self._validation_start = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, *_: object) -> None:
        if not trainer.sanity_checking:
            self._validating += time.perf_counter() - self._validation_start

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._count:  # the run was resumed after the last batch of this epoch
            return
        seconds = time.perf_counter() - self._start - self._validating
        rate = torch.tensor(self._count / seconds, device=pl_module.device)
        total = trainer.strategy.reduce(rate, reduce_op="sum")
        reports = reports_of(pl_module)
        reports.report({f"train/{reports.examples}_per_second": float(total)})
