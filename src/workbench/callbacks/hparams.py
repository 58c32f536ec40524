"""The run's settings, for the loggers: TensorBoard's HPARAMS tab compares runs by them."""

from typing import Any

import lightning as L
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from workbench.callbacks.boards import boards


class HParams(L.Callback):
    """Tells the loggers the run's settings.

    TensorBoard is not told which metrics belong to them: from a run that declares none it works out
    itself which metrics there are and in which settings runs differ, and puts those first.

    Args:
        settings: config values by their dotted name.
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
            elif isinstance(logger, MLFlowLogger):  # in a resumed run none may change
                known = logger.experiment.get_run(logger.run_id).data.params
                new = {name: v for name, v in self.settings.items() if name not in known}
                logger.log_hyperparams(new)
            else:
                logger.log_hyperparams(self.settings)
        _, start, self._end = hparams(self.settings, {})
        for board in boards(trainer):
            board._get_file_writer().add_summary(start)

    def on_train_end(self, trainer: L.Trainer, *_: object) -> None:
        for board in boards(trainer):
            board._get_file_writer().add_summary(self._end)
