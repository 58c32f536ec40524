"""The layout of TensorBoard's custom scalars."""

import lightning as L

from workbench.callbacks.boards import boards
from workbench.module import ReportingModule, reports_of


class ScalarLayout(L.Callback):
    """Gives the tab "Custom scalars" a chart for each metric that the module shows, train and val.

    It is written after the first epoch, when it is known which of them there are.
    """

    def __init__(self) -> None:
        self._is_written = False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: ReportingModule) -> None:
        if self._is_written:
            return
        reports = reports_of(pl_module)
        known = reports.metrics("train")
        charts = {
            name: ["Multiline", [f"^train/{name}$", f"^val/{name}$"]]
            for name in reports.shown
            if name in known
        }
        for board in boards(trainer):
            board.add_custom_scalars({"training and validation": charts})
        self._is_written = True
