"""The TensorBoard writers of a run."""

from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger


def boards(trainer: L.Trainer) -> list[Any]:
    """A `SummaryWriter` for each TensorBoard logger; on ranks but the first it does nothing."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return [logger.experiment for logger in loggers]
