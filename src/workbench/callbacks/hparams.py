"""The run's settings for the loggers; TensorBoard's HPARAMS tab compares runs by them."""

from typing import Any

import lightning as L
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from workbench.loggers import summary_writers


class HParams(L.Callback):
    """Passes the run's settings to the loggers.

    No metrics are declared to TensorBoard: without them it determines itself which metrics there
    are and in which settings runs differ, and shows these first.

    Args:
        settings: config values by dotted name.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in settings.items()
            if value is not None
        }

    def on_fit_start(self, trainer: L.Trainer, *_: object) -> None:
        for logger in trainer.loggers if trainer.is_global_zero else []:
            if isinstance(logger, TensorBoardLogger):
                logger.hparams.update(self.settings)
            elif isinstance(logger, MLFlowLogger):  # which allows no changes in a resumed run
                logged = logger.experiment.get_run(logger.run_id).data.params
                new = {name: v for name, v in self.settings.items() if name not in logged}
                logger.log_hyperparams(new)
            else:
                logger.log_hyperparams(self.settings)
        _, start, self._end = hparams(self.settings, {})
        for writer in summary_writers(trainer):
            writer._get_file_writer().add_summary(start)

    def on_train_end(self, trainer: L.Trainer, *_: object) -> None:
        for writer in summary_writers(trainer):
            writer._get_file_writer().add_summary(self._end)
