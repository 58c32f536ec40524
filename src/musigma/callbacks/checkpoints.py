"""Two checkpoints a run: the best and the last."""

import math
import os
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from musigma.callbacks.boards import boards
from musigma.errors import ConfigError
from musigma.module import AutoencoderModule
from musigma.ranges import checked

Name = Literal["best", "last"]


class BestAndLast(Checkpoint):
    """Writes `checkpoints/last.ckpt` after every epoch, `best.ckpt` after the best validation.

    Each file is written beside its place, reaches the disk and is then moved there, so a file of
    either name is always whole. The last one before is kept as `previous.ckpt`.

    Args:
        monitor: the figure that decides which is best; by default what the objective names.
            Without validation images the last checkpoint is the best.
        mode: whether less (`min`) or more (`max`) of it is better.

    Raises:
        ConfigError: after the first validation, if no such figure is reported.
    """

    @checked
    def __init__(self, monitor: str | None = None, mode: Literal["min", "max"] = "min") -> None:
        self.monitor = monitor
        self.mode = mode
        self.best: float | None = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Save the best, with the weights that were validated."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        monitor = self.monitor or f"val/{pl_module.objective.monitor}"
        if monitor not in trainer.callback_metrics:
            raise ConfigError(
                f"callbacks.checkpoint.monitor={monitor} is not among the figures of this run: "
                f"{', '.join(sorted(trainer.callback_metrics))}"
            )
        score = float(trainer.callback_metrics[monitor])
        if self._is_better(score):
            self.best = score
            self.save(trainer, "best")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Save the last."""
        self.save(trainer, "last")
        if not sum(trainer.num_val_batches):
            self.save(trainer, "best")

    def save(self, trainer: L.Trainer, name: Name) -> None:
        """Replace the checkpoint of that name by the present state; every rank must call this."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        path = self.path(trainer, name)
        partial = path.with_suffix(".partial")
        try:
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                for board in boards(trainer):  # the curves up to here, and no gap on resuming
                    board.flush()
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
                if name == "last" and path.exists():
                    path.replace(path.with_stem("previous"))
                partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        trainer.strategy.barrier()

    @staticmethod
    def path(trainer: L.Trainer, name: Name) -> Path:
        """Where the checkpoint of that name lies."""
        return Path(trainer.default_root_dir) / "checkpoints" / f"{name}.ckpt"

    def state_dict(self) -> dict[str, Any]:
        """The best figure so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with it."""
        self.best = state_dict["best"]

    def _is_better(self, score: float) -> bool:
        if self.best is None or math.isnan(self.best):
            return True
        return score < self.best if self.mode == "min" else score > self.best
