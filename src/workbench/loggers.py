"""TensorBoard's logger and its writers."""

from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, without the chart of the epoch that Lightning logs with each metric."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log all metrics but the epoch."""
        super().log_metrics({n: v for n, v in metrics.items() if n != "epoch"}, step)


def summary_writers(trainer: L.Trainer) -> list[Any]:
    """The `SummaryWriter` of each TensorBoard logger in the first process; none in the others."""
    loggers = trainer.loggers if trainer.is_global_zero else []
    return [logger.experiment for logger in loggers if isinstance(logger, TensorBoardLogger)]
