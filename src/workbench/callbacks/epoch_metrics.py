"""The metrics of an epoch, for the callbacks that ask for them when it ends."""

import lightning as L

from workbench.module import ReportingModule


class EpochMetrics(L.Callback):
    """Has the module report an epoch before other callbacks are told that it has ended.

    Lightning asks the module last, so that they would find the metrics of the epoch before in
    `trainer.callback_metrics`. A module of a foreign class logs its own in its steps.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if isinstance(pl_module, ReportingModule):
            pl_module.report_epoch("train")

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if isinstance(pl_module, ReportingModule):
            pl_module.report_epoch("val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if isinstance(pl_module, ReportingModule):
            pl_module.report_epoch("test")
