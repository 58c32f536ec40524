"""The progress bar."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn

from workbench.callbacks.epoch_lines import epoch_name, four_digits
from workbench.module import reports_of
from workbench.ranges import Count, checked


class Progress(RichProgressBar):
    """Lightning's Rich bar with the module's `shown` metrics of the last batch, and the time left.

    It disappears when the training is over. Outside a terminal there is none: a pipe or a log file
    would keep every state of a bar, and a notebook would need further packages.

    Args:
        every_n_batches: how often the bar is updated; reading metrics waits for the device.
    """

    @checked
    def __init__(self, every_n_batches: Count = 20) -> None:
        super().__init__()
        self.every_n_batches = every_n_batches
        console = Console()
        if console.is_jupyter or not console.is_terminal:
            self.disable()

    def enable(self) -> None:
        """Do nothing: Lightning calls this in the first process, even outside a terminal."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if index % self.every_n_batches == 0 or index + 1 == trainer.num_training_batches:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, index)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        reports = reports_of(pl_module)
        means = reports.means["train"].of_last_batch()
        return {name: four_digits(means[name]) for name in reports.shown if name in means}

    def configure_columns(self, trainer: L.Trainer) -> list[ProgressColumn]:
        """Columns that fit a terminal of 80 characters."""
        return [TextColumn("{task.description}"), BarColumn(bar_width=12), TimeRemainingColumn()]

    def _init_progress(self, trainer: L.Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress:
            self.progress.live.transient = True

    def _get_train_description(self, current_epoch: int) -> str:
        return epoch_name(self.trainer)
