"""How TensorBoard shows metrics: train and val in one chart, and those of the test as levels."""

import lightning as L

from workbench.loggers import summary_writers
from workbench.module import reports_of


class ScalarLayout(L.Callback):
    """Gives the tab "Custom scalars" a chart of train and val for each of the `shown` metrics.

    It is written after the first epoch, when it is known which of the metrics are logged.
    Test metrics become level lines, of which Lightning logs the end at the last step: TensorBoard
    would show a single value as a dot.
    """

    def __init__(self) -> None:
        self._is_written = False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._is_written:
            return
        reports = reports_of(pl_module)
        logged = reports.metrics("train")
        charts = {
            name: ["Multiline", [f"^train/{name}$", f"^val/{name}$"]]
            for name in reports.shown
            if name in logged
        }
        for writer in summary_writers(trainer):
            writer.add_custom_scalars({"training and validation": charts})
        self._is_written = True

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = reports_of(pl_module).metrics("test")
        for writer in summary_writers(trainer):
            for name, value in metrics.items():
                writer.add_scalar(f"test/{name}", value, 0)
