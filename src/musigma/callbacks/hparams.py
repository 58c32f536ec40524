"""What TensorBoard's HPARAMS tab compares runs by."""

from typing import Any

import lightning as L
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from musigma.callbacks.boards import boards
from musigma.module import AutoencoderModule


class HParams(L.Callback):
    """Tells the loggers the run's settings, and TensorBoard which figures belong to them.

    TensorBoard's own call would write made-up values for figures that are not there yet; here
    the names of the test figures are declared after the first batch, and their values are the
    scalars that the test writes.

    Args:
        settings: config values by their dotted name.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in settings.items()
            if value is not None
        }
        self._end: Any = None

    def setup(self, trainer: L.Trainer, pl_module: AutoencoderModule, stage: str) -> None:
        """Hand the settings over."""
        for logger in trainer.loggers if stage == "fit" and trainer.is_global_zero else []:
            if isinstance(logger, TensorBoardLogger):
                logger.hparams.update(self.settings)
            elif isinstance(logger, MLFlowLogger):  # in a run that goes on none may change
                known = logger.experiment.get_run(logger.run_id).data.params
                new = {name: v for name, v in self.settings.items() if name not in known}
                logger.log_hyperparams(new)
            else:
                logger.log_hyperparams(self.settings)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: AutoencoderModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Declare settings and figures to TensorBoard, once."""
        if self._end is not None or not trainer.is_global_zero:
            return
        names = [f"test/{name}" for name in pl_module.means["train"].of_last_batch()]
        experiment, start, self._end = hparams(self.settings, dict.fromkeys(names, 0.0))
        for board in boards(trainer):
            board._get_file_writer().add_summary(experiment)
            board._get_file_writer().add_summary(start)

    def on_train_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Say that the run came to its end."""
        for board in boards(trainer) if self._end is not None else []:
            board._get_file_writer().add_summary(self._end)
