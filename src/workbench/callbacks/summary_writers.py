"""The TensorBoard writers of a run."""

from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger


def summary_writers(trainer: L.Trainer) -> list[Any]:
    """The `SummaryWriter` of each TensorBoard logger in the first process; none in the others."""
    loggers = trainer.loggers if trainer.is_global_zero else []
    return [logger.experiment for logger in loggers if isinstance(logger, TensorBoardLogger)]
